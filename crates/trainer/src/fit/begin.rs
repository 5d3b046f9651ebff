//! What is fixed before a run's first step: the network, what it runs on, and the precision.

use candle_core::Device;

use super::resume;
use crate::Result;
use crate::config::{PrecisionChoice, RunConfig};
use crate::device::open_device;
use crate::events::{Event, EventSink};
use crate::model::{Start, start};
use crate::precision::{ChosenPrecision, kept, settle_precision, slower};
use crate::state::RunState;

/// The network of a run, which runs on the configured device in the run's precision.
pub(super) struct Begun {
    pub(super) start: Start,
    /// The device of tensors.
    pub(super) tensors: Device,
    /// The choice, if the configured precision was `"auto"`.
    pub(super) chosen: Option<ChosenPrecision>,
    /// The event that warns of a slow precision.
    slow: Option<Event>,
}

impl Begun {
    /// Checks a configuration and replaces every `"auto"` that later code must not interpret again. A run that goes on
    /// has the precision of its state, or on a processor without these instructions the nearest one.
    ///
    /// # Errors
    ///
    /// If the configuration is invalid, the device is missing, or the network does not run on it in the precision.
    pub(super) fn new(
        config: &RunConfig,
        classes: &[String],
        state: Option<&RunState>,
    ) -> Result<(RunConfig, Self)> {
        config.validate()?;
        let mut config = config.settled()?;
        let processor = open_device(config.train.device)?;
        let mut start = match state {
            Some(state) => resume::network(&config, state, classes, processor.tensors())?,
            None => start(&config, classes, processor.tensors())?,
        };
        let choice = match (config.train.precision, state) {
            (PrecisionChoice::Auto, Some(state)) => state.precision(),
            (choice, _) => choice,
        };
        let (mut precision, chosen) = settle_precision(choice, start.network.as_ref(), &processor)?;
        if state.is_some() {
            precision = kept(precision, &processor);
        }
        config.train.precision = precision.into();
        start.network.run_on(&processor, precision)?;
        // A run that goes on keeps its precision anyway.
        let slower = match (&chosen, state) {
            (None, None) => slower(precision, start.network.executor(), &processor)?,
            _ => None,
        };
        let begun = Self {
            start,
            tensors: processor.tensors().clone(),
            chosen,
            slow: slower.map(|slower| Event::PrecisionSlow {
                precision,
                images_per_second: slower.images_per_second,
                f32_images_per_second: slower.in_f32,
            }),
        };
        Ok((config, begun))
    }

    /// Tells of the choice, or of a slow precision.
    pub(super) fn tell(&self, sink: &mut dyn EventSink) -> Result<()> {
        if let Some(chosen) = &self.chosen {
            sink.handle(&Event::PrecisionChosen(chosen.clone()))?;
        }
        self.slow.iter().try_for_each(|slow| sink.handle(slow))
    }
}

/// The configuration with the precision that a run with it would have, for several runs that share one. If the precision
/// was `"auto"`, the sink is told of the choice.
pub(crate) fn with_precision(
    config: &RunConfig,
    classes: &[String],
    sink: &mut dyn EventSink,
) -> Result<RunConfig> {
    let mut fixed = config.clone();
    if fixed.train.precision == PrecisionChoice::Auto {
        let (settled, begun) = Begun::new(config, classes, None)?;
        begun.tell(sink)?;
        fixed.train.precision = settled.train.precision;
    }
    Ok(fixed)
}
