//! Measures of a network: scores of its answers, and the files of a run that hold them.

mod answers;
mod confusion;
mod evaluation;
mod mcnemar;
mod record;

pub use answers::{Answer, AnswersFile};
pub(crate) use confusion::Counts;
pub use confusion::{ClassScores, ConfusionMatrix};
pub use evaluation::{
    Bin, Calibration, ClassCurves, ClassReport, Evaluation, Interval, Measured, TopK,
};
pub use mcnemar::McNemar;
pub use record::{RunRecord, SplitRecord, read_metrics};
