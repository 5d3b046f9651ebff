//! The fused engine: a whole network on a CPU, forward and backward.
//!
//! Activations lie in planes of 16 channels. The batch is cut into groups of images, one a
//! thread, and each layer is one phase in which every thread runs its own group:
//! activations stay in the core that made them. Between phases only the sums of
//! batch normalisation meet. A normalisation never makes a pass of its own: its sums are
//! taken where its input is made, and it is applied where its output is read.

mod backward;
mod context;
mod forward;
mod head;
mod infer;
mod layout;
mod norm;
mod pointwise;
mod squeeze;
mod workspace;

use std::sync::{Arc, Mutex};

use crate::isa::Isa;
use crate::kernels::Pixels;
use crate::plan::Plan;
use crate::team::Team;
use context::{Context, lock};
pub use infer::Folded;
use infer::Memories;
use layout::{Layout, StepWeights};
use workspace::{Side, Sides, Workspace};

/// How a [`Fused`] engine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FusedOptions {
    /// Threads, the caller's included; by default as many as rayon's current pool has, which
    /// is one for each processor this process may use unless somebody said otherwise.
    pub threads: Option<usize>,
    /// The instruction set; by default the best there is.
    pub isa: Option<Isa>,
}

/// What a forward or backward pass could not do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FusedError {
    /// A batch normalisation has no variance to normalise by.
    #[error(
        "{layer}: batch normalisation needs more than one value a channel in training; \
         use a larger batch or larger images"
    )]
    OneValuePerChannel {
        /// The name of the convolution before it.
        layer: String,
    },
    /// A buffer does not have the numbers it should.
    #[error("{what} has {found} numbers, expected {expected}")]
    Length {
        /// Which one.
        what: &'static str,
        /// Its numbers.
        found: usize,
        /// What they should be.
        expected: usize,
    },
}

/// Images for the engine, `[n][height][width][3]`, red, green, blue.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// Their number, at least 1.
    pub count: usize,
    /// In pixels, at least 1.
    pub height: usize,
    /// In pixels, at least 1.
    pub width: usize,
    /// The pixels themselves.
    pub pixels: ImagePixels<'a>,
}

/// The numbers of [`Images`].
#[derive(Clone, Copy)]
pub enum ImagePixels<'a> {
    /// Normalised.
    F32(&'a [f32]),
    /// Bytes, and what each of them stands for in each colour.
    U8(&'a [u8], &'a [[f32; 256]; 3]),
}

impl<'a> Images<'a> {
    fn pixels(&self) -> Pixels<'a> {
        match self.pixels {
            ImagePixels::F32(values) => Pixels::F32(values),
            ImagePixels::U8(bytes, table) => Pixels::U8(bytes, table),
        }
    }

    fn check(&self) -> Result<(), FusedError> {
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

fn check(what: &'static str, found: usize, expected: usize) -> Result<(), FusedError> {
    if found == expected {
        return Ok(());
    }
    Err(FusedError::Length {
        what,
        found,
        expected,
    })
}

/// The running statistics of a network, and how a training step moves them.
pub struct RunningStatistics<'a> {
    /// Means and variances, as the plan's table says.
    pub values: &'a mut [f32],
    /// Share of this batch in them; see [`BatchNormSpec::momentum_after`](crate::BatchNormSpec::momentum_after).
    pub momentum: f64,
}

/// An engine for one network. It keeps its threads, and the memory of its last batches.
pub struct Fused {
    plan: Arc<Plan>,
    layout: Layout,
    isa: Isa,
    team: Team,
    /// Workspaces that no step is using.
    idle: Arc<Mutex<Vec<Workspace>>>,
    /// What inference works in.
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

/// A forward pass that a backward pass may follow.
pub struct Record {
    /// `None` only while it is dropped.
    workspace: Option<Workspace>,
    idle: Arc<Mutex<Vec<Workspace>>>,
}

impl Drop for Record {
    fn drop(&mut self) {
        // One is kept for the next step; more would be held for nothing.
        let mut idle = lock(&self.idle);
        idle.clear();
        idle.extend(self.workspace.take());
    }
}

impl Fused {
    /// An engine for `plan`.
    pub fn new(plan: Arc<Plan>, options: FusedOptions) -> Self {
        let threads = options.threads.unwrap_or_else(rayon::current_num_threads);
        let isa = options.isa.unwrap_or_else(Isa::best);
        Fused {
            layout: Layout::new(&plan, isa),
            isa,
            team: Team::new(threads),
            idle: Arc::default(),
            memories: Memories::default(),
            plan,
        }
    }

    /// The instruction set it runs with.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Its threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.team.size()
    }

    /// The forward pass of a training step, as `model.train()(images)` in torch.
    ///
    /// Writes the logits, `[n][classes]`, and moves the running `statistics`. `dropout`
    /// multiplies what the classifier is given, `[n][features]`. Parameters lie as the plan's
    /// table says.
    ///
    /// # Errors
    /// If a batch normalisation would see one value a channel, or a buffer has another
    /// length. Nothing has changed then.
    pub fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        dropout: Option<&[f32]>,
        logits: &mut [f32],
    ) -> Result<Record, FusedError> {
        images.check()?;
        check("parameters", parameters.len(), self.plan.parameters.len())?;
        let expected = self.plan.statistics.len();
        check("statistics", statistics.values.len(), expected)?;
        let classes = self.layout.classifier.outputs;
        check("logits", logits.len(), images.count * classes)?;
        if let Some(dropout) = dropout {
            let features = self.layout.classifier.inputs;
            check("the dropout mask", dropout.len(), images.count * features)?;
        }
        self.check_counts(&images)?;
        let mut workspace = self.workspace(&images);
        self.forward_pass(
            &mut workspace,
            parameters,
            statistics,
            images.pixels(),
            dropout,
            logits,
        );
        Ok(Record {
            workspace: Some(workspace),
            idle: Arc::clone(&self.idle),
        })
    }

    /// The backward pass: from the gradient of the logits to that of every parameter,
    /// which overwrites `gradient`. `parameters`, `images` and `dropout` are those of the forward
    /// pass.
    ///
    /// # Errors
    /// If a buffer has another length than it should.
    pub fn backward(
        &self,
        mut record: Record,
        parameters: &[f32],
        images: Images<'_>,
        dropout: Option<&[f32]>,
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
            self.backward_pass(
                workspace,
                parameters,
                images.pixels(),
                dropout,
                logits_gradient,
                gradient,
            );
        }
        Ok(())
    }

    /// A workspace of the images' shape: an idle one, or a new one.
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

    fn context<'a>(&'a self, workspace: &'a Workspace, arena: &'a [f32]) -> Context<'a> {
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
        }
    }

    /// That every batch normalisation sees more than one value a channel.
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
