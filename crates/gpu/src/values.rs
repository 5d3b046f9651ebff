//! A network's values in the memory of the device: training steps that copy neither parameters nor gradients.

use engine::{
    Buffer, DeviceValues, FusedError, GradientChange, GradientSize, GroupStep, Images, Pass,
    Ranges, StepRange, check_length,
};

use crate::args::{At, Average, Change, GradientSize as Measuring, OptimizerStep, Stretch, bytes};
use crate::device::{Device, Launch, Result};
use crate::engine::{Gpu, failed, lock};
use crate::transfer::{floats, floats_mut};

type Outcome<T> = std::result::Result<T, FusedError>;

/// A buffer beside the network's own.
#[derive(Debug)]
pub(crate) struct Added<D: Device> {
    memory: D::Memory,
    len: usize,
}

/// The ranges of an optimizer.
#[derive(Debug)]
pub(crate) struct Divided<D: Device> {
    stretches: D::Memory,
    count: usize,
    /// The coefficients of the groups.
    coefficients: D::Memory,
    groups: usize,
}

/// Parameters of a block of the step's kernel, if rows do not need more.
const STRETCH: usize = 4096;

/// Blocks of the kernel that measures a gradient.
pub(crate) const MEASURING_BLOCKS: usize = 512;

/// The ranges as the kernels read them, divided so that each block has a similar share.
pub(crate) fn stretches(ranges: &[StepRange]) -> Vec<Stretch> {
    let mut list = Vec::new();
    for part in ranges {
        let row = part.row.max(1);
        let length = (STRETCH / row).max(1) * row;
        for start in part.range.clone().step_by(length) {
            list.push(Stretch {
                first: start as u32,
                end: (start + length).min(part.range.end) as u32,
                group: part.group as u32,
                row: part.row as u32,
            });
        }
    }
    list
}

/// Puts an item in the first empty place.
fn insert<T>(places: &mut Vec<Option<T>>, item: T) -> usize {
    let index = places.iter().position(Option::is_none);
    let index = index.unwrap_or(places.len());
    if index == places.len() {
        places.push(None);
    }
    places[index] = Some(item);
    index
}

fn change(of: GradientChange) -> Change {
    Change {
        scale: of.scale,
        limit: of.limit,
        factor: of.factor,
    }
}

impl<D: Device> Gpu<D> {
    /// The address and the length of a buffer.
    fn place_of(&self, buffer: Buffer) -> Outcome<(At, usize)> {
        let (plan, fixed) = (self.plan(), self.fixed());
        Ok(match buffer {
            Buffer::Parameters => (fixed.parameters, plan.parameters.len()),
            Buffer::Statistics => (fixed.statistics, plan.statistics.len()),
            Buffer::Gradient => (fixed.gradient, plan.parameters.len()),
            Buffer::Added(index) => {
                let added = lock(self.added());
                let missing = || FusedError::Device(format!("there is no buffer {index}"));
                let found = added.get(index).and_then(Option::as_ref);
                let found = found.ok_or_else(missing)?;
                (D::address(&found.memory), found.len)
            }
        })
    }

    /// Memory with these bytes.
    fn constant(&self, bytes: &[u8]) -> Result<D::Memory> {
        let memory = self.device().allocate(bytes.len())?;
        // SAFETY: allocated with this size.
        unsafe { self.device().write(D::address(&memory), bytes)? };
        Ok(memory)
    }

    fn push<A: crate::args::Args>(
        &self,
        kernel: &'static str,
        blocks: usize,
        args: &A,
    ) -> Outcome<()> {
        let launch = Launch::new(kernel, 256, [blocks, 1, 1], args);
        // SAFETY: the arguments are addresses of buffers of the lengths that they name.
        unsafe { self.device().launch(launch) }.map_err(failed)
    }
}

impl<D: Device> DeviceValues for Gpu<D> {
    fn add_buffer(&self, len: usize) -> Outcome<Buffer> {
        let memory = self.device().allocate(4 * len).map_err(failed)?;
        let index = insert(&mut lock(self.added()), Added { memory, len });
        Ok(Buffer::Added(index))
    }

    fn remove_buffer(&self, buffer: Buffer) {
        if let Buffer::Added(index) = buffer
            && let Some(place) = lock(self.added()).get_mut(index)
        {
            *place = None;
        }
    }

    fn write(&self, to: Buffer, values: &[f32]) -> Outcome<()> {
        let (at, len) = self.place_of(to)?;
        check_length("a buffer on the GPU", values.len(), len)?;
        // SAFETY: the buffer has this length.
        unsafe { self.device().write(at, floats(values)) }.map_err(failed)
    }

