//! Compares the speed of training steps with that of a matrix product on the same machine. The
//! ratio shows how much faster training could become.

use anyhow::Result;

use super::Options;
use super::case::{Amount, Case, Side, Task, Unit, Work};
use super::train::{TrainStep, WORK};
use crate::programs::{ours, rust_peer};

/// Number of rows and columns of the matrices.
const SIZE: usize = 2048;

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let train = TrainStep::build(options)?;
    let threads = options.threads;
    let mut cases = Vec::new();
    for (model, size, batch) in WORK {
        let train = train.clone();
        let sides = move |work: &Work| {
            // A multiply-add counts as two operations. The backward pass costs as much as two
            // forward passes: one for the gradient of the input, one for the gradient of the
            // weights.
            let operations = 3.0 * 2.0 * work.batch as f64 / 1e9;
            let training = Side {
                name: "training".to_owned(),
                task: Task::Steps {
                    command: train.command(work),
                    amount: Amount::Asked("multiply-adds", operations),
                    neighbour: false,
                },
                required: true,
            };
            let mut command = ours(&rust_peer("peer-gemm")?, threads);
            command.args(["--size", &SIZE.to_string()]);
            let product = 2.0 * (SIZE as f64).powi(3) / 1e9;
            Ok(vec![
                training,
                Side::steps("matrix_product", command, product).required(),
            ])
        };
        let work = Work::new(model, size, batch);
        let name = format!("{model}-{size}");
        cases.push(Case::new(name, Unit::GigaflopsPerSecond, work, sides));
    }
    Ok(cases)
}
