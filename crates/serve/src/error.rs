/// Errors of starting a server and of exchanging its models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no model.
    #[error("no model is given; a server needs at least one")]
    NoModel,
    /// Two models have the same name.
    #[error("two models are called {0:?}; give each a name of its own")]
    SameName(String),
    /// The system started no thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

impl Error {
    /// Whether the caller's models are at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoModel | Self::SameName(_))
    }
}
