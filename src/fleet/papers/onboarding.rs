//! Onboarding: a driver hands in his papers, an admin decides.
//!
//! A profile that is saved again waits for a decision again. The fleet hears of every change at
//! once: who may not drive any more goes offline, or finishes the trip he is on first.

use base::{Caller, Code, Cursor, DriverId, Fault, FieldProblem, Millis, Problem, Role, limits};

use crate::fleet::Fleet;
use crate::model::DriverStatus;
use crate::papers::store::{self, Expiring, Saved};
use crate::wire::{Decision, DecisionKind, DriverView, DriversPage, Profile, check_profile};

/// Without these three, unexpired, nobody drives.
pub const REQUIRED_DOCUMENTS: [&str; 3] = ["driving_licence", "vehicle_licence", "insurance"];

const REASON_MAX: usize = 500;

/// Why onboarding says no.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OnboardingError {
    #[error("only drivers have a profile, and only admins decide")]
    Forbidden,
    #[error("the request has invalid fields")]
    Invalid(Vec<FieldProblem>),
    #[error("a suspended driver can't change his papers")]
    Suspended,
    #[error("there is no such driver")]
    NotFound,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<OnboardingError> for Problem {
    fn from(error: OnboardingError) -> Self {
        let text = error.to_string();
        match error {
            OnboardingError::Forbidden => Self::new(Code::Forbidden, text),
            OnboardingError::Invalid(fields) => Self::fields(fields),
            OnboardingError::Suspended => {
                Self::new(Code::DriverNotApproved, text).with("current", DriverStatus::Suspended)
            }
            OnboardingError::NotFound => Self::not_found(),
            OnboardingError::Fault(fault) => fault.into(),
        }
    }
}

/// The desk where papers are handed in and decided on.
#[derive(Clone)]
pub struct Onboarding {
    fleet: Fleet,
}

impl Onboarding {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    /// Saves the caller's vehicle and documents, all of them or none; he is pending from then on.
    pub async fn save_profile(
        &self,
        caller: &Caller,
        mut profile: Profile,
    ) -> Result<DriverView, OnboardingError> {
        if caller.role != Role::Driver {
            return Err(OnboardingError::Forbidden);
        }
        let inner = self.fleet.inner();
        let wrong = check_profile(&mut profile, inner.clock.now());
        if !wrong.is_empty() {
            return Err(OnboardingError::Invalid(wrong));
        }
        match store::save(&inner.db, caller, &profile, inner.clock.now()).await? {
            Saved::Done => {}
            Saved::Suspended => return Err(OnboardingError::Suspended),
            Saved::PlateTaken => {
                return Err(OnboardingError::Invalid(vec![FieldProblem {
                    field: "vehicle.plate".to_owned(),
                    code: "taken".to_owned(),
                    message: "another driver has this plate".to_owned(),
                }]));
            }
        }
        let driver = caller.user.as_driver();
        self.fleet.reload_facts(driver).await?;
        self.profile_of(caller, driver).await
    }

    /// A driver's papers, for himself and for admins.
    pub async fn profile_of(
        &self,
        caller: &Caller,
        driver: DriverId,
    ) -> Result<DriverView, OnboardingError> {
        if caller.role != Role::Admin && caller.user != driver.into() {
            return Err(OnboardingError::NotFound);
        }
        let found = store::profile(&self.fleet.inner().db, caller, driver).await?;
        found.ok_or(OnboardingError::NotFound)
    }

    /// Drivers who wait for a decision, oldest first.
    pub async fn pending(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<DriversPage, OnboardingError> {
        if admin.role != Role::Admin {
            return Err(OnboardingError::Forbidden);
        }
        let limit = limit.clamp(1, limits::PAGE_MAX);
        let db = &self.fleet.inner().db;
        let drivers = store::pending(db, admin, after, limit).await?;
        let next_cursor = drivers
            .last()
            .filter(|_| drivers.len() == limit as usize)
            .map(|last| Cursor { at: last.created_at, id: last.id.0 }.to_string());
        Ok(DriversPage { drivers, next_cursor })
    }

    /// Documents of approved drivers that run out after `from` and not after `to`.
    pub async fn expiring(&self, from: Millis, to: Millis) -> Result<Vec<Expiring>, Fault> {
        store::expiring(&self.fleet.inner().db, from, to).await
    }

    /// Approves, rejects or suspends; the last word counts.
    pub async fn decide(
        &self,
        admin: &Caller,
        driver: DriverId,
        decision: Decision,
    ) -> Result<DriverView, OnboardingError> {
        if admin.role != Role::Admin {
            return Err(OnboardingError::Forbidden);
        }
        let reason = decision.reason.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if reason.is_some_and(|text| text.chars().count() > REASON_MAX) {
            return Err(OnboardingError::Invalid(vec![FieldProblem {
                field: "reason".to_owned(),
                code: "length".to_owned(),
                message: "at most 500 characters".to_owned(),
            }]));
        }
        let status = match decision.decision {
            DecisionKind::Approve => DriverStatus::Approved,
            DecisionKind::Reject => DriverStatus::Rejected,
            DecisionKind::Suspend => DriverStatus::Suspended,
        };
        let inner = self.fleet.inner();
        let now = inner.clock.now();
        if !store::decide(&inner.db, admin, driver, status, reason, now).await? {
            return Err(OnboardingError::NotFound);
        }
        self.fleet.reload_facts(driver).await?;
        self.profile_of(admin, driver).await
    }
}
