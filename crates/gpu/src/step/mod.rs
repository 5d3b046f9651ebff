//! Turns a plan into launches of kernels, with every buffer placed once.

mod backward;
mod convolution;
mod forward;
mod inference;
mod other;
mod spread;

use std::collections::HashMap;

use engine::program::{Program, Step as ProgramStep, Value};
use engine::{Activation, Plan, Shape};

use crate::args::{At, Read, Rows, Windows, Write, number};
use crate::device::{Launch, Storage};
use crate::heap::Heap;
use convolution::Packed;
pub(crate) use inference::{Folded, fold, infer};
pub(crate) use other::has_layers;

/// Where a value lies: its address, and the distance between pixels, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) at: At,
    pub(crate) stride: usize,
}

/// Memory that belongs to the network, not to a step: addresses of f32.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) parameters: At,
    pub(crate) statistics: At,
    pub(crate) gradient: At,
    /// The momentum of batch normalisations.
    pub(crate) momentum: At,
    /// The sums of blocks that measure a gradient, f64.
    pub(crate) sums: At,
}

/// Images of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchShape {
    /// Number of images.
    pub images: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Whether pixels are bytes, which a table turns into numbers.
    pub bytes: bool,
}

/// The places of what the host writes and reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    pub(crate) pixels: At,
    pub(crate) table: At,
    /// The factors of each mask, `[images, width]` with padded channels.
    pub(crate) masks: Vec<(At, usize)>,
    /// f32, `[images, width]` with padded channels.
    pub(crate) logits: Option<Place>,
    pub(crate) logits_gradient: Option<Place>,
    pub(crate) features: Option<Place>,
    /// Constants that are written once.
    pub(crate) constants: Vec<(At, Vec<u8>)>,
}

/// A step as launches.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) forward: Vec<Launch>,
    pub(crate) backward: Vec<Launch>,
    pub(crate) ports: Ports,
    /// Bytes of memory from the base on.
    pub(crate) bytes: usize,
}

/// The coefficients of a batch normalisation: arrays of f32, as in `Norm` of the kernels.
#[derive(Clone, Copy, Debug)]
struct Coefficients {
    scale: At,
    shift: At,
    mean: At,
    deviation: At,
    backward: [At; 3],
}

/// Sums of rows, `[blocks, 2, width]`.
#[derive(Clone, Copy, Debug)]
struct SumsAt {
    at: At,
    blocks: usize,
}

/// A step in the making.
struct Maker<'a> {
    plan: &'a Plan,
    program: &'a Program,
    storage: Storage,
    batch: BatchShape,
    shapes: Vec<Shape>,
    fixed: Fixed,
    base: At,
    heap: Heap,
    launches: Vec<Launch>,
    /// The stored layers; 0 is the images.
    values: Vec<Option<Place>>,
    /// Whether a normalisation needs a layer's sums.
    summed: Vec<bool>,
    sums: Vec<Option<SumsAt>>,
    /// By layer of the normalisation.
    norms: Vec<Option<Coefficients>>,
    /// By step.
    packed: Vec<Option<Packed>>,
    /// Memory of the roots of concatenations.
    roots: HashMap<usize, Place>,
    /// By layer, the map and the factors of products that are not stored: their readers multiply.
    gates: Vec<Option<(Value, usize)>>,
    /// What the backward passes of other layers need.
    kept: HashMap<usize, other::Kept>,
    /// Whether a backward pass follows.
    training: bool,
    ports: Ports,
}

