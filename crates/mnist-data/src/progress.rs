//! How long work tells whoever watches how far it is.

/// What a progress count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Images, files: things with a number.
    Items,
    /// Bytes of a transfer.
    Bytes,
}

/// The seam between long work and a terminal. Calls come from several threads,
/// one piece of work at a time: `start`, any number of `advance`, `finish`.
pub trait Progress: Sync {
    /// A piece of work named `what` begins; `total` in `unit`s where it is known.
    fn start(&self, what: &str, total: Option<u64>, unit: Unit);
    /// `by` more units are done.
    fn advance(&self, by: u64);
    /// Something worth a line happened, such as a mirror that does not answer.
    fn note(&self, message: &str);
    /// The piece of work that began last has ended, well or badly.
    fn finish(&self);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>, _unit: Unit) {}
    fn advance(&self, _by: u64) {}
    fn note(&self, _message: &str) {}
    fn finish(&self) {}
}
