//! Measures training steps while this process keeps a core busy.

use anyhow::Result;

use super::Options;
use super::case::{Case, Side, Task, Unit, Work};
use super::train::{TrainStep, torch};

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let ours = TrainStep::build(options)?;
    let mut cases = Vec::new();
    for (model, size, batch) in [("small", 32, 128), ("large", 224, 16)] {
        let name = format!("{model}-{size}");
        let work = Work::new(model, size, batch);
        let runner = ours.clone();
        let sides = move |work: &Work| {
            let idle = runner.side("ours_idle", work).required();
            Ok(vec![busy(runner.side("ours_busy", work).required()), idle])
        };
        cases.push(Case::new(&name, Unit::ImagesPerSecond, work.clone(), sides));
        // The same two sides for PyTorch.
        if let Some(python) = options.python.as_deref() {
            let sides = move |work: &Work| {
                let side = |name: &str| -> Result<Side> {
                    let mut side = torch(python, work, options.threads, false)?;
                    side.name = name.to_owned();
                    Ok(side)
                };
                Ok(vec![busy(side("torch_busy")?), side("torch_idle")?])
            };
            let name = format!("{name}-torch");
            cases.push(Case::new(name, Unit::ImagesPerSecond, work, sides));
        }
    }
    Ok(cases)
}

/// The same side, but with a core kept busy.
fn busy(mut side: Side) -> Side {
    if let Task::Steps { neighbour, .. } = &mut side.task {
        *neighbour = true;
    }
    side
}
