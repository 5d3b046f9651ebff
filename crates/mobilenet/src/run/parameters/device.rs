//! Values that are newer in the memory of a device than in a model's buffers.
//!
//! An engine that keeps its values changes them without a copy to the host. Everything that reads a buffer copies it first,
//! if the device has newer values. What changes a buffer makes the device copy it before its next step.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::Var;
use engine::{Buffer, DeviceValues, GradientChange};

use super::{Gradient, Parameters};
use crate::run::slices::{read_slice, write_slice};
use crate::{Error, Result};

/// The copy of a model's values on a device.
#[derive(Debug)]
pub(crate) struct DeviceCopy {
    values: Arc<dyn DeviceValues>,
    /// The versions of arena and statistics that the device has.
    versions: [Option<u64>; 2],
    /// Whether the device's arena and statistics are newer than the buffers.
    newer: [bool; 2],
}

/// The index of the parameters in all pairs.
pub(super) const ARENA: usize = 0;
/// The index of the running statistics in all pairs.
pub(super) const STATISTICS: usize = 1;
const BUFFERS: [Buffer; 2] = [Buffer::Parameters, Buffer::Statistics];

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fetch(values: &dyn DeviceValues, from: Buffer, to: &Var) -> Result<()> {
    Ok(write_slice(to, |slice| values.read(from, slice))??)
}

impl Parameters {
    fn buffer(&self, index: usize) -> &Var {
        [&self.arena, &self.statistics][index]
    }

    /// Makes [`ARENA`] or [`STATISTICS`] the newest ones.
    pub(super) fn settle(&self, index: usize) -> Result<&Var> {
        let mut device = locked(&self.device);
        if let Some(copy) = device.as_mut().filter(|copy| copy.newer[index]) {
            fetch(copy.values.as_ref(), BUFFERS[index], self.buffer(index))?;
            copy.newer[index] = false;
        }
        Ok(self.buffer(index))
    }

    /// Says that [`ARENA`] or [`STATISTICS`] were overwritten, or changed after [`Parameters::settle`].
    pub(super) fn overwritten(&self, index: usize) {
        self.changed(index);
        if let Some(copy) = locked(&self.device).as_mut() {
            copy.newer[index] = false;
            copy.versions[index] = None;
        }
    }

    /// Copies to the device what it lacks, before a step there.
    pub(crate) fn lend(&self, values: &Arc<dyn DeviceValues>) -> Result<()> {
        let is_other = |copy: &DeviceCopy| !Arc::ptr_eq(&copy.values, values);
        let leaves = locked(&self.device).as_ref().is_some_and(is_other);
        if leaves {
            self.leave_device()?;
        }
        let current = self.versions();
        let mut device = locked(&self.device);
        let copy = device.get_or_insert_with(|| DeviceCopy {
            values: Arc::clone(values),
            versions: [None; 2],
            newer: [false; 2],
        });
        for index in [ARENA, STATISTICS] {
            if !copy.newer[index] && copy.versions[index] != Some(current[index]) {
                read_slice(self.buffer(index), |slice| {
                    values.write(BUFFERS[index], slice)
                })??;
                copy.versions[index] = Some(current[index]);
            }
        }
        Ok(())
    }

    /// Copies everything from the device and lets it go.
    pub(crate) fn leave_device(&self) -> Result<()> {
        self.settle(ARENA)?;
        self.settle(STATISTICS)?;
        self.gradient.settle()?;
        *locked(&self.device) = None;
        Ok(())
    }

    /// Says that the device has changed [`ARENA`] or [`STATISTICS`].
    fn changed_on_device(&self, index: usize) {
        self.changed(index);
        let version = self.versions()[index];
        if let Some(copy) = locked(&self.device).as_mut() {
            copy.newer[index] = true;
            copy.versions[index] = Some(version);
        }
    }

    /// Says that a forward pass on the device has updated the running statistics.
    pub(crate) fn statistics_moved_on_device(&self) {
        self.changed_on_device(STATISTICS);
    }

    /// The device whose memory has the newest parameters and statistics, if there is one.
    pub fn device_values(&self) -> Option<Arc<dyn DeviceValues>> {
        let current = self.versions().map(Some);
        let device = locked(&self.device);
        let copy = device.as_ref()?;
        (copy.versions == current).then(|| Arc::clone(&copy.values))
    }

    /// Takes the gradient of the last backward pass, if it is in the memory of a device. Each gradient can be taken only
    /// once. `None` if the gradient is on the host.
    ///
    /// # Errors
    /// If no backward pass ran since the gradient was last taken.
    pub fn take_gradient_on_device(&self) -> Result<Option<Arc<dyn DeviceValues>>> {
        let Some(values) = self.gradient.device() else {
            return Ok(None);
        };
        match self.gradient.take() {
            true => Ok(Some(values)),
            false => Err(Error::NoGradient),
        }
    }

    /// Runs `f`, which changes the parameters in the memory of a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn change_on_device<R>(
        &self,
        values: &Arc<dyn DeviceValues>,
        f: impl FnOnce() -> R,
    ) -> Result<R> {
        self.lend(values)?;
        let result = f();
        self.changed_on_device(ARENA);
        Ok(result)
    }

    /// Whether every number of the last gradient is finite.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_is_finite(&self) -> Result<bool> {
        if let Some(values) = self.gradient.device() {
            let size = values.measure(Buffer::Gradient, GradientChange::default())?;
            return Ok(size.finite);
        }
        self.read_gradient(|gradient| gradient.iter().all(|value| value.is_finite()))
    }
}

impl Gradient {
    /// The device that has the newest gradient.
    pub(super) fn device(&self) -> Option<Arc<dyn DeviceValues>> {
        locked(&self.on_device).clone()
    }

    /// The gradient in host memory.
    pub(super) fn settle(&self) -> Result<&Var> {
        let mut on_device = locked(&self.on_device);
        if let Some(values) = on_device.as_deref() {
            fetch(values, Buffer::Gradient, &self.values)?;
            *on_device = None;
        }
        Ok(&self.values)
    }
}
