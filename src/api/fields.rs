//! Rules that a request keeps beyond the types of its fields.

pub(crate) use base::Fields;

/// A request body or query that knows its own rules.
pub(crate) trait Check {
    /// Adds what is wrong; nothing by default.
    fn check(&self, _: &mut Fields) {}
}
