//! The interface of the engines, and their common checks.

pub(crate) mod device_values;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use crate::fused::context::lock;
use crate::fused::{FusedError, FusedOptions, Images, RunningStatistics, check};
use crate::isa::Isa;
use crate::network::{Op, Plan, Shape};
use device_values::DeviceValues;

/// An engine on a CPU. It keeps its threads and the memory of its last batches.
pub trait CpuEngine: Engine {
    /// Creates an engine for `plan`. `None` if the engine cannot run the network.
    fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self>;

    /// The instruction set that this engine uses.
    fn isa(&self) -> Isa;

    /// Number of threads, including the caller's.
    fn threads(&self) -> usize;
}

/// An engine for one network, which runs on the values that it is given. Parameters and statistics have the layout of the plan's tables.
pub trait Engine: Debug + Send + Sync + Sized + 'static {
    /// The name of the engine in logs.
    const NAME: &'static str;
    /// A network's weights, ready for inference. Later changes to the weights do not affect them.
    type Folded: Debug + Send + Sync;
    /// The state of a forward pass, for the backward pass that may follow.
    type Record: Send;

    /// A text for everything beside network and version that affects the results to the last bit.
    fn kind(&self) -> String;

    /// The values in the device's memory, if the engine keeps them there between steps.
    fn device_values(self: &Arc<Self>) -> Option<Arc<dyn DeviceValues>> {
        None
    }

    /// Folds batch normalisations with their running `statistics` into the weights, and packs the weights.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<Self::Folded, FusedError>;

    /// The logits `[n][classes]` of images, as `model.eval()(images)` in torch. The weights must be this network's.
    ///
    /// An image's logits depend neither on the other images nor on the number of threads.
    ///
    /// # Errors
    /// If a layer would have no pixels, or a buffer has the wrong length.
    fn infer(
        &self,
        folded: &Self::Folded,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError>;

    /// The pooled features `[n][features]` of images in inference: the input of the head.
    ///
    /// # Errors
    /// As [`Engine::infer`].
    fn features(
        &self,
        folded: &Self::Folded,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError>;

    /// The forward pass of a training step, as `model.train()(images)` in torch.
    ///
    /// Writes the logits `[n][classes]` and updates the running `statistics`. `masks` are the factors of the plan's
    /// [random layers](Plan::random_layers), in order: one for each image, or `[n][channels]`. If `masks` is empty,
    /// these layers change nothing.
    ///
    /// # Errors
    /// If a batch normalisation would have only one value per channel, a layer no pixels, or a buffer the wrong
    /// length. In all cases nothing has changed.
    fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Self::Record, FusedError>;

    /// The backward pass. It computes the gradient of every parameter from the gradient of the logits, and overwrites
    /// `gradient`. `parameters`, `images` and `masks` must be those of the forward pass.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    fn backward(
        &self,
        record: Self::Record,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError>;
}

/// Checks the operands of [`Engine::fold`].
///
/// # Errors
/// [`FusedError::Length`] if a buffer has the wrong length.
pub fn check_fold(plan: &Plan, parameters: &[f32], statistics: &[f32]) -> Result<(), FusedError> {
    check("parameters", parameters.len(), plan.parameters.len())?;
    check("statistics", statistics.len(), plan.statistics.len())
}

/// Checks the lengths of the operands of [`Engine::forward`].
///
/// # Errors
/// [`FusedError::Length`] if a buffer has the wrong length.
pub fn check_forward(
    plan: &Plan,
    parameters: &[f32],
    statistics: &[f32],
    images: &Images<'_>,
    masks: &[Vec<f32>],
    logits: &[f32],
) -> Result<(), FusedError> {
    check_fold(plan, parameters, statistics)?;
    check_step(plan, images, masks, logits)
}

/// Checks the lengths of the operands of [`Engine::forward`] beside parameters and statistics.
///
/// # Errors
/// [`FusedError::Length`] if a buffer has the wrong length.
pub fn check_step(
    plan: &Plan,
    images: &Images<'_>,
    masks: &[Vec<f32>],
    logits: &[f32],
) -> Result<(), FusedError> {
    images.check()?;
    check("logits", logits.len(), images.count * plan.classes())?;
    check_masks(plan, masks, images.count)
}

/// Checks the lengths of the operands of [`Engine::backward`]. The forward pass had `count` images.
///
/// # Errors
/// [`FusedError::Length`] if a buffer has the wrong length.
pub fn check_backward(
    plan: &Plan,
    parameters: &[f32],
    images: &Images<'_>,
    count: usize,
    masks: &[Vec<f32>],
    (logits_gradient, gradient): (&[f32], &[f32]),
) -> Result<(), FusedError> {
    images.check()?;
    check("parameters", parameters.len(), plan.parameters.len())?;
    check("the gradient", gradient.len(), plan.parameters.len())?;
    let expected = images.count * plan.classes();
    let found = logits_gradient.len();
    check("the gradient of the logits", found, expected)?;
    check("images", images.count, count)?;
    check_masks(plan, masks, images.count)
}

/// The shapes of all layers for images of this size.
///
/// # Errors
/// If a layer would have no pixels, or joins maps of different sizes.
pub fn check_shapes(plan: &Plan, images: &Images<'_>) -> Result<Vec<Shape>, FusedError> {
    let shapes = plan.shapes(images.height, images.width);
    for (shape, layer) in shapes.iter().zip(&plan.layers) {
        if shape.pixels() == 0 {
            return Err(FusedError::NoPixels {
                layer: layer.name.clone(),
                height: images.height,
                width: images.width,
            });
        }
    }
    for layer in &plan.layers {
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
    Ok(shapes)
}

/// Checks that every batch normalisation has more than one value per channel in training.
///
/// # Errors
/// [`FusedError::OneValuePerChannel`] for the first that has one.
pub fn check_counts(plan: &Plan, shapes: &[Shape], images: usize) -> Result<(), FusedError> {
    for layer in &plan.layers {
        if let (Op::BatchNorm(_), Some(&input)) = (&layer.op, layer.inputs.first())
            && images * shapes[input].pixels() < 2
        {
            return Err(FusedError::OneValuePerChannel {
                layer: plan.layers[input].name.clone(),
            });
        }
    }
    Ok(())
}

/// Checks the factors of a plan's random layers.
fn check_masks(plan: &Plan, masks: &[Vec<f32>], images: usize) -> Result<(), FusedError> {
    if masks.is_empty() {
        return Ok(());
    }
    let layers = plan.random_layers().count();
    check("the list of masks", masks.len(), layers)?;
    for (random, mask) in plan.random_layers().zip(masks) {
        check("a mask", mask.len(), images * random.width)?;
    }
    Ok(())
}

/// The workspace that no step is using, if there is one. More would waste memory.
pub(crate) struct Idle<W>(Arc<Mutex<Option<W>>>);

/// A workspace of a step. It becomes idle when it is dropped.
pub(crate) struct Leased<W> {
    /// `None` only during drop.
    workspace: Option<W>,
    idle: Arc<Mutex<Option<W>>>,
}

impl<W> Default for Idle<W> {
    fn default() -> Self {
        Idle(Arc::default())
    }
}

impl<W> Idle<W> {
    /// The idle workspace if it fits, or a new one.
    pub(crate) fn lease(
        &self,
        fits: impl FnOnce(&W) -> bool,
        make: impl FnOnce() -> W,
    ) -> Leased<W> {
        // A workspace that does not fit is freed before the new one is made.
        let found = lock(&self.0).take().filter(fits);
        Leased {
            workspace: Some(found.unwrap_or_else(make)),
            idle: Arc::clone(&self.0),
        }
    }
}

impl<W> Leased<W> {
    pub(crate) fn get(&mut self) -> &mut W {
        match &mut self.workspace {
            Some(workspace) => workspace,
            None => unreachable!("a workspace is there until it is dropped"),
        }
    }
}

impl<W> Drop for Leased<W> {
    fn drop(&mut self) {
        *lock(&self.idle) = self.workspace.take();
    }
}
