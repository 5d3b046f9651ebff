//! An optimizer's saved state, from which a resumed run continues identically.

use serde::{Deserialize, Serialize};

/// The complete state of an optimizer between two steps.
///
/// The counters are small and are serialized with serde. The buffers are flat arrays with one value
/// per parameter, ready to be stored as tensors with their names.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    /// Step counts, and which groups are frozen.
    pub counters: OptimizerCounters,
    /// Each state buffer, with its name (as in torch's `state_dict`) and values.
    pub buffers: Vec<(String, Vec<f32>)>,
}

/// The part of an optimizer's state that is not a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerCounters {
    /// Name of the update rule, for example `adamw`.
    pub optimizer: String,
    /// One entry per parameter group, in the optimizer's order.
    pub groups: Vec<GroupCounters>,
}

/// Step count of one parameter group, and whether it is frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCounters {
    /// Name of the group.
    pub name: String,
    /// Number of steps that the group has taken. A frozen group takes none.
    pub steps: u64,
    /// Whether the group is frozen.
    pub frozen: bool,
}
