//! The interface between a network's description and the code that runs it.

use std::sync::{Arc, Mutex};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Shape, Storage, Tensor, Var,
    backend::BackendStorage, bail,
};

use engine::DeviceValues;

use crate::run::parameters::Gradient;
use crate::{Error, Images, Parameters, Result};

/// Settings of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// Seed of the dropout mask.
    pub dropout_seed: u64,
    /// Number of the step. Each step has a different dropout mask.
    pub step: u64,
    /// Whether to run everything except the head as in inference: without gradients, and without
    /// updating the running statistics.
    pub freeze_backbone: bool,
}

/// Computes a network's logits and gradients.
///
/// Images must be on the same device as the parameters.
pub trait Executor: Send + Sync {
    /// A short name for logs.
    fn name(&self) -> &'static str;

    /// Logits `[n, classes]` in inference: normalised with the running statistics, without dropout.
    ///
    /// # Errors
    /// If the device fails.
    fn infer(&self, parameters: &Parameters, images: &Images) -> Result<Tensor>;

    /// A text that identifies the executor. It covers everything that affects the results to the
    /// last bit, except the network and the version of this crate.
    fn kind(&self) -> String {
        self.name().to_owned()
    }

    /// Pooled features `[n, features]` in inference. They are the input of the head.
    ///
    /// # Errors
    /// If the device fails.
    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor>;

    /// Logits `[n, classes]` from pooled features `[n, features]`, without dropout.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    fn infer_head(&self, parameters: &Parameters, features: &Tensor) -> Result<Tensor>;

    /// A training step of the head only. Returns logits `[n, classes]` for pooled features
    /// `[n, features]`, and the tape for the backward pass.
    ///
    /// # Errors
    /// If the width of the features differs from the network's, or the device fails.
    fn forward_head(
        &self,
        parameters: &Parameters,
        features: &Tensor,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)>;

    /// A training step. Returns logits `[n, classes]` and the tape for the backward pass. Updates
    /// the running statistics.
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
    /// Computes the gradient of all parameters from the gradient of the logits, `[n, classes]`.
    /// Overwrites the flat `gradient` with the result.
    ///
    /// # Errors
    /// If the device fails.
    fn backward(
        self: Box<Self>,
        logits_gradient: &Tensor,
        gradient: &Var,
    ) -> candle_core::Result<()>;

    /// The device whose memory gets the gradient instead of `gradient`, if there is one.
    fn device_values(&self) -> Option<Arc<dyn DeviceValues>> {
        None
    }
}

/// A forward pass of a training step, before its backward pass.
pub struct ForwardPass {
    logits: Tensor,
    tape: Box<dyn Tape>,
    gradient: Arc<Gradient>,
}

impl ForwardPass {
    pub(crate) fn new(parameters: &Parameters, (logits, tape): (Tensor, Box<dyn Tape>)) -> Self {
        ForwardPass {
            logits: logits.detach(),
            tape,
            gradient: Arc::clone(parameters.gradient_buffer()),
        }
    }

    /// The logits `[n, classes]`. They are not part of a graph.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// Runs the backward pass, from the gradient of the logits, `[n, classes]`. Writes
    /// [`Parameters::gradient`].
    ///
    /// # Errors
    /// If the shape is not that of the logits, if the parameters have changed since the forward
    /// pass, or if the device fails.
    pub fn backward(self, logits_gradient: &Tensor) -> Result<()> {
        if logits_gradient.dims() != self.logits.dims() {
            return Err(Error::GradientShape {
                found: logits_gradient.dims().to_vec(),
                expected: self.logits.dims().to_vec(),
            });
        }
        Ok(self.gradient.write(self.tape, logits_gradient)?)
    }

    /// The logits as a part of candle's graph: `loss.backward()` on a loss of them runs the backward
    /// pass.
    ///
    /// # Errors
    /// If the device fails.
    pub fn into_graph(self) -> Result<Tensor> {
        let root = self.gradient.root.as_tensor().clone();
        let op = Recorded {
            logits: self.logits,
            tape: Mutex::new(Some(self.tape)),
            gradient: self.gradient,
        };
        Ok(root.apply_op1(op)?)
    }
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
                // Only the values in the layout are used: the clone starts at the layout's offset.
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
                    self.gradient.write(tape, gradient)?;
                    Ok(None)
                }
                None => bail!("backward ran twice over one forward pass of the network"),
            },
            Err(_) => bail!("an earlier backward pass of the network panicked"),
        }
    }
}
