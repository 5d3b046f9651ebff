//! The interface between a network as data and the code that runs it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Shape, Storage, Tensor, Var,
    backend::BackendStorage, bail,
};

use crate::parameters::Gradient;
use crate::{Images, Parameters, Result};

/// Settings of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// Seed of the dropout mask.
    pub dropout_seed: u64,
    /// Number of the step; each has its own dropout mask.
    pub step: u64,
    /// Run everything except the head as in inference: no gradient, and no update of the running
    /// statistics.
    pub freeze_backbone: bool,
}

/// Computes a network's logits and gradients.
///
/// Images are on the parameters' device.
pub trait Executor: Send + Sync {
    /// A short name for logs.
    fn name(&self) -> &'static str;

    /// Logits `[n, classes]`, normalised by the running statistics, without dropout.
    ///
    /// # Errors
    /// If the device fails.
    fn infer(&self, parameters: &Parameters, images: &Images) -> Result<Tensor>;

    /// A description of everything, besides the network and the version of this crate, that affects
    /// its results to the last bit.
    fn kind(&self) -> String {
        self.name().to_owned()
    }

    /// Pooled features `[n, features]` as in inference: the input of the head.
    ///
    /// # Errors
    /// If the device fails.
    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor>;

    /// Logits `[n, classes]` of pooled features `[n, features]`, without dropout.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    fn infer_head(&self, parameters: &Parameters, features: &Tensor) -> Result<Tensor>;

    /// Logits `[n, classes]` of a training step of the head only, from pooled features
    /// `[n, features]`, and the tape for its backward pass.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    fn forward_head(
        &self,
        parameters: &Parameters,
        features: &Tensor,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)>;

    /// Logits `[n, classes]` of a training step, and the tape for its backward pass. Updates the
    /// running statistics.
    ///
    /// # Errors
    /// If a batch normalisation would have one value per channel, or the device fails.
    fn forward(
        &self,
        parameters: &Parameters,
        images: &Images,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)>;
}

/// The state that a forward pass keeps for its backward pass.
pub trait Tape: Send + Sync {
    /// Computes the gradient of the arena from that of the logits `[n, classes]`, and overwrites
    /// the flat `gradient` with it.
    ///
    /// # Errors
    /// If the device fails.
    fn backward(
        self: Box<Self>,
        logits_gradient: &Tensor,
        gradient: &Var,
    ) -> candle_core::Result<()>;
}

/// Adds computed logits to candle's graph, so that `loss.backward()` runs the tape.
pub(crate) fn differentiable(
    parameters: &Parameters,
    logits: Tensor,
    tape: Box<dyn Tape>,
) -> Result<Tensor> {
    let gradient = Arc::clone(parameters.gradient_buffer());
    let root = gradient.root.as_tensor().clone();
    let op = Recorded {
        logits: logits.detach(),
        tape: Mutex::new(Some(tape)),
        gradient,
    };
    Ok(root.apply_op1(op)?)
}

struct Recorded {
    logits: Tensor,
    tape: Mutex<Option<Box<dyn Tape>>>,
    gradient: Arc<Gradient>,
}

macro_rules! recorded_logits {
    ($method:ident, $storage:ty, $variant:ident) => {
        fn $method(&self, _: &$storage, _: &Layout) -> candle_core::Result<($storage, Shape)> {
            let logits = self.logits.contiguous()?;
            let (storage, layout) = logits.storage_and_layout();
            match &*storage {
                // Only the values of the layout: the clone starts at its offset.
                Storage::$variant(storage) if layout.start_offset() == 0 => {
                    Ok((storage.try_clone(layout)?, layout.shape().clone()))
                }
                _ => bail!("the logits are not on the parameters' device"),
            }
        }
    };
}

impl CustomOp1 for Recorded {
    fn name(&self) -> &'static str {
        "network"
    }

    recorded_logits!(cpu_fwd, CpuStorage, Cpu);
    recorded_logits!(cuda_fwd, CudaStorage, Cuda);
    recorded_logits!(metal_fwd, MetalStorage, Metal);

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        match self.tape.lock() {
            Ok(mut tape) => match tape.take() {
                Some(tape) => {
                    tape.backward(gradient, &self.gradient.values)?;
                    self.gradient.fresh.store(true, Ordering::Release);
                    Ok(None)
                }
                None => bail!("backward ran twice over one forward pass of the network"),
            },
            Err(_) => bail!("an earlier backward pass of the network panicked"),
        }
    }
}
