//! The gradient of all parameters.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Tensor, Var};
use engine::DeviceValues;

use crate::run::executor::Tape;

/// The gradient of the last backward pass.
#[derive(Debug)]
pub(crate) struct Gradient {
    /// The gradient, flat f32, in arena order, unless a device has a newer one.
    pub(super) values: Var,
    /// The device whose memory has the newest gradient.
    pub(super) on_device: Mutex<Option<Arc<dyn DeviceValues>>>,
    /// A small leaf of candle's graph that represents the parameters. If the arena were the leaf,
    /// every backward pass would fill and add unneeded buffers of the arena's length.
    pub(crate) root: Var,
    /// Whether the gradient was written since its last use.
    fresh: AtomicBool,
}

impl Gradient {
    /// No gradient of `length` parameters.
    pub(super) fn zeros(length: usize, device: &Device) -> candle_core::Result<Gradient> {
        Ok(Gradient {
            values: Var::zeros(length, DType::F32, device)?,
            on_device: Mutex::default(),
            root: Var::zeros(1, DType::F32, device)?,
            fresh: AtomicBool::new(false),
        })
    }

    /// Whether the gradient was written since the last call.
    pub(super) fn take(&self) -> bool {
        self.fresh.swap(false, Ordering::AcqRel)
    }

    /// Runs a backward pass, from the gradient of the logits.
    pub(crate) fn write(
        &self,
        tape: Box<dyn Tape>,
        logits_gradient: &Tensor,
    ) -> candle_core::Result<()> {
        let device = tape.device_values();
        tape.backward(logits_gradient, &self.values)?;
        *self
            .on_device
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = device;
        self.fresh.store(true, Ordering::Release);
        Ok(())
    }
}
