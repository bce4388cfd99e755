//! Rules that a request keeps beyond the types of its fields.

pub(crate) use base::Fields;

/// A request body or query that knows its own rules.
pub(crate) trait Check {
    /// Is a body that isn't there refused although none of its fields is required? So it is where
    /// what is left out goes back to its default: a body that got lost must change nothing.
    const MUST_BE_SAID: bool = false;

    /// Adds what is wrong; nothing by default.
    fn check(&self, _: &mut Fields) {}
}
