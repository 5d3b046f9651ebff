//! Moving averages of the parameters and the running statistics, on the host or in the memory of a GPU.

use std::borrow::Cow;

use mobilenet::{Buffer, Parameters};
use optim::{Ema, EmaConfig, EmaState};

use super::device_buffers::DeviceBuffers;
use crate::Result;

/// Moving averages of the parameters and the running statistics.
pub(super) struct Average {
    own: [Ema; 2],
    /// The averages on the device that took the last steps.
    device: Option<DeviceBuffers>,
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
        let Average { own, device } = self;
        let values = parameters.device_values();
        let stays = |of: &DeviceBuffers| values.as_ref().is_some_and(|values| of.is_on(values));
        if !device.as_ref().is_some_and(stays) {
            if let Some(device) = device {
                device.fetch(own.iter_mut().map(Ema::average_mut))?;
            }
            *device = None;
        }
        let Some(values) = values else {
            let updated = parameters.read(|values, statistics| {
                let [parameters, running] = own;
                parameters.update(values)?;
                running.update(statistics)
            })?;
            return Ok(updated?);
        };
        let averages = || own.iter().map(Ema::average);
        let kept = match device.take() {
            Some(device) => device,
            None => DeviceBuffers::new(values, averages())?,
        };
        let device = device.insert(kept);
        device.send(averages())?;
        let pairs = [Buffer::Parameters, Buffer::Statistics].into_iter();
        for ((own, values), &average) in own.iter_mut().zip(pairs).zip(device.buffers()) {
            let moved = device.values().average(values, average, own.advance());
            moved.map_err(mobilenet::Error::from)?;
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
        let device = self.device.as_ref();
        Ok([
            DeviceBuffers::newest(device, 0, parameters)?,
            DeviceBuffers::newest(device, 1, statistics)?,
        ])
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
