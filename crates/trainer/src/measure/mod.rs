//! Measures of a network: scores of its answers, and the files of a run that hold them.

mod answers;
mod calibration;
mod confusion;
mod evaluation;
mod intervals;
mod mcnemar;
mod places;
mod ranking;
mod record;
mod scores;
mod temperature;
#[cfg(test)]
mod tests;

pub use answers::{Answer, AnswersFile};
pub(crate) use confusion::Counts;
pub use confusion::{ClassScores, ConfusionMatrix};
pub use evaluation::{
    Bin, Calibration, ClassCurves, ClassReport, Evaluation, Interval, Measured, TopK,
};
pub use mcnemar::McNemar;
pub use record::{RunRecord, SplitRecord, read_metrics};
pub(crate) use scores::Scores;
pub(crate) use temperature::Logits;
pub use temperature::TEMPERATURES;
