//! The general engine: trains and runs any network of convolutions on a CPU.
//!
//! It uses the memory layout and the kernels of the fused engine ([`crate::fused`]). A network is turned into steps
//! ([`lower`]), each of which stores one value. As there, every thread runs its own group of images, and a
//! normalisation is no pass of its own: its sums are computed with its input, and it is applied when it is read.

mod backward;
pub(crate) mod conv;
mod convolution;
mod convolution_backward;
mod fold;
mod gradients;
mod infer;
mod lower;
mod norms;
mod pass;
mod places;
mod space;
mod steps;
mod values;

use std::sync::{Arc, Mutex};

use crate::fused::context::{Context, lock};
use crate::fused::layout::StepWeights;
use crate::fused::{FusedError, FusedOptions, Images, RunningStatistics, check, check_masks};
use crate::isa::Isa;
use crate::kernels::Pixels;
use crate::memory::Dst;
use crate::network::{Op, Plan};
use crate::team::Team;
use fold::{Folding, fold};
pub use infer::LayeredWeights;
use lower::lower;
use pass::{Norms, Pass, copy_in};
use space::{Batch, Workspace};
use steps::{Program, Step};

/// An engine for one network. It keeps its threads and the memory of its last batches.
pub struct Layered {
    plan: Arc<Plan>,
    /// The steps of training.
    program: Program,
    /// The steps of inference.
    folding: Folding,
    isa: Isa,
    team: Team,
    /// Workspaces that no step is using.
    idle: Arc<Mutex<Vec<Workspace>>>,
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
pub struct LayeredRecord {
    /// `None` only during drop.
    workspace: Option<Workspace>,
    idle: Arc<Mutex<Vec<Workspace>>>,
}

impl Drop for LayeredRecord {
    fn drop(&mut self) {
        // Keeps one workspace for the next step; more would waste memory.
        let mut idle = lock(&self.idle);
        idle.clear();
        idle.extend(self.workspace.take());
    }
}

impl Layered {
    /// Creates an engine for `plan`. `None` if the plan has an operation that the engine lacks: layer normalisation,
    /// attention, patch merging, channel scales; or if the instruction set computes in bf16.
    pub fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
        let isa = options.isa.unwrap_or_else(Isa::best);
        if isa != isa.with_f32() {
            return None;
        }
        let program = lower(&plan)?;
        let threads = options.threads.unwrap_or_else(rayon::current_num_threads);
        Some(Layered {
            folding: fold(&plan, &program),
            program,
            isa,
            team: Team::new(threads),
            idle: Arc::default(),
            rooms: Mutex::default(),
            plan,
        })
    }

    /// The instruction set that this engine uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads, including the caller's.
    pub fn threads(&self) -> usize {
        self.team.size()
    }

    /// The forward pass of a training step, as `model.train()(images)` in torch.
    ///
    /// Writes the logits `[n][classes]` and updates the running `statistics`. `masks` are the factors of the plan's
    /// [random layers](Plan::random_layers), in order: one for each image, or `[n][channels]`. If `masks` is empty,
    /// these layers change nothing. Parameters have the layout of the plan's table.
    ///
    /// # Errors
    /// If a batch normalisation would have only one value per channel, a layer no pixels, or a buffer the wrong
    /// length. In all cases nothing has changed.
    pub fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<LayeredRecord, FusedError> {
        images.check()?;
        check("parameters", parameters.len(), self.plan.parameters.len())?;
        let expected = self.plan.statistics.len();
        check("statistics", statistics.values.len(), expected)?;
        let classes = self.plan.classes();
        check("logits", logits.len(), images.count * classes)?;
        check_masks(&self.plan, masks, images.count)?;
        let batch = self.batch(&images)?;
        self.check_counts(&batch)?;
        let mut workspace = self.workspace(batch);
        self.set_masks(&workspace, masks);
        let norms = std::mem::take(&mut workspace.norms);
        // SAFETY: nothing is written through this pointer.
        let gradient = unsafe { Dst::new(std::ptr::null_mut(), 0) };
        let norms = Norms::Own(norms);
        let mut pass = self.pass(&workspace, norms, parameters, images.pixels(), gradient);
        pass.forward(statistics.values, statistics.momentum);
        pass.logits(logits);
        if let Norms::Own(norms) = pass.norms {
            workspace.norms = norms;
        }
        Ok(LayeredRecord {
            workspace: Some(workspace),
            idle: Arc::clone(&self.idle),
        })
    }

