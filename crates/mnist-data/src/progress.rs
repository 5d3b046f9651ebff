//! Progress reports of long operations.

/// The unit of a progress count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Countable things: images, files.
    Items,
    /// Bytes of a transfer.
    Bytes,
}

/// The interface between long operations and a terminal. Calls come from several threads, one
/// operation at a time: `start`, any number of `advance`, `finish`.
pub trait Progress: Sync {
    /// The operation named `what` begins; `total` in `unit`s if known.
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
