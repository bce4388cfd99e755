//! A driver starts or ends his shift.

use base::{DriverId, Problem};
use fleet::{Fix, State};

use crate::Flows;

/// What the driver wants; stored, so that it outlives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineWish {
    Online,
    Offline,
}

impl Flows {
    /// Online needs an approved driver with unexpired documents; offline is refused on a trip.
    /// `at` counts as a first position.
    pub async fn set_online(
        &self,
        driver: DriverId,
        wish: OnlineWish,
        at: Option<Fix>,
    ) -> Result<State, Problem> {
        let state = match wish {
            OnlineWish::Online => self.fleet.go_online(driver, at).await?,
            OnlineWish::Offline => self.fleet.go_offline(driver).await?,
        };
        Ok(state)
    }
}
