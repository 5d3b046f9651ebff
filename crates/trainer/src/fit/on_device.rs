//! An optimizer's state and steps, on the host or in the memory of a GPU.

use std::borrow::Cow;
use std::sync::Arc;

use mobilenet::{Buffer, DeviceValues, GradientChange, GroupStep, Parameters, Ranges, StepRange};
use optim::{Coefficients, Optimizer, OptimizerState};

use super::device_buffers::DeviceBuffers;
use crate::Result;

/// An optimizer that takes its steps where the gradient is: on the host, or in the memory of a GPU.
///
/// Its state is copied only when steps move from one to the other.
pub struct PlacedOptimizer {
    own: Optimizer,
    device: Option<OnDevice>,
}

impl PlacedOptimizer {
    /// An optimizer with the state of `own`.
    pub fn new(own: Optimizer) -> Self {
        PlacedOptimizer { own, device: None }
    }

    /// Takes a step with the gradient of the last backward pass.
    ///
    /// # Errors
    /// If there is no gradient, the learning rate is invalid, or the device fails.
    pub fn step(&mut self, parameters: &Parameters, rate: f64) -> Result<()> {
        if let Some(values) = parameters.take_gradient_on_device()? {
            self.on(values)?;
            return self.step_on_device(parameters, rate, GradientChange::default());
        }
        let own = self.on_host()?;
        Ok(parameters.update(|values, gradient| own.step(values, gradient, rate))??)
    }

    /// The optimizer, for everything but its buffers.
    pub(super) fn own(&self) -> &Optimizer {
        &self.own
    }

    /// The optimizer with the newest buffers.
    pub(super) fn on_host(&mut self) -> Result<&mut Optimizer> {
        if let Some(device) = &mut self.device {
            device.state.fetch(self.own.buffers_mut())?;
        }
        Ok(&mut self.own)
    }

    /// The state on a device.
    pub(super) fn on(&mut self, values: Arc<dyn DeviceValues>) -> Result<&mut OnDevice> {
        let is_on = |device: &OnDevice| device.state.is_on(&values);
        if !self.device.as_ref().is_some_and(is_on) {
            self.on_host()?;
            self.device = None;
        }
        let device = match self.device.take() {
            Some(device) => device,
            None => OnDevice::new(values, &self.own)?,
        };
        Ok(self.device.insert(device))
    }

    /// The state on the device that took the last gradient.
    pub(super) fn device(&self) -> Option<&OnDevice> {
        self.device.as_ref()
    }

    /// Takes a step on the device that has the gradient.
    pub(super) fn step_on_device(
        &mut self,
        parameters: &Parameters,
        rate: f64,
        change: GradientChange,
    ) -> Result<()> {
        let PlacedOptimizer { own, device } = self;
        let Some(device) = device else {
            return Err(mobilenet::Error::NoGradient.into());
        };
        own.advance(rate)?;
        let values = Arc::clone(device.values());
        parameters.change_on_device(&values, || device.step(own, change))?
    }

    /// Freezes or unfreezes a group.
    pub(super) fn set_frozen(&mut self, group: &str, frozen: bool) -> Result<()> {
        Ok(self.own.set_frozen(group, frozen)?)
    }

    /// Goes on from a saved state.
    pub(super) fn load_state(&mut self, state: OptimizerState) -> Result<()> {
        self.own.load_state(state)?;
        if let Some(device) = &mut self.device {
            device.state.discard();
        }
        Ok(())
    }

    /// The newest buffers, with their names.
    pub(super) fn buffers(&self) -> Result<NamedBuffers<'_>> {
        let device = self.device.as_ref().map(|device| &device.state);
        let newest = (self.own.buffers().enumerate())
            .map(|(index, (name, own))| Ok((name, DeviceBuffers::newest(device, index, own)?)));
        newest.collect()
    }
}

/// The state of an optimizer on a device, while the last steps were taken there.
pub(super) struct OnDevice {
    /// The optimizer's buffers.
    state: DeviceBuffers,
    ranges: Ranges,
    /// The mean of several batches' gradients.
    mean: Option<Buffer>,
}

/// An optimizer's buffers with their names.
pub(super) type NamedBuffers<'a> = Vec<(&'static str, Cow<'a, [f32]>)>;

fn buffers(of: &Optimizer) -> impl Iterator<Item = &[f32]> {
    of.buffers().map(|(_, buffer)| buffer)
}

fn numbers(of: Coefficients) -> GroupStep {
    let mut numbers = GroupStep::default();
    numbers[0] = f32::from(of.rule as u8);
    numbers[1..].copy_from_slice(&of.numbers);
    numbers
}

impl OnDevice {
    fn new(values: Arc<dyn DeviceValues>, optimizer: &Optimizer) -> Result<Self> {
        let ranges = optimizer.stretches().map(|stretch| StepRange {
            range: stretch.range,
            group: stretch.group,
            row: stretch.row,
        });
        let failed = mobilenet::Error::from;
        let ranges = values.add_ranges(&ranges.collect::<Vec<_>>());
        Ok(OnDevice {
            ranges: ranges.map_err(failed)?,
            state: DeviceBuffers::new(values, buffers(optimizer))?,
            mean: None,
        })
    }

    pub(super) fn values(&self) -> &Arc<dyn DeviceValues> {
        self.state.values()
    }

    /// Adds the last gradient to the mean of `len` numbers, with its share in it.
    pub(super) fn add(&mut self, share: f32, len: usize) -> Result<()> {
        let failed = mobilenet::Error::from;
        let mean = match self.mean {
            Some(mean) => mean,
            None => self.values().add_buffer(len).map_err(failed)?,
        };
        self.mean = Some(mean);
        let added = self.values().average(Buffer::Gradient, mean, share);
        Ok(added.map_err(failed)?)
    }

    /// The gradient of a step: the mean of several batches, or that of the last batch.
    pub(super) fn gradient(&self) -> Buffer {
        self.mean.unwrap_or(Buffer::Gradient)
    }

    /// Takes the step that the optimizer counted last.
    fn step(&mut self, optimizer: &Optimizer, change: GradientChange) -> Result<()> {
        let failed = mobilenet::Error::from;
        self.state.send(buffers(optimizer))?;
        let groups: Vec<GroupStep> = optimizer.coefficients().map(numbers).collect();
        let (state, gradient) = (self.state.buffers(), self.gradient());
        let stepped = (self.values()).step(self.ranges, gradient, change, &groups, state);
        Ok(stepped.map_err(failed)?)
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        self.values().remove_ranges(self.ranges);
        if let Some(mean) = self.mean {
            self.values().remove_buffer(mean);
        }
    }
}

#[cfg(test)]
mod tests;
