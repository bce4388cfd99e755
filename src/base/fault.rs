//! Failures that are nobody's wrong request: the database is away, or there is a bug.

/// What went wrong behind the answer. The text is for the log; outside only the kind is seen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// Something this node needs doesn't answer in time; the caller may try again.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The outcome of a commit is not known; it must be read back, never guessed.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// A bug or a broken assumption.
    #[error("internal: {0}")]
    Internal(String),
}

impl Fault {
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }

    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }
}
