//! A driver hands in his papers; an admin decides.

use base::{Caller, Cursor, DriverId, Problem};
use fleet::{DaysView, Decision, DriverView, DriversPage, Profile};

use crate::Flows;

/// Days in a driver's statistics.
const DAYS: u32 = 31;

impl Flows {
    /// Saves vehicle and documents; the driver is pending until an admin decides.
    pub async fn save_profile(
        &self,
        caller: &Caller,
        profile: Profile,
    ) -> Result<DriverView, Problem> {
        Ok(self.fleet.onboarding().save_profile(caller, profile).await?)
    }

    /// The driver's own papers.
    pub async fn driver_profile(&self, caller: &Caller) -> Result<DriverView, Problem> {
        Ok(self.fleet.onboarding().profile_of(caller, caller.user.as_driver()).await?)
    }

    /// The driver's newest days on which he drove, a month at most.
    pub async fn driver_days(&self, caller: &Caller) -> Result<DaysView, Problem> {
        Ok(fleet::days(&self.db, caller, DAYS).await?)
    }

    /// Drivers who wait for a decision, oldest first.
    pub async fn pending_drivers(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<DriversPage, Problem> {
        Ok(self.fleet.onboarding().pending(admin, after, limit).await?)
    }

    /// Approves, rejects or suspends. A suspended driver takes no further offers; a trip under way
    /// is driven to its end.
    pub async fn decide_driver(
        &self,
        admin: &Caller,
        driver: DriverId,
        decision: Decision,
    ) -> Result<DriverView, Problem> {
        let view = self.fleet.onboarding().decide(admin, driver, decision).await?;
        self.fleet.reload_facts(driver).await?;
        Ok(view)
    }
}
