//! The general engine: trains and runs any network of convolutions on a CPU.
//!
//! It uses the memory layout and the kernels of the fused engine ([`crate::fused`]). A network is turned into steps
//! ([`lower`]), each of which stores one value. As there, every thread runs its own group of images, and a
//! normalisation is no pass of its own: its sums are computed with its input, and it is applied when it is read.

mod backward;
pub(crate) mod conv;
mod convolution;
mod convolution_backward;
mod gradients;
mod infer;
mod norms;
mod pass;
mod places;
mod space;
mod values;

use std::sync::{Arc, Mutex};

use crate::fused::context::Context;
use crate::fused::layout::StepWeights;
use crate::fused::{FusedError, FusedOptions, Images, RunningStatistics};
use crate::interface::{
    CpuEngine, Engine, Idle, Leased, check_backward, check_counts, check_forward, check_shapes,
};
use crate::isa::Isa;
use crate::kernels::{Pixels, is_for_maps};
use crate::memory::Dst;
use crate::network::Plan;
use crate::program::{Folding, Program, Step, fold, lower};
use crate::team::Team;
pub use infer::LayeredWeights;
use pass::{Norms, Pass, copy_in};
use space::{Batch, Workspace};

/// Side of images for which every map of a network has more than one pixel.
const LARGE: usize = 256;

/// An engine for one network. It keeps its threads and the memory of its last batches.
pub struct Layered {
    plan: Arc<Plan>,
    /// The steps of training.
    program: Program,
    /// The steps of inference.
    folding: Folding,
    isa: Isa,
    /// The layers that are maps: those with more than one pixel if the images are large.
    maps: Vec<bool>,
    team: Team,
    idle: Idle<Workspace>,
    /// Memory of inference that no call is using.
    rooms: Mutex<Vec<Workspace>>,
}

impl std::fmt::Debug for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered")
            .field("isa", &self.isa)
            .field("threads", &self.threads())
            .field("steps", &self.program.steps.len())
            .finish_non_exhaustive()
    }
}

/// The state of a forward pass, for the backward pass that may follow.
pub struct LayeredRecord(Leased<Workspace>);

impl Engine for Layered {
    const NAME: &'static str = "layered";
    type Folded = LayeredWeights;
    type Record = LayeredRecord;

    fn kind(&self) -> String {
        self.isa.to_string()
    }

    fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<LayeredWeights, FusedError> {
        self.folded(parameters, statistics)
    }

