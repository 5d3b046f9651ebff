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

use crate::interface::{CpuEngine, Engine, Idle, Leased, check_backward, check_forward};
use crate::isa::Isa;
use crate::kernels::Pixels;
use crate::network::{Chain, Plan};
use crate::team::Team;
pub(crate) use backward::sum_taps;
use context::Context;
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
    /// A device other than the CPU failed, in its own words.
    #[error("{0}")]
    Device(String),
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

    /// Checks the number of pixels.
    ///
    /// # Errors
    /// [`FusedError::Length`] if they are too few or too many, or none.
    pub fn check(&self) -> Result<(), FusedError> {
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

/// Checks the length of a buffer.
///
/// # Errors
/// [`FusedError::Length`] if it differs from the expected one.
pub fn check(what: &'static str, found: usize, expected: usize) -> Result<(), FusedError> {
    if found == expected {
        return Ok(());
    }
    Err(FusedError::Length {
        what,
        found,
        expected,
    })
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
    idle: Idle<Workspace>,
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
pub struct Record(Leased<Workspace>);

impl CpuEngine for Fused {
    /// Creates an engine for `plan`. `None` if the network is not a [`Chain`].
    fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
        let chain = Chain::find(&plan)?;
        let threads = options.threads.unwrap_or_else(rayon::current_num_threads);
        let isa = options.isa.unwrap_or_else(Isa::best);
        Some(Fused {
            layout: Layout::new(&plan, &chain, isa),
            chain,
            isa,
            team: Team::new(threads),
            idle: Idle::default(),
            memories: Memories::default(),
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

impl Engine for Fused {
    const NAME: &'static str = "fused";
    type Folded = Folded;
    type Record = Record;

    fn kind(&self) -> String {
        self.isa.to_string()
    }

    fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<Folded, FusedError> {
        self.folded(parameters, statistics)
    }

    fn infer(
        &self,
        folded: &Folded,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError> {
        self.write_logits(folded, images, logits)
    }

    fn features(
        &self,
        folded: &Folded,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError> {
        self.write_features(folded, images, features)
    }

    fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Record, FusedError> {
        let values = &*statistics.values;
        check_forward(&self.plan, parameters, values, &images, masks, logits)?;
        self.check_counts(&images)?;
        let (count, side) = (images.count, images.side());
        let mut leased = self.idle.lease(
            |workspace| workspace.fits(count, side),
            || {
                let threads = self.team.size();
                Workspace::new(&self.layout, count, side, threads, self.isa.pixel())
            },
        );
        self.forward_pass(
            leased.get(),
            parameters,
            statistics,
            images.pixels(),
            masks,
            logits,
        );
        Ok(Record(leased))
    }

    fn backward(
        &self,
        mut record: Record,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError> {
        let workspace = record.0.get();
        let (plan, count) = (&self.plan, workspace.images);
        let gradients = (logits_gradient, &*gradient);
        check_backward(plan, parameters, &images, count, masks, gradients)?;
        self.backward_pass(
            workspace,
            parameters,
            images.pixels(),
            masks,
            logits_gradient,
            gradient,
        );
        Ok(())
    }
}

impl Fused {
    /// The network's layers, as this engine runs them.
    pub fn chain(&self) -> &Chain {
        &self.chain
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
