//! The fused engine: a whole network on a CPU, forward and backward.
//!
//! Activations are stored in planes of 16 channels. The batch is cut into groups of images, one for each thread. Each
//! layer is a phase: every thread runs the layer on its own group, so the group's activations stay in that core's
//! cache. Between phases, threads exchange only the sums of batch normalisation. A normalisation is never a separate
//! pass: its sums are computed together with its input, and it is applied when its output is read.

mod backward;
pub(crate) mod context;
mod forward;
mod head;
mod infer;
mod input;
pub(crate) mod layout;
pub(crate) mod norm;
mod pointwise;
mod squeeze;
mod workspace;

use std::sync::{Arc, Mutex};

use crate::isa::Isa;
use crate::kernels::Pixels;
use crate::network::{Chain, Plan};
use crate::team::Team;
pub(crate) use backward::sum_taps;
use context::{Context, lock};
pub use infer::Folded;
use infer::Memories;
use layout::{Layout, StepWeights};
use workspace::{Side, Sides, Workspace};

/// Options of a [`Fused`] engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FusedOptions {
    /// Threads, including the caller's. The default is the size of rayon's current pool, by default one for each
    /// processor available to this process.
    pub threads: Option<usize>,
    /// The instruction set; by default the best available.
    pub isa: Option<Isa>,
}

/// Errors of a forward or backward pass.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FusedError {
    /// A batch normalisation has only one value per channel, so it has no variance.
    #[error(
        "{layer}: batch normalisation needs more than one value a channel in training; \
         use a larger batch or larger images"
    )]
    OneValuePerChannel {
        /// Name of the preceding convolution.
        layer: String,
    },
    /// The images are so small that a layer has no pixels.
    #[error("{layer}: images of {height}x{width} pixels are too small; use larger images")]
    NoPixels {
        /// Name of the layer.
        layer: String,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
    /// A layer joins maps that have different sizes for images of this size.
    #[error(
        "{layer}: with images of {height}x{width} pixels, it joins maps of different sizes; use images with other sides"
    )]
    Sizes {
        /// Name of the layer.
        layer: String,
        /// Height of the images.
        height: usize,
        /// Width of the images.
        width: usize,
    },
    /// A buffer has the wrong length.
    #[error("{what} has {found} numbers, expected {expected}")]
    Length {
        /// Name of the buffer.
        what: &'static str,
        /// Length of the buffer.
        found: usize,
        /// The expected length.
        expected: usize,
    },
}

/// Images for the engine, `[n][height][width][3]`, red, green, blue.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// Number of images, at least 1.
    pub count: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// Width in pixels, at least 1.
    pub width: usize,
    /// The pixels.
    pub pixels: ImagePixels<'a>,
}

/// The pixel values of [`Images`].
#[derive(Clone, Copy)]
pub enum ImagePixels<'a> {
    /// Normalised values.
    F32(&'a [f32]),
    /// Bytes, and a table for each colour that maps a byte to its normalised value.
    U8(&'a [u8], &'a [[f32; 256]; 3]),
}

impl<'a> Images<'a> {
    pub(crate) fn pixels(&self) -> Pixels<'a> {
        match self.pixels {
            ImagePixels::F32(values) => Pixels::F32(values),
            ImagePixels::U8(bytes, table) => Pixels::U8(bytes, table),
        }
    }

    pub(crate) fn check(&self) -> Result<(), FusedError> {
        let found = match self.pixels {
            ImagePixels::F32(values) => values.len(),
            ImagePixels::U8(bytes, _) => bytes.len(),
        };
        let expected = self.count * self.height * self.width * 3;
        check("images", found, expected.max(1))
    }

    fn side(&self) -> Side {
        Side {
            height: self.height,
            width: self.width,
        }
    }
}

pub(crate) fn check(what: &'static str, found: usize, expected: usize) -> Result<(), FusedError> {
    if found == expected {
        return Ok(());
    }
    Err(FusedError::Length {
        what,
        found,
        expected,
    })
}

/// Checks the factors of a plan's random layers.
pub(crate) fn check_masks(
    plan: &Plan,
    masks: &[Vec<f32>],
    images: usize,
) -> Result<(), FusedError> {
    if masks.is_empty() {
        return Ok(());
    }
    let layers = plan.random_layers().count();
    check("the list of masks", masks.len(), layers)?;
    for (random, mask) in plan.random_layers().zip(masks) {
        let width = if random.per_image {
            1
        } else {
            plan.channels[random.layer]
        };
        check("a mask", mask.len(), images * width)?;
    }
    Ok(())
}

/// The running statistics of a network, and the momentum of their update.
pub struct RunningStatistics<'a> {
    /// Means and variances, in the layout of the plan's table.
    pub values: &'a mut [f32],
    /// Weight of this batch in the running statistics; see
    /// [`BatchNormSpec::momentum_after`](crate::BatchNormSpec::momentum_after).
    pub momentum: f64,
}

