//! What looks found, as it is kept: a row per look, a row per fault.

pub(crate) mod store;
