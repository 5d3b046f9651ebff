//! The interface for progress reports of long operations.

/// The unit of a progress count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things that are counted, such as images or files.
    Items,
    /// Bytes of a download.
    Bytes,
}

/// Receives the progress of long operations, for example to show it on a terminal. Operations follow one another; each
/// calls `start`, any number of times `advance`, then `finish`. Calls may come from several threads.
pub trait Progress: Sync {
    /// The operation named `what` begins. `total` is the number of `unit`s, if known.
    fn start(&self, what: &str, total: Option<u64>, unit: Unit);
    /// `by` more units are done.
    fn advance(&self, by: u64);
    /// A noteworthy event, such as a mirror that does not answer.
    fn note(&self, message: &str);
    /// The last started operation has ended, successfully or not.
    fn finish(&self);
}

/// Ignores all reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>, _unit: Unit) {}
    fn advance(&self, _by: u64) {}
    fn note(&self, _message: &str) {}
    fn finish(&self) {}
}
