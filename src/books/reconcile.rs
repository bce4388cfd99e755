//! A business day is compared with itself and with the gateway; what does not fit is a finding.

mod found;
mod model;
mod rules;
mod run;
pub(crate) mod store;
mod wire;

pub use model::{
    AskedBy, Captured, Compared, Discrepancy, FindingFilter, FindingKind, FindingStatus,
    GatewaySide, PaidDeposit, PaidKind, Resolution,
};
pub use wire::{FindingView, FindingsPage, OpenFindings, RunView, RunsPage};