    /// The backward pass. It computes the gradient of every parameter from the gradient of the logits, and overwrites
    /// `gradient`. `parameters`, `images` and `masks` must be those of the forward pass.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn backward(
        &self,
        mut record: LayeredRecord,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        check("parameters", parameters.len(), self.plan.parameters.len())?;
        check("the gradient", gradient.len(), self.plan.parameters.len())?;
        let expected = images.count * self.plan.classes();
        check(
            "the gradient of the logits",
            logits_gradient.len(),
            expected,
        )?;
        if let Some(workspace) = &mut record.workspace {
            check("images", images.count, workspace.batch.images)?;
            check_masks(&self.plan, masks, images.count)?;
            let norms = std::mem::take(&mut workspace.norms);
            let target = Dst::of(gradient);
            let norms = Norms::Own(norms);
            let mut pass = self.pass(workspace, norms, parameters, images.pixels(), target);
            pass.backward(logits_gradient);
            if let Norms::Own(norms) = pass.norms {
                workspace.norms = norms;
            }
        }
        Ok(())
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
                isa: self.isa,
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
        let shapes = self.plan.shapes(images.height, images.width);
        for (shape, layer) in shapes.iter().zip(&self.plan.layers) {
            if shape.pixels() == 0 {
                return Err(FusedError::NoPixels {
                    layer: layer.name.clone(),
                    height: images.height,
                    width: images.width,
                });
            }
        }
        for layer in &self.plan.layers {
            let side = |&input: &usize| (shapes[input].height, shapes[input].width);
            let mut sides = layer.inputs.iter().map(side);
            let first = sides.next();
            let fits = match layer.op {
                Op::Add | Op::Concat => sides.all(|side| Some(side) == first),
                Op::Gate => sides.all(|side| side == (1, 1)),
                _ => true,
            };
            if !fits {
                return Err(FusedError::Sizes {
                    layer: layer.name.clone(),
                    height: images.height,
                    width: images.width,
                });
            }
        }
        Ok(Batch {
            images: images.count,
            side: (images.height, images.width),
            shapes,
        })
    }

    /// Checks that every batch normalisation has more than one value per channel.
    fn check_counts(&self, batch: &Batch) -> Result<(), FusedError> {
        for step in &self.program.steps {
            if let Step::Norm { z, .. } = step
                && batch.rows(*z) < 2
            {
                return Err(FusedError::OneValuePerChannel {
                    layer: self.plan.layers[*z].name.clone(),
                });
            }
        }
        Ok(())
    }

    /// A workspace for batches of this shape: a reused one or a new one.
    fn workspace(&self, batch: Batch) -> Workspace {
        let mut idle = lock(&self.idle);
        let fits = |w: &Workspace| w.fits(batch.images, batch.side);
        match idle.iter().position(fits) {
            Some(index) => idle.swap_remove(index),
            None => {
                idle.clear();
                drop(idle);
                Workspace::new(self, batch)
            }
        }
    }

    /// Copies the masks to the workspace, one factor for each channel.
    fn set_masks(&self, workspace: &Workspace, masks: &[Vec<f32>]) {
        let images = workspace.batch.images;
        for (index, random) in self.plan.random_layers().enumerate() {
            let channels = self.plan.channels[random.layer];
            let rows: Vec<f32> = match masks.get(index) {
                None => vec![1.0; images * channels],
                Some(mask) if random.per_image => (mask.iter())
                    .flat_map(|&value| std::iter::repeat_n(value, channels))
                    .collect(),
                Some(mask) => mask.clone(),
            };
            // SAFETY: the mask has space for all images, and no phase runs.
            unsafe { copy_in(&rows, channels, workspace.mask(index)) };
        }
    }
}
