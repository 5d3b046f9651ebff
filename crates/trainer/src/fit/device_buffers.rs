//! Buffers in the memory of a GPU that take the place of the host's while steps are taken there.

use std::borrow::Cow;
use std::sync::Arc;

use mobilenet::{Buffer, DeviceValues, Error};

use crate::Result;

/// A device's copies of some buffers of the host. They are freed when this is dropped.
pub(super) struct DeviceBuffers {
    values: Arc<dyn DeviceValues>,
    buffers: Vec<Buffer>,
    /// Whether the copies are newer than the host's buffers.
    newer: bool,
}

impl DeviceBuffers {
    /// Space for copies of `host`.
    pub(super) fn new<'a>(
        values: Arc<dyn DeviceValues>,
        host: impl Iterator<Item = &'a [f32]>,
    ) -> Result<Self> {
        let mut device = DeviceBuffers {
            values,
            buffers: Vec::new(),
            newer: false,
        };
        for own in host {
            let buffer = device.values.add_buffer(own.len());
            device.buffers.push(buffer.map_err(Error::from)?);
        }
        Ok(device)
    }

    pub(super) fn is_on(&self, values: &Arc<dyn DeviceValues>) -> bool {
        Arc::ptr_eq(&self.values, values)
    }

    pub(super) fn values(&self) -> &Arc<dyn DeviceValues> {
        &self.values
    }

    pub(super) fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Makes the copies the newest ones, before they change.
    pub(super) fn send<'a>(&mut self, host: impl Iterator<Item = &'a [f32]>) -> Result<()> {
        if !self.newer {
            for (&to, own) in self.buffers.iter().zip(host) {
                self.values.write(to, own).map_err(Error::from)?;
            }
            self.newer = true;
        }
        Ok(())
    }

    /// Makes the host's buffers the newest ones.
    pub(super) fn fetch<'a>(&mut self, host: impl Iterator<Item = &'a mut [f32]>) -> Result<()> {
        if self.newer {
            for (&from, own) in self.buffers.iter().zip(host) {
                self.values.read(from, own).map_err(Error::from)?;
            }
            self.newer = false;
        }
        Ok(())
    }

    /// Forgets the copies, because the host's buffers were overwritten.
    pub(super) fn discard(&mut self) {
        self.newer = false;
    }

    /// The newest of the host's buffer `index` and its copy.
    pub(super) fn newest<'a>(
        of: Option<&Self>,
        index: usize,
        host: &'a [f32],
    ) -> Result<Cow<'a, [f32]>> {
        let Some(device) = of.filter(|device| device.newer) else {
            return Ok(Cow::Borrowed(host));
        };
        let mut values = vec![0.0; host.len()];
        let read = device.values.read(device.buffers[index], &mut values);
        read.map_err(Error::from)?;
        Ok(Cow::Owned(values))
    }
}

impl Drop for DeviceBuffers {
    fn drop(&mut self) {
        for &buffer in &self.buffers {
            self.values.remove_buffer(buffer);
        }
    }
}