    fn infer(
        &self,
        weights: &LayeredWeights,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError> {
        let last = self.plan.layers.len() - 1;
        self.evaluate(weights, images, last, "logits", logits)
    }

    fn features(
        &self,
        weights: &LayeredWeights,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError> {
        self.evaluate(weights, images, self.plan.features, "features", features)
    }

    fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<LayeredRecord, FusedError> {
        let values = &*statistics.values;
        check_forward(&self.plan, parameters, values, &images, masks, logits)?;
        let batch = self.batch(&images)?;
        check_counts(&self.plan, &batch.shapes, batch.images)?;
        let (count, side) = (batch.images, batch.side);
        let mut leased = (self.idle).lease(
            |workspace| workspace.fits(count, side),
            || Workspace::new(self, batch),
        );
        let workspace = leased.get();
        self.set_masks(workspace, masks);
        // SAFETY: nothing is written through this pointer.
        let gradient = unsafe { Dst::new(std::ptr::null_mut(), 0) };
        self.train(workspace, parameters, images.pixels(), gradient, |pass| {
            pass.forward(statistics.values, statistics.momentum);
            pass.logits(logits);
        });
        Ok(LayeredRecord(leased))
    }

    fn backward(
        &self,
        mut record: LayeredRecord,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError> {
        let workspace = record.0.get();
        let (plan, count) = (&self.plan, workspace.batch.images);
        let gradients = (logits_gradient, &*gradient);
        check_backward(plan, parameters, &images, count, masks, gradients)?;
        let target = Dst::of(gradient);
        self.train(workspace, parameters, images.pixels(), target, |pass| {
            pass.backward(logits_gradient);
        });
        Ok(())
    }
}

impl CpuEngine for Layered {
    /// Creates an engine for `plan`. `None` if the plan has an operation that the engine lacks: layer normalisation,
    /// attention, patch merging, channel scales. With an instruction set of bf16, dense convolutions of maps, but for the
    /// first one, multiply in bf16; activations in memory and all else are f32.
    fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
        let isa = options.isa.unwrap_or_else(Isa::best);
        let program = lower(&plan).filter(runs)?;
        let threads = options.threads.unwrap_or_else(rayon::current_num_threads);
        let shapes = plan.shapes(LARGE, LARGE);
        Some(Layered {
            maps: shapes.iter().map(|shape| shape.pixels() > 1).collect(),
            folding: fold(&plan, &program),
            program,
            isa,
            team: Team::new(threads),
            idle: Idle::default(),
            rooms: Mutex::default(),
            plan,
        })
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn threads(&self) -> usize {
        self.team.size()
    }
}

/// Whether the engine has all steps of a program.
fn runs(program: &Program) -> bool {
    let has = |step: &Step| match step {
        Step::Other { .. } => false,
        Step::Make { .. } => true,
        _ => (step.inputs().iter()).all(|value| is_for_maps(value.activation)),
    };
    program.steps.iter().all(has)
}

impl Layered {
    /// Runs a pass of training. It may change the workspace's norms.
    fn train(
        &self,
        workspace: &mut Workspace,
        parameters: &[f32],
        pixels: Pixels<'_>,
        gradient: Dst,
        run: impl FnOnce(&mut Pass<'_>),
    ) {
        let _pass = self.team.pass();
        let norms = Norms::Own(std::mem::take(&mut workspace.norms));
        let mut pass = self.pass(workspace, norms, parameters, pixels, gradient);
        run(&mut pass);
        if let Norms::Own(norms) = pass.norms {
            workspace.norms = norms;
        }
    }

    fn pass<'a>(
        &'a self,
        workspace: &'a Workspace,
        norms: Norms<'a>,
        parameters: &'a [f32],
        pixels: Pixels<'a>,
        gradient: Dst,
    ) -> Pass<'a> {
        Pass {
            engine: self,
            program: &self.program,
            space: workspace,
            context: Context {
                isa: self.isa.with_f32(),
                team: &self.team,
                groups: &workspace.groups,
                scratch: &workspace.scratch,
                sums: &workspace.sums,
                partials: &workspace.partials,
                pending: Mutex::default(),
                weights: StepWeights {
                    arena: parameters,
                    packed: &workspace.packed,
                },
                masks: &[],
            },
            parameters,
            pixels,
            norms,
            totals: vec![None; self.plan.layers.len()],
            corrections: vec![None; self.plan.layers.len()],
            gradient,
        }
    }

    /// The shapes of all layers for these images.
    fn batch(&self, images: &Images<'_>) -> Result<Batch, FusedError> {
        Ok(Batch {
            images: images.count,
            side: (images.height, images.width),
            shapes: check_shapes(&self.plan, images)?,
        })
    }

    /// Copies the masks to the workspace, one factor for each channel.
    fn set_masks(&self, workspace: &Workspace, masks: &[Vec<f32>]) {
        let images = workspace.batch.images;
        for (index, random) in self.plan.random_layers().enumerate() {
            let channels = self.plan.channels[random.layer];
            let rows: Vec<f32> = match masks.get(index) {
                None => vec![1.0; images * channels],
                Some(mask) if random.width < channels => (mask.iter())
                    .flat_map(|&value| std::iter::repeat_n(value, channels))
                    .collect(),
                Some(mask) => mask.clone(),
            };
            // SAFETY: the mask has space for all images, and no phase runs.
            unsafe { copy_in(&rows, channels, workspace.mask(index)) };
        }
    }
}
