//! An optimizer's state and steps in the memory of a GPU.

use std::borrow::Cow;
use std::sync::Arc;

use mobilenet::{Buffer, DeviceValues, GradientChange, GroupStep, StepRange};
use optim::{Coefficients, Optimizer};

use crate::Result;

/// The state of an optimizer on a device, while the last steps were taken there.
pub(super) struct OnDevice {
    values: Arc<dyn DeviceValues>,
    /// The optimizer's buffers.
    state: Vec<Buffer>,
    /// The mean of several batches' gradients.
    mean: Option<Buffer>,
    /// Whether the state here is newer than the optimizer's own.
    newer: bool,
}

/// An optimizer's buffers with their names.
pub(super) type NamedBuffers<'a> = Vec<(&'static str, Cow<'a, [f32]>)>;

fn numbers(of: Coefficients) -> GroupStep {
    let mut numbers = GroupStep::default();
    numbers[0] = f32::from(of.rule as u8);
    numbers[1..].copy_from_slice(&of.numbers);
    numbers
}

impl OnDevice {
    pub(super) fn new(values: Arc<dyn DeviceValues>, optimizer: &Optimizer) -> Result<Self> {
        let ranges = optimizer.stretches().map(|stretch| StepRange {
            range: stretch.range,
            group: stretch.group,
            row: stretch.row,
        });
        let failed = mobilenet::Error::from;
        values
            .set_ranges(&ranges.collect::<Vec<_>>())
            .map_err(failed)?;
        let state = optimizer
            .buffers()
            .map(|(_, own)| values.add_buffer(own.len()).map_err(failed));
        Ok(OnDevice {
            state: state.collect::<std::result::Result<_, _>>()?,
            mean: None,
            newer: false,
            values,
        })
    }

    /// Whether this is the state on a device.
    pub(super) fn is_on(&self, values: &Arc<dyn DeviceValues>) -> bool {
        Arc::ptr_eq(&self.values, values)
    }

    pub(super) fn values(&self) -> Arc<dyn DeviceValues> {
        Arc::clone(&self.values)
    }

    /// Adds the last gradient to the mean of `len` numbers, with its share in it.
    pub(super) fn add(&mut self, share: f32, len: usize) -> Result<()> {
        let failed = mobilenet::Error::from;
        let mean = match self.mean {
            Some(mean) => mean,
            None => self.values.add_buffer(len).map_err(failed)?,
        };
        self.mean = Some(mean);
        let added = self.values.average(Buffer::Gradient, mean, share);
        Ok(added.map_err(failed)?)
    }

    /// The gradient of a step: the mean of several batches, or that of the last batch.
    pub(super) fn gradient(&self) -> Buffer {
        self.mean.unwrap_or(Buffer::Gradient)
    }

    /// Takes the step that the optimizer counted last.
    pub(super) fn step(&mut self, optimizer: &Optimizer, change: GradientChange) -> Result<()> {
        let failed = mobilenet::Error::from;
        if !self.newer {
            for (&to, (_, own)) in self.state.iter().zip(optimizer.buffers()) {
                self.values.write(to, own).map_err(failed)?;
            }
            self.newer = true;
        }
        let groups: Vec<GroupStep> = optimizer.coefficients().map(numbers).collect();
        let (values, gradient) = (&self.values, self.gradient());
        let stepped = values.step(gradient, change, &groups, &self.state);
        Ok(stepped.map_err(failed)?)
    }

    /// Makes the optimizer's own state the newest one.
    pub(super) fn fetch(&mut self, optimizer: &mut Optimizer) -> Result<()> {
        if self.newer {
            for (&from, own) in self.state.iter().zip(optimizer.buffers_mut()) {
                let read = self.values.read(from, own);
                read.map_err(mobilenet::Error::from)?;
            }
            self.newer = false;
        }
        Ok(())
    }

    /// Forgets the state here, because the optimizer's own was overwritten.
    pub(super) fn discard(&mut self) {
        self.newer = false;
    }

    /// The optimizer's newest buffers, with their names.
    pub(super) fn buffers<'a>(
        of: Option<&Self>,
        optimizer: &'a Optimizer,
    ) -> Result<NamedBuffers<'a>> {
        let Some(device) = of.filter(|device| device.newer) else {
            let own = optimizer.buffers();
            return Ok(own.map(|(name, own)| (name, Cow::Borrowed(own))).collect());
        };
        let buffers = optimizer.buffers().zip(&device.state);
        let read = buffers.map(|((name, own), &from)| {
            let mut values = vec![0.0; own.len()];
            let read = device.values.read(from, &mut values);
            read.map_err(mobilenet::Error::from)?;
            Ok((name, Cow::Owned(values)))
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests;
