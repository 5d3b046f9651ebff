//! Checks that the parts of a network fit together.

use super::layer::{Conv, Op};
use super::plan::Plan;
use super::spec::{SpecError, value};

/// The largest number of parameters: as many as any memory can hold.
const MOST_PARAMETERS: usize = isize::MAX as usize / size_of::<f32>();

/// Refuses too many parameters, and the first layer that cannot be computed.
pub(super) fn check(plan: &Plan) -> Result<(), SpecError> {
    let count = plan.parameters.len();
    value(
        count <= MOST_PARAMETERS,
        "number of parameters",
        count as f64,
        "at most as many as memory can hold: use fewer classes or channels",
    )?;
    let constants = plan.batch_norm;
    value(
        constants.epsilon > 0.0 && constants.epsilon < 1.0,
        "batch-norm epsilon",
        constants.epsilon,
        "between 0 and 1",
    )?;
    value(
        constants.momentum > 0.0 && constants.momentum <= 1.0,
        "batch_norm_momentum",
        constants.momentum,
        "above 0, and at most 1",
    )?;
    for (index, layer) in plan.layers.iter().enumerate() {
        let of = |what: &str| format!("{}: {what}", layer.name);
        let channels = plan.channels[index];
        value(channels > 0, &of("channels"), channels as f64, "at least 1")?;
        let inputs = || layer.inputs.iter().map(|&input| plan.channels[input]);
        match &layer.op {
            Op::Conv(Conv {
                in_channels,
                out_channels,
                window,
                groups,
                ..
            }) => {
                let divides =
                    *groups > 0 && in_channels % groups == 0 && out_channels % groups == 0;
                let expected = "a divisor of the channels before and after";
                value(divides, &of("groups"), *groups as f64, expected)?;
                let expected = "at least 1";
                value(
                    window.kernel > 0,
                    &of("kernel"),
                    window.kernel as f64,
                    expected,
                )?;
                value(
                    window.stride > 0,
                    &of("stride"),
                    window.stride as f64,
                    expected,
                )?;
            }
            Op::Add | Op::Gate if inputs().any(|input| input != channels) => {
                return Err(SpecError::Channels {
                    layer: layer.name.clone(),
                    found: inputs().collect(),
                });
            }
            Op::Slice { start, length } => {
                let all = inputs().next().unwrap_or(0);
                value(
                    start + length <= all,
                    &of("slice"),
                    (start + length) as f64,
                    "at most the number of channels",
                )?;
            }
            Op::Shuffle { groups } => {
                let divides = *groups > 0 && channels.is_multiple_of(*groups);
                let expected = "a divisor of the channels";
                value(divides, &of("groups"), *groups as f64, expected)?;
            }
            Op::Attention(attention) => {
                let divides = attention.heads > 0 && channels.is_multiple_of(attention.heads);
                let expected = "a divisor of the channels";
                value(divides, &of("heads"), attention.heads as f64, expected)?;
            }
            Op::Dropout { rate } => fraction(&of("dropout"), *rate)?,
            Op::DropPath { rate } => fraction(&of("drop path"), *rate)?,
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a value that is not a fraction below 1.
fn fraction(what: &str, found: f64) -> Result<(), SpecError> {
    let expected = "0 or more, and below 1";
    value((0.0..1.0).contains(&found), what, found, expected)
}