    fn read(&self, from: Buffer, values: &mut [f32]) -> Outcome<()> {
        let (at, len) = self.place_of(from)?;
        check_length("a buffer on the GPU", values.len(), len)?;
        // SAFETY: the buffer has this length.
        unsafe { self.device().read(at, floats_mut(values)) }.map_err(failed)
    }

    fn average(&self, values: Buffer, average: Buffer, weight: f32) -> Outcome<()> {
        let ((values, len), (average, expected)) =
            (self.place_of(values)?, self.place_of(average)?);
        check_length("a buffer on the GPU", len, expected)?;
        let args = Average {
            values,
            average,
            count: len as u64,
            weight,
            unused: 0,
        };
        self.push("move_average", len.div_ceil(256).max(1), &args)
    }

    fn measure(&self, gradient: Buffer, how: GradientChange) -> Outcome<GradientSize> {
        let (at, len) = self.place_of(gradient)?;
        let blocks = len.div_ceil(256).clamp(1, MEASURING_BLOCKS);
        let args = Measuring {
            gradient: at,
            out: self.fixed().sums,
            count: len as u64,
            change: change(how),
            unused: 0,
        };
        self.push("gradient_size", blocks, &args)?;
        let mut sums = vec![0; 16 * blocks];
        // SAFETY: the network's memory has space for the sums of all blocks.
        unsafe { self.device().read(self.fixed().sums, &mut sums) }.map_err(failed)?;
        let (numbers, _) = sums.as_chunks::<8>();
        let numbers = || numbers.iter().map(|&bytes| f64::from_ne_bytes(bytes));
        Ok(GradientSize {
            finite: numbers().skip(1).step_by(2).all(|count| count == 0.0),
            squares: numbers().step_by(2).sum(),
        })
    }

    fn add_ranges(&self, ranges: &[StepRange]) -> Outcome<Ranges> {
        let len = self.plan().parameters.len();
        if let Some(part) = ranges.iter().find(|part| part.range.end > len) {
            return Err(FusedError::Device(format!(
                "the range {:?} is not within the {len} parameters",
                part.range
            )));
        }
        let groups = ranges.iter().map(|part| part.group + 1).max().unwrap_or(0);
        let list = stretches(ranges);
        let words: Vec<u8> = list.iter().flat_map(bytes).collect();
        let run = || {
            Ok(Divided {
                count: list.len(),
                stretches: self.constant(&words)?,
                coefficients: self.device().allocate(groups * size_of::<GroupStep>())?,
                groups,
            })
        };
        let divided = run().map_err(failed)?;
        Ok(Ranges(insert(&mut lock(self.ranges()), divided)))
    }

    fn remove_ranges(&self, ranges: Ranges) {
        if let Some(place) = lock(self.ranges()).get_mut(ranges.0) {
            *place = None;
        }
    }

    fn step(
        &self,
        ranges: Ranges,
        gradient: Buffer,
        how: GradientChange,
        groups: &[GroupStep],
        state: &[Buffer],
    ) -> Outcome<()> {
        let all = lock(self.ranges());
        let divided = all.get(ranges.0).and_then(Option::as_ref);
        let Some(ranges) = divided.filter(|of| of.groups <= groups.len()) else {
            return Err(FusedError::Device(
                "a step needs the ranges and the coefficients of every group".to_owned(),
            ));
        };
        let (parameters, len) = self.place_of(Buffer::Parameters)?;
        let (gradient, found) = self.place_of(gradient)?;
        check_length("the gradient", found, len)?;
        let mut buffers = [0; 3];
        for (at, &buffer) in buffers.iter_mut().zip(state) {
            let (place, found) = self.place_of(buffer)?;
            check_length("a buffer of the optimizer", found, len)?;
            *at = place;
        }
        let coefficients = D::address(&ranges.coefficients);
        let numbers = &groups[..ranges.groups];
        // SAFETY: the memory has these groups.
        unsafe {
            self.device()
                .write(coefficients, floats(numbers.as_flattened()))
        }
        .map_err(failed)?;
        let args = OptimizerStep {
            parameters,
            gradient,
            first: buffers[0],
            second: buffers[1],
            third: buffers[2],
            stretches: D::address(&ranges.stretches),
            groups: coefficients,
            change: change(how),
            unused: 0,
        };
        match ranges.count {
            0 => Ok(()),
            count => self.push("optimizer_step", count, &args),
        }
    }

    fn forward_step(
        &self,
        momentum: f64,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Outcome<Pass> {
        self.run_forward(momentum, images, masks, logits)
    }

    fn backward_step(&self, pass: Pass, logits_gradient: &[f32]) -> Outcome<()> {
        check_length(
            "the gradient of the logits",
            logits_gradient.len(),
            pass.images * self.plan().classes(),
        )?;
        self.run_backward(&pass, logits_gradient)
    }
}
