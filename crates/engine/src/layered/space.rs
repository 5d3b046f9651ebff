//! The memory of a training step: values, gradients, and the order of the backward pass.

use std::sync::{Arc, Mutex};

use super::Layered;
use super::backward::plan_backward;
use super::conv::ConvShape;
use super::places::{Place, Pool, places, reused_places};
use crate::fused::context::{Group, Scratch, groups};
use crate::fused::norm::Norm;
use crate::kernels::{Affine, Gather, NormBackward, Sums};
use crate::memory::{Buffer, Planes, padded, plane_stride, planes};
use crate::network::{Plan, Shape};
use crate::program::{Kind, Step, Value};
use crate::simd::LANES;

/// A batch: its layers' shapes.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) images: usize,
    /// Height and width of the images.
    pub(super) side: (usize, usize),
    pub(super) shapes: Vec<Shape>,
}

impl Batch {
    pub(super) fn rows(&self, layer: usize) -> usize {
        self.images * self.shapes[layer].pixels()
    }

    /// Length in values of a layer's activations.
    pub(super) fn length(&self, layer: usize) -> usize {
        planes(self.shapes[layer].channels) * self.stride(layer)
    }

    pub(super) fn stride(&self, layer: usize) -> usize {
        plane_stride(self.rows(layer), LANES)
    }

    /// Length in values of the activations of some layers of one size.
    pub(super) fn total(&self, layers: &[usize]) -> usize {
        layers.iter().map(|&layer| self.length(layer)).sum()
    }
}

/// One layer whose value is stored, or that is a batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sink {
    /// The value that was read.
    pub(super) value: Value,
    pub(super) target: Place,
    /// Contributions of other readers, which are added.
    pub(super) addend: Option<Place>,
    /// Whether this completes the gradient of a normalisation's output, so that its sums are computed here.
    pub(super) sums: bool,
    /// Whether the gradient is another one's, in the same memory.
    pub(super) same: bool,
    /// Whether the gradient skips the normalisation: it is that of the stored value, but for a correction that is
    /// known when the sums are.
    pub(super) direct: bool,
}

/// What the gradient of a step's value still lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Behind {
    Nothing,
    /// It is the gradient of a normalisation's output, for the layer of the normalisation.
    Norm(usize),
    /// The corrections of normalisations that were skipped.
    Correction,
}

/// One step of the backward pass.
#[derive(Clone, Debug)]
pub(super) struct BackStep {
    /// Index of the step.
    pub(super) step: usize,
    /// The gradient of the step's value. `None` if nothing needs the value.
    pub(super) d: Option<Place>,
    pub(super) behind: Behind,
    /// The gradient of a product with factors, and the layer of the factors, which the step takes over.
    pub(super) gate: Option<(Place, usize)>,
    /// Whether the gradient of a normalisation's output went to its input already.
    pub(super) direct: bool,
    /// Where a changed copy of the gradient is written.
    pub(super) changed: Option<Place>,
    /// Where the gradients of the inputs are written.
    pub(super) sinks: Vec<Sink>,
    /// Planes that are set to zero before.
    pub(super) zeros: Vec<Place>,
    /// Whether the sums of a normalisation are still to be computed.
    pub(super) sums: bool,
}

/// A step's packed weights: offsets of those for the forward and the backward pass, and of the bias.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packs {
    pub(super) forward: usize,
    pub(super) backward: Option<usize>,
    pub(super) bias: Option<usize>,
}

/// What a step needs for images of one size.
#[derive(Default)]
pub(super) struct Fitted {
    pub(super) shape: Option<ConvShape>,
    pub(super) packs: Packs,
    /// The forward map of channels, and one for each source that goes back.
    pub(super) gathers: Option<(Gather, Vec<Gather>)>,
}

/// All memory of a training step for batches of one shape.
pub(super) struct Workspace {
    pub(super) batch: Batch,
    pub(super) groups: Vec<Group>,
    pub(super) fitted: Vec<Fitted>,
    /// Places of the stored layers.
    pub(super) values: Vec<Option<Place>>,
    pub(super) backward: Vec<BackStep>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) packed: Arc<Buffer>,
    /// Batch normalisations, by layer.
    pub(super) norms: Vec<Option<Norm>>,
    /// Layers whose sums a normalisation needs.
    pub(super) summed: Vec<bool>,
    /// The factors of each mask, `[planes][images][16]`.
    pub(super) masks: Vec<Buffer>,
    pub(super) scratch: Vec<Mutex<Scratch>>,
    pub(super) sums: Vec<Mutex<Sums>>,
    pub(super) partials: Vec<[Buffer; 2]>,
    pub(super) taps: Vec<Buffer>,
    pub(super) units: Units,
}

