//! What operators chose: how each city finds its drivers, and what a request may name instead.
//!
//! Owns the choices as this node knows them; table `city_dispatch` has them for all nodes. The
//! newest choice counts, in whatever order news of them come in. Table `city_shadows` has the
//! strategies that run beside them and are only counted.

pub(crate) mod store;

use std::collections::BTreeMap;

use base::{CityId, Millis, UserId};
use parking_lot::RwLock;

use crate::strategy::Strategy;
use crate::wire::{CityDispatchView, LoadView};

/// How one city finds drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub city: CityId,
    pub strategy: Strategy,
    /// What a request may name beside the city's own.
    pub allowed: Vec<Strategy>,
    /// Counts the choices of this city; 0 where nobody chose.
    pub version: i32,
    /// When, and by whom.
    pub chosen: Option<(Millis, UserId)>,
}

impl Choice {
    /// Of a city that nobody chose for.
    pub const fn usual(city: CityId) -> Self {
        let strategy = Strategy::USUAL;
        Self { city, strategy, allowed: Vec::new(), version: 0, chosen: None }
    }

    /// May a request name this strategy?
    pub fn allows(&self, named: Strategy) -> bool {
        named == self.strategy || self.allowed.contains(&named)
    }

    pub fn view(&self, load: Option<LoadView>) -> CityDispatchView {
        CityDispatchView {
            city_id: self.city,
            strategy: self.strategy,
            allowed: self.allowed.clone(),
            changed_at: self.chosen.map(|(at, _)| at),
            changed_by: self.chosen.map(|(_, by)| by),
            load,
        }
    }
}

/// A strategy that runs beside the city's own and is only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowChoice {
    pub city: CityId,
    /// None: it was ended.
    pub strategy: Option<Strategy>,
    pub at: Millis,
    pub by: UserId,
}

/// The choices that this node knows.
#[derive(Debug, Default)]
pub(crate) struct Choices(RwLock<BTreeMap<CityId, Choice>>);

impl Choices {
    pub(crate) fn of(&self, city: CityId) -> Choice {
        self.0.read().get(&city).cloned().unwrap_or_else(|| Choice::usual(city))
    }

    /// Takes a choice in, unless a newer one is known; `then` is done with it before anybody else
    /// can take one in.
    pub(crate) fn adopt(&self, choice: Choice, then: impl FnOnce(&Choice)) {
        let mut known = self.0.write();
        let newest = known.get(&choice.city).map_or(0, |choice| choice.version);
        if choice.version > newest {
            then(&choice);
            known.insert(choice.city, choice);
        }
    }
}