/// Channels in memory: a multiple of 8.
pub(crate) fn width8(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// The launches of a training step, for memory from `base` on.
pub(crate) fn train(
    plan: &Plan,
    program: &Program,
    storage: Storage,
    batch: BatchShape,
    fixed: Fixed,
    base: At,
) -> Step {
    let mut maker = Maker::new(plan, program, storage, batch, fixed, base);
    maker.training = true;
    maker.find_summed();
    maker.pack_all();
    maker.forward();
    let forward = std::mem::take(&mut maker.launches);
    maker.backward();
    Step {
        forward,
        backward: maker.launches,
        ports: maker.ports,
        bytes: maker.heap.size as usize,
    }
}

impl<'a> Maker<'a> {
    fn new(
        plan: &'a Plan,
        program: &'a Program,
        storage: Storage,
        batch: BatchShape,
        fixed: Fixed,
        base: At,
    ) -> Self {
        let layers = plan.layers.len();
        Maker {
            shapes: plan.shapes(batch.height, batch.width),
            launches: Vec::new(),
            values: vec![None; layers],
            summed: vec![false; layers],
            sums: vec![None; layers],
            norms: vec![None; layers],
            packed: vec![None; program.steps.len()],
            roots: HashMap::new(),
            gates: forward::gates(plan, program),
            kept: HashMap::new(),
            training: false,
            ports: Ports::default(),
            heap: Heap::default(),
            plan,
            program,
            storage,
            batch,
            fixed,
            base,
        }
    }

    fn take(&mut self, bytes: usize) -> At {
        self.base + self.heap.take(bytes)
    }

    fn release(&mut self, at: At) {
        self.heap.release(at - self.base);
    }

    fn floats(&mut self, count: usize) -> At {
        self.take(4 * count)
    }

    /// Rows of a layer's value: pixels of all images.
    fn rows(&self, layer: usize) -> usize {
        self.batch.images * self.shapes[layer].pixels()
    }

    /// Channels of a layer's value in memory.
    fn width(&self, layer: usize) -> usize {
        width8(self.plan.channels[layer])
    }

    /// Rows and channels of a layer's value in memory.
    fn extent(&self, layer: usize) -> (usize, usize) {
        (self.rows(layer), self.width(layer))
    }

    /// Memory for a layer's value or its gradient.
    fn new_place(&mut self, layer: usize) -> Place {
        let stride = self.width(layer);
        let at = self.take(self.rows(layer) * stride * self.storage.bytes());
        Place { at, stride }
    }

    fn value(&self, layer: usize) -> Place {
        match self.values[layer] {
            Some(place) => place,
            None => unreachable!("layer {layer} is not stored"),
        }
    }

    /// A place some channels further.
    fn channel(&self, place: Place, channel: usize) -> Place {
        Place {
            at: place.at + (channel * self.storage.bytes()) as u64,
            ..place
        }
    }

    fn parameter(&self, index: usize) -> At {
        let range = &self.plan.parameters.segments()[index].range;
        self.fixed.parameters + 4 * range.start as u64
    }

    fn gradient(&self, index: usize) -> At {
        let range = &self.plan.parameters.segments()[index].range;
        self.fixed.gradient + 4 * range.start as u64
    }

    /// Reads what lies at a place.
    fn plain(&self, place: Place) -> Read {
        Read {
            x: place.at,
            ldx: place.stride as i32,
            pixels: 1,
            alpha: 1.0,
            ..Read::default()
        }
    }

    /// Reads a value with its normalisation and activation, or its factors.
    fn read(&self, value: Value) -> Read {
        if let Some((map, factors)) = self.gates[value.z] {
            return self.with_factors(self.read(map), self.value(factors), value.z);
        }
        let mut read = self.plain(self.value(value.z));
        if let Some(norm) = value.norm.and_then(|layer| self.norms[layer]) {
            read.a = norm.scale;
            read.c = norm.shift;
        }
        read.act = number(value.activation);
        read
    }

    /// Multiplies by the factors `[images, width]` of each image of a layer's map.
    fn with_factors(&self, read: Read, factors: Place, layer: usize) -> Read {
        Read {
            factors: factors.at,
            ldf: factors.stride as i32,
            pixels: self.shapes[layer].pixels() as i32,
            ..read
        }
    }

    fn write(&self, place: Place) -> Write {
        Write {
            y: place.at,
            ldy: place.stride as i32,
            ..Write::default()
        }
    }

    fn windows(&self, window: engine::Window, input: usize, output: usize) -> Windows {
        let (before, after) = (self.shapes[input], self.shapes[output]);
        let zeros = window.zeros((before.height, before.width));
        Windows {
            height: after.height as i32,
            width: after.width as i32,
            ih: before.height as i32,
            iw: before.width as i32,
            kernel: window.kernel as i32,
            stride: window.stride as i32,
            above: zeros.above as i32,
            left: zeros.left as i32,
            transposed: 0,
        }
    }

    /// Bytes of an operand of `rows` rows.
    fn read_bytes(&self, read: &Read, rows: usize, width: usize) -> usize {
        let rows_of_x = match read.broadcast {
            0 => rows,
            _ => rows / read.pixels.max(1) as usize,
        };
        let second = if read.b == 0 { 0 } else { rows };
        (rows_of_x + second) * width * self.storage.bytes()
    }

    /// Bytes that a result of `rows` rows moves.
    fn write_bytes(&self, write: &Write, rows: usize, width: usize) -> usize {
        let passes = [write.y, write.addend, write.z].map(|at| usize::from(at != 0));
        passes.iter().sum::<usize>() * rows * width * self.storage.bytes()
    }

    /// Adds rows of f32 in order until few are left.
    fn reduce(&mut self, mut at: At, mut count: usize, width: usize) -> (At, usize) {
        const FEW: usize = 48;
        while count > FEW {
            let chunk = count.isqrt().clamp(2, FEW);
            let (from, rows) = (at, count);
            count = rows.div_ceil(chunk);
            at = self.floats(count * width);
            self.push_rows(from, at, rows, width, width, chunk);
            self.release(from);
        }
        (at, count)
    }

    fn push_rows(
        &mut self,
        from: At,
        to: At,
        count: usize,
        width: usize,
        stride: usize,
        chunk: usize,
    ) {
        self.push_sum(rows(from, to, count, (width, stride), chunk));
    }

    /// Adds the sum of rows to numbers.
    fn add_rows(&mut self, from: At, to: At, count: usize, width: usize) {
        let args = Rows {
            add: 1,
            ..rows(from, to, count, (width, width), count)
        };
        self.push_sum(args);
    }

    fn push_sum(&mut self, args: Rows) {
        let (count, width) = (args.count as usize, args.width as usize);
        let grid = [width.div_ceil(256), count.div_ceil(args.chunk as usize), 1];
        let launch = Launch::new("sum_rows", 256, grid, &args);
        self.launches.push(launch.costs(4 * count * width, 0));
    }

    fn find_summed(&mut self) {
        for step in &self.program.steps {
            if let ProgramStep::Norm { z, .. } = step {
                for member in self.program.members(self.plan, *z) {
                    self.summed[member] = true;
                }
            }
        }
    }
}

/// Sums of each `chunk` of `count` rows of a width, which lie `stride` numbers apart.
fn rows(from: At, to: At, count: usize, (width, stride): (usize, usize), chunk: usize) -> Rows {
    Rows {
        rows: from,
        out: to,
        count: count as i32,
        width: width as i32,
        chunk: chunk as i32,
        stride: stride as i32,
        ..Rows::default()
    }
}

/// Whether a value is read as it is stored.
fn is_stored(value: Value) -> bool {
    value.norm.is_none() && value.activation == Activation::Identity
}