/// An engine for one network. It keeps its threads and the memory of its last batches.
pub struct Fused {
    plan: Arc<Plan>,
    chain: Chain,
    layout: Layout,
    isa: Isa,
    team: Team,
    /// Workspaces that no step is using.
    idle: Arc<Mutex<Vec<Workspace>>>,
    /// Memory for inference, reused between calls.
    memories: Memories,
}

impl std::fmt::Debug for Fused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fused")
            .field("isa", &self.isa)
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

/// The state of a forward pass, for the backward pass that may follow.
pub struct Record {
    /// `None` only during drop.
    workspace: Option<Workspace>,
    idle: Arc<Mutex<Vec<Workspace>>>,
}

impl Drop for Record {
    fn drop(&mut self) {
        // Keeps one workspace for the next step; more would waste memory.
        let mut idle = lock(&self.idle);
        idle.clear();
        idle.extend(self.workspace.take());
    }
}

impl Fused {
    /// Creates an engine for `plan`. `None` if the network is not a [`Chain`].
    pub fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
        let chain = Chain::find(&plan)?;
        let threads = options.threads.unwrap_or_else(rayon::current_num_threads);
        let isa = options.isa.unwrap_or_else(Isa::best);
        Some(Fused {
            layout: Layout::new(&plan, &chain, isa),
            chain,
            isa,
            team: Team::new(threads),
            idle: Arc::default(),
            memories: Memories::default(),
            plan,
        })
    }

    /// The instruction set that this engine uses.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The network's layers, as this engine runs them.
    pub fn chain(&self) -> &Chain {
        &self.chain
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
    /// If a batch normalisation would have only one value per channel, or a buffer has the wrong length. In both cases
    /// nothing has changed.
    pub fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Record, FusedError> {
        images.check()?;
        check("parameters", parameters.len(), self.plan.parameters.len())?;
        let expected = self.plan.statistics.len();
        check("statistics", statistics.values.len(), expected)?;
        let classes = self.layout.classifier.outputs;
        check("logits", logits.len(), images.count * classes)?;
        check_masks(&self.plan, masks, images.count)?;
        self.check_counts(&images)?;
        let mut workspace = self.workspace(&images);
        self.forward_pass(
            &mut workspace,
            parameters,
            statistics,
            images.pixels(),
            masks,
            logits,
        );
        Ok(Record {
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
        mut record: Record,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        check("parameters", parameters.len(), self.plan.parameters.len())?;
        check("the gradient", gradient.len(), self.plan.parameters.len())?;
        let classes = self.layout.classifier.outputs;
        check(
            "the gradient of the logits",
            logits_gradient.len(),
            images.count * classes,
        )?;
        if let Some(workspace) = &mut record.workspace {
            check("images", images.count, workspace.images)?;
            check_masks(&self.plan, masks, images.count)?;
            self.backward_pass(
                workspace,
                parameters,
                images.pixels(),
                masks,
                logits_gradient,
                gradient,
            );
        }
        Ok(())
    }

    /// A workspace for images of this shape: a reused one or a new one.
    fn workspace(&self, images: &Images<'_>) -> Workspace {
        let mut idle = lock(&self.idle);
        let fits = |w: &Workspace| w.fits(images.count, images.side());
        match idle.iter().position(fits) {
            Some(index) => idle.swap_remove(index),
            None => {
                idle.clear();
                drop(idle);
                let threads = self.team.size();
                let (layout, side) = (&self.layout, images.side());
                Workspace::new(layout, images.count, side, threads, self.isa.pixel())
            }
        }
    }

    fn context<'a>(
        &'a self,
        workspace: &'a Workspace,
        arena: &'a [f32],
        masks: &'a [Vec<f32>],
    ) -> Context<'a> {
        Context {
            isa: self.isa,
            team: &self.team,
            groups: &workspace.groups,
            scratch: &workspace.scratch,
            sums: &workspace.sums,
            partials: &workspace.partials,
            pending: Mutex::default(),
            weights: StepWeights {
                arena,
                packed: &workspace.packed,
            },
            masks,
        }
    }

    /// Checks that every batch normalisation has more than one value per channel.
    fn check_counts(&self, images: &Images<'_>) -> Result<(), FusedError> {
        let sides = Sides::new(&self.layout, images.side());
        let blocks = self.layout.blocks.iter().map(|block| block.depthwise.1);
        let norms = std::iter::once(self.layout.stem.1).chain(blocks);
        for (side, norm) in sides.blocks.iter().zip(norms) {
            if images.count * side.pixels() < 2 {
                return Err(FusedError::OneValuePerChannel {
                    layer: self.layout.norms[norm].name.clone(),
                });
            }
        }
        Ok(())
    }
}