impl Workspace {
    pub(super) fn new(engine: &Layered, batch: Batch) -> Workspace {
        let (plan, program) = (&*engine.plan, &engine.program);
        let threads = engine.team.size();
        let groups = groups(batch.images, threads);
        let mut packed = 0;
        let fitted: Vec<Fitted> = (program.steps.iter())
            .map(|step| fit(engine, step, &batch, true, &mut packed))
            .collect();
        let mut pool = Pool::default();
        let values = places(program, &batch, &mut pool);
        let backward = plan_backward(plan, program, &batch, &mut pool);
        let (mut norms, mut summed) = (Vec::new(), vec![false; plan.layers.len()]);
        norms.resize_with(plan.layers.len(), || None);
        let (mut largest, mut taps) = (0, 0);
        for step in &program.steps {
            match step {
                Step::Norm { layer, z, norm } => {
                    norms[*layer] = Some(Norm::new(norm.channels));
                    for member in program.members(plan, *z) {
                        summed[member] = true;
                    }
                }
                Step::Conv(step) => {
                    let weights = plan.parameters.segments()[step.conv.weight].range.len();
                    if step.kind == Kind::Depthwise {
                        let kernel = step.conv.window.kernel;
                        taps = taps.max(padded(step.conv.out_channels) * kernel * kernel);
                    } else {
                        largest = largest.max(weights);
                    }
                }
                _ => {}
            }
        }
        let widest = plan.channels.iter().copied().max().unwrap_or(1);
        let masks = program.masks.iter();
        Workspace {
            fitted,
            values,
            backward,
            buffers: pool.lengths.iter().map(|&n| Buffer::new(n)).collect(),
            packed: Arc::new(Buffer::new(packed)),
            norms,
            summed,
            masks: masks
                .map(|&layer| Buffer::new(mask_length(plan, layer, batch.images)))
                .collect(),
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            sums: groups.iter().map(|_| Mutex::default()).collect(),
            partials: (groups.iter().skip(1))
                .map(|_| [(); 2].map(|()| Buffer::new(largest)))
                .collect(),
            taps: groups.iter().map(|_| Buffer::new(taps)).collect(),
            units: Units::new(widest),
            groups,
            batch,
        }
    }

    /// The memory of inference: values share memory with others that are no longer needed. `packed` are the weights.
    pub(super) fn inference(engine: &Layered, batch: Batch, packed: Arc<Buffer>) -> Workspace {
        let (plan, program) = (&*engine.plan, &engine.folding.program);
        let mut length = 0;
        let steps = program.steps.iter();
        let fitted = steps.map(|step| fit(engine, step, &batch, false, &mut length));
        let fitted = fitted.collect();
        let mut pool = Pool::default();
        let values = reused_places(plan, program, &batch, &mut pool);
        let widest = plan.channels.iter().copied().max().unwrap_or(1);
        Workspace {
            fitted,
            values,
            backward: Vec::new(),
            buffers: pool.lengths.iter().map(|&n| Buffer::new(n)).collect(),
            packed,
            norms: Vec::new(),
            summed: vec![false; plan.layers.len()],
            masks: Vec::new(),
            scratch: (0..engine.team.size()).map(|_| Mutex::default()).collect(),
            sums: vec![Mutex::new(Sums::default())],
            partials: Vec::new(),
            taps: Vec::new(),
            units: Units::new(widest),
            groups: Vec::new(),
            batch,
        }
    }

    pub(super) fn fits(&self, images: usize, side: (usize, usize)) -> bool {
        self.batch.images == images && self.batch.side == side
    }

    pub(super) fn planes(&self, place: Place) -> Planes {
        Planes {
            // SAFETY: places are within their buffers.
            start: unsafe {
                let buffer = self.buffers[place.buffer].dst();
                buffer.at(place.plane * place.stride)
            },
            stride: place.stride,
            pixel: LANES,
        }
    }

    /// A stored layer.
    pub(super) fn value(&self, layer: usize) -> Planes {
        match self.values[layer] {
            Some(place) => self.planes(place),
            None => unreachable!("layer {layer} is not stored"),
        }
    }

    /// The factors of a mask.
    pub(super) fn mask(&self, mask: usize) -> Planes {
        Planes {
            start: self.masks[mask].dst(),
            stride: plane_stride(self.batch.images, LANES),
            pixel: LANES,
        }
    }
}

fn mask_length(plan: &Plan, layer: usize, images: usize) -> usize {
    planes(plan.channels[layer]) * plane_stride(images, LANES)
}

/// The coefficients of normalisations that change nothing.
pub(super) struct Units {
    ones: Buffer,
    zeros: Buffer,
}

impl Units {
    pub(super) fn new(channels: usize) -> Units {
        let ones = Buffer::new(padded(channels));
        for at in 0..padded(channels) {
            // SAFETY: within the buffer, which nothing else uses.
            unsafe { *ones.dst().pointer(at, 1) = 1.0 };
        }
        Units {
            ones,
            zeros: Buffer::new(padded(channels)),
        }
    }

    pub(super) fn affine(&self) -> Affine {
        Affine {
            scale: self.ones.src(),
            shift: self.zeros.src(),
        }
    }

    pub(super) fn backward(&self) -> NormBackward {
        NormBackward {
            a: self.ones.src(),
            b: self.zeros.src(),
            c: self.zeros.src(),
        }
    }
}

/// The geometry of a step, and the places of its packed weights, with those for the backward pass if asked for.
pub(super) fn fit(
    engine: &Layered,
    step: &Step,
    batch: &Batch,
    training: bool,
    packed: &mut usize,
) -> Fitted {
    match step {
        Step::Conv(step) => super::convolution::fit(engine, step, batch, training, packed),
        Step::Gather { sources, map, .. } => {
            let width = |source: &Value| engine.plan.channels[source.z];
            let channels: Vec<usize> = sources.iter().map(width).collect();
            let forward: Vec<_> = map.iter().map(|&from| Some(from)).collect();
            let back = (channels.iter().enumerate())
                .map(|(source, &count)| {
                    let mut inverse = vec![None; count];
                    for (to, &(from, channel)) in map.iter().enumerate() {
                        if from == source {
                            inverse[channel] = Some((0, to));
                        }
                    }
                    Gather::new(&inverse)
                })
                .collect();
            Fitted {
                gathers: Some((Gather::new(&forward), back)),
                ..Fitted::default()
            }
        }
        _ => Fitted::default(),
    }
}
