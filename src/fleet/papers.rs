//! A driver's papers: handed in, decided on.

mod onboarding;
pub(crate) mod store;

pub use onboarding::{Onboarding, OnboardingError, REQUIRED_DOCUMENTS};
pub use store::{Barred, Expiring, bar_in_tx};
