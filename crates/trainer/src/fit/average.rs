//! Moving averages of the parameters and the running statistics, on the host or in the memory of a GPU.

use std::borrow::Cow;
use std::sync::Arc;

use mobilenet::{Buffer, DeviceValues, Parameters};
use optim::{Ema, EmaConfig, EmaState};

use crate::Result;

/// Moving averages of the parameters and the running statistics.
pub(super) struct Average {
    own: [Ema; 2],
    device: Option<OnDevice>,
}

/// The averages on the device that took the last steps.
struct OnDevice {
    values: Arc<dyn DeviceValues>,
    buffers: [Buffer; 2],
    /// Whether the averages here are newer than the host's.
    newer: bool,
}

impl OnDevice {
    fn new(values: Arc<dyn DeviceValues>, own: &[Ema; 2]) -> Result<Self> {
        let add = |of: &Ema| values.add_buffer(of.average().len());
        let failed = mobilenet::Error::from;
        Ok(OnDevice {
            buffers: [add(&own[0]).map_err(failed)?, add(&own[1]).map_err(failed)?],
            newer: false,
            values,
        })
    }

    fn update(&mut self, own: &mut [Ema; 2]) -> Result<()> {
        let failed = mobilenet::Error::from;
        let values = [Buffer::Parameters, Buffer::Statistics];
        for ((own, average), values) in own.iter_mut().zip(self.buffers).zip(values) {
            if !self.newer {
                let written = self.values.write(average, own.average());
                written.map_err(failed)?;
            }
            let moved = self.values.average(values, average, own.advance());
            moved.map_err(failed)?;
        }
        self.newer = true;
        Ok(())
    }

    fn read(&self, index: usize, to: &mut [f32]) -> Result<()> {
        let read = self.values.read(self.buffers[index], to);
        Ok(read.map_err(mobilenet::Error::from)?)
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        for buffer in self.buffers {
            self.values.remove_buffer(buffer);
        }
    }
}

impl Average {
    pub(super) fn new(config: &EmaConfig, parameters: &Parameters) -> Result<Self> {
        let (parameters, statistics) = parameters
            .read(|values, statistics| (Ema::new(config, values), Ema::new(config, statistics)))?;
        Ok(Self {
            own: [parameters?, statistics?],
            device: None,
        })
    }

    /// Adds the values after a step, where they are.
    pub(super) fn update(&mut self, parameters: &Parameters) -> Result<()> {
        let values = parameters.device_values();
        let is_on = |device: &OnDevice| {
            let same = |values| Arc::ptr_eq(values, &device.values);
            values.as_ref().is_some_and(same)
        };
        if !self.device.as_ref().is_some_and(is_on) {
            self.fetch()?;
            self.device = None;
        }
        if let Some(values) = values {
            let device = match self.device.take() {
                Some(device) => device,
                None => OnDevice::new(values, &self.own)?,
            };
            return self.device.insert(device).update(&mut self.own);
        }
        let updated = parameters.read(|values, statistics| {
            let [parameters, running] = &mut self.own;
            parameters.update(values)?;
            running.update(statistics)
        })?;
        Ok(updated?)
    }

    /// Makes the host's averages the newest ones.
    fn fetch(&mut self) -> Result<()> {
        if let Some(device) = self.device.as_mut().filter(|device| device.newer) {
            for (index, own) in self.own.iter_mut().enumerate() {
                device.read(index, own.average_mut())?;
            }
            device.newer = false;
        }
        Ok(())
    }

    /// Number of updates of each.
    pub(super) fn updates(&self) -> [u64; 2] {
        self.own.each_ref().map(Ema::updates)
    }

    /// The averages of the parameters and of the running statistics.
    pub(super) fn values(&self) -> Result<[Cow<'_, [f32]>; 2]> {
        let [parameters, statistics] = self.own.each_ref().map(Ema::average);
        let Some(device) = self.device.as_ref().filter(|device| device.newer) else {
            return Ok([Cow::Borrowed(parameters), Cow::Borrowed(statistics)]);
        };
        let mut values = [vec![0.0; parameters.len()], vec![0.0; statistics.len()]];
        for (index, values) in values.iter_mut().enumerate() {
            device.read(index, values)?;
        }
        Ok(values.map(Cow::Owned))
    }

    /// Goes on from saved averages.
    pub(super) fn restore(&mut self, states: [EmaState; 2]) -> Result<()> {
        self.device = None;
        for (own, state) in self.own.iter_mut().zip(states) {
            own.load_state(state)?;
        }
        Ok(())
    }
}
