//! An optimizer's saved state, from which a resumed run continues identically.

use serde::{Deserialize, Serialize};

/// The complete state of an optimizer between two steps.
///
/// The counters are small and go through serde. The buffers are flat arrays with one value for each
/// parameter, ready to be stored as tensors under their names.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    /// Step counts and flags.
    pub counters: OptimizerCounters,
    /// Name (as in torch's `state_dict`) and values of each buffer.
    pub buffers: Vec<(String, Vec<f32>)>,
}

/// The part of an optimizer's state that is not a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerCounters {
    /// Name of the update rule, for example `adamw`.
    pub optimizer: String,
    /// One entry for each parameter group, in the optimizer's order.
    pub groups: Vec<GroupCounters>,
}

/// Step count and flag of one parameter group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCounters {
    /// Name of the group.
    pub name: String,
    /// Steps of the group; a frozen group takes none.
    pub steps: u64,
    /// Whether the group is frozen.
    pub frozen: bool,
}
