//! Variants of this project's programs that are compared with its default: f32, on the best
//! instruction set of the processor.

use super::case::{Side, Task, Work};

/// bf16 on the best instruction set, and on each that has it. A processor that lacks one does not
/// run its side.
pub(super) const BF16: [&str; 3] = ["bf16", "bf16_amx", "bf16_avx512"];

/// The environment variable that selects an instruction set.
const ISA: &str = "ENGINE_ISA";

/// Compares the precision of a work with f32. `ours` makes a side.
pub(super) fn over_f32(work: &Work, ours: impl Fn(&str, &Work) -> Side) -> Vec<Side> {
    let precision = work.precision.as_deref().unwrap_or("f32");
    let f32 = work.clone().with_precision("f32");
    vec![
        ours(&format!("ours_{precision}"), work),
        ours("ours", &f32).required(),
    ]
}

/// Compares a selected instruction set with the best one. `ours` makes a side.
pub(super) fn forced(isa: &str, work: &Work, ours: impl Fn(&str, &Work) -> Side) -> Vec<Side> {
    let mut first = ours(&format!("ours_{isa}"), work);
    if let Task::Steps { command, .. } = &mut first.task {
        command.env(ISA, isa);
    }
    vec![first, ours("ours", work).required()]
}
