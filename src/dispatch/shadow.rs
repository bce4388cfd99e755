//! A second strategy beside a city's own: it decides over the same city at the same moment, and is
//! counted, never acted on.
//!
//! The board is copied before the city's own decides, and the other strategy decides about every
//! search that waits on the copy. When the city's own asks somebody, both are compared. The copy
//! starts from what really happened, so each comparison stands for itself: it says whom the other
//! would have asked now, not how the day would have gone (that is the simulator's).
//!
//! Owns the counts since a shadow was chosen, of this node.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::{CityId, DriverId, Millis, TripId};
use foldhash::fast::RandomState;

use crate::board::{Board, Hunt, Key, Leases, Rules};
use crate::choice::ShadowChoice;
use crate::engine::{Go, decide};
use crate::load::Step;
use crate::model::{Decision, OfferPlan, Said, View};
use crate::strategy::Strategy;
use crate::wire::{ShadowCounts, ShadowSide};

/// After a pass the next one waits so many times as long as it took: a shadow takes at most a
/// twentieth of the time.
const REST: u32 = 19;

/// The shadows of this node's cities.
#[derive(Debug, Default)]
pub(crate) struct Shadows(BTreeMap<CityId, Shadow>);

#[derive(Debug)]
struct Shadow {
    strategy: Strategy,
    chosen: Millis,
    /// No pass before this.
    rests_until: Millis,
    /// What the last pass made of the searches that waited.
    opinions: Opinions,
    tally: ShadowCounts,
}

/// What the other strategy would do about one search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opinion {
    /// The driver it would ask first, and his seconds to the pickup; none: it waits.
    first: Option<(DriverId, u32)>,
    /// Drivers it would ask at once.
    asked: usize,
    /// Since when it would have asked somebody.
    since: Option<Millis>,
}

/// By trip, of all searches that waited.
pub(crate) type Opinions = HashMap<TripId, Opinion, RandomState>;

/// What the shadow made of a decision of the city's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// It would ask the same driver first.
    Same,
    /// It would ask another one first.
    Other,
    /// It would ask nobody yet.
    Waits,
    /// The city's own was quicker than its passes.
    Unseen,
    /// The city's own gave the search up; it would have asked somebody.
    Found,
}

impl Beside {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other => "other",
            Self::Waits => "waits",
            Self::Unseen => "unseen",
            Self::Found => "found",
        }
    }
}

/// A decision beside its shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) strategy: Strategy,
    pub(crate) verdict: Beside,
}

/// A city's searches and offers, copied for one pass.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) city: CityId,
    pub(crate) now: Millis,
    strategy: Strategy,
    rules: Rules,
    hunts: Vec<Hunt>,
    leases: Leases,
}

impl Shadows {
    /// These run from now on and no others. One that was chosen anew counts anew.
    pub(crate) fn run(&mut self, chosen: &[ShadowChoice]) {
        let mut before = std::mem::take(&mut self.0);
        for choice in chosen {
            let Some(strategy) = choice.strategy else { continue };
            let running = before
                .remove(&choice.city)
                .filter(|shadow| shadow.strategy == strategy && shadow.chosen == choice.at);
            self.0.insert(
                choice.city,
                running.unwrap_or_else(|| Shadow {
                    strategy,
                    chosen: choice.at,
                    rests_until: Millis(i64::MIN),
                    opinions: HashMap::default(),
                    tally: ShadowCounts::default(),
                }),
            );
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The passes that are due, with copies of what they decide about. What is only counted is the
    /// first that an overloaded city does without.
    pub(crate) fn due(&self, board: &Board, now: Millis) -> Vec<Pass> {
        let is_free = |city: &CityId| board.turns.step(*city) == Step::Normal;
        let rested = self.0.iter().filter(|(_, shadow)| now >= shadow.rests_until);
        let due = rested.filter(|(city, _)| is_free(city));
        let pass = |(city, shadow): (&CityId, &Shadow)| {
            let waits = |hunt: &&Hunt| hunt.search.city == *city && hunt.waits();
            let most = board.rules.presets.batched.most;
            let hunts: Vec<Hunt> =
                board.hunts.values().filter(waits).take(most).map(Hunt::bare).collect();
            (!hunts.is_empty()).then(|| Pass {
                city: *city,
                now,
                strategy: shadow.strategy,
                rules: board.rules.clone(),
                hunts,
                leases: board.leases.clone(),
            })
        };
        due.filter_map(pass).collect()
    }

    /// Takes in what a pass said, and how long it took.
    pub(crate) fn hear(&mut self, city: CityId, mut said: Opinions, now: Millis, took: Duration) {
        let Some(shadow) = self.0.get_mut(&city) else { return };
        for (trip, opinion) in &mut said {
            if let Some(before) = shadow.opinions.get(trip) {
                opinion.since = before.since.or(opinion.since);
            }
        }
        // Whoever waits no more is forgotten with this.
        shadow.opinions = said;
        shadow.rests_until = now + took * REST;
    }

    /// Compares a decision of the city's own; none where it has no shadow or there is nothing to
    /// compare.
    pub(crate) fn compare(&mut self, decision: &Decision, board: &Board) -> Option<Compared> {
        match decision {
            Decision::Offers { plans, .. } => {
                // A shadow looks for those who have nobody.
                let first = plans.first().filter(|plan| plan.instead_of.is_none())?;
                Some(self.beside(first.trip, board)?.beside(first, plans.len()))
            }
            Decision::NoDrivers { trip, said: Said::First } => {
                let shadow = self.beside(*trip, board)?;
                shadow.opinions.remove(trip)?.first?;
                Some(shadow.count(Beside::Found))
            }
            Decision::NoDrivers { said: Said::Again, .. }
            | Decision::Considered(_)
            | Decision::Lapsed(_) => None,
        }
    }

    /// The shadow of the city of this trip; none while the city is overloaded: what it does without
    /// then is no fault of its strategy, and the shadow looks at nobody.
    fn beside(&mut self, trip: TripId, board: &Board) -> Option<&mut Shadow> {
        let city = board.city_of(trip)?;
        let shadow = self.0.get_mut(&city)?;
        if board.turns.step(city) != Step::Normal {
            // Of before: nothing that is decided after it may be compared with that.
            shadow.opinions.clear();
            return None;
        }
        Some(shadow)
    }

    /// What was counted for this city; none where no shadow was chosen.
    pub(crate) fn counts(&self, city: CityId) -> Option<ShadowCounts> {
        self.0.get(&city).map(|shadow| shadow.tally)
    }
}

impl Shadow {
    /// The city's own asks these many drivers, this one first.
    fn beside(&mut self, plan: &OfferPlan, asked: usize) -> Compared {
        let Some(opinion) = self.opinions.remove(&plan.trip) else {
            return self.count(Beside::Unseen);
        };
        let Some((driver, eta_s)) = opinion.first else { return self.count(Beside::Waits) };
        let sums = |eta_s: u32, asked: usize| ShadowSide {
            pickup_s: u64::from(eta_s),
            asked: asked as u64,
        };
        self.tally.own += sums(plan.eta_s, asked);
        self.tally.shadow += sums(eta_s, opinion.asked);
        let ahead = opinion.since.map_or(Duration::ZERO, |since| plan.made.after(since));
        if !ahead.is_zero() {
            self.tally.sooner += 1;
            self.tally.sooner_ms += u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        }
        self.count(if driver == plan.driver { Beside::Same } else { Beside::Other })
    }

    fn count(&mut self, verdict: Beside) -> Compared {
        *match verdict {
            Beside::Same => &mut self.tally.same,
            Beside::Other => &mut self.tally.other,
            Beside::Waits => &mut self.tally.waits,
            Beside::Unseen => &mut self.tally.unseen,
            Beside::Found => &mut self.tally.found,
        } += 1;
        Compared { strategy: self.strategy, verdict }
    }
}

impl Pass {
    /// What the strategy would do now about each of the searches.
    pub(crate) fn decide(self, view: &dyn View) -> Opinions {
        let waits = Opinion { first: None, asked: 0, since: None };
        let mut opinions: Opinions =
            self.hunts.iter().map(|hunt| (hunt.search.trip, waits)).collect();
        let mut board = Board::new(self.rules);
        board.leases = self.leases;
        self.hunts.into_iter().for_each(|hunt| board.put_back(hunt));
        let keys: Vec<Key> = board.hunts.keys().copied().collect();
        let mut decisions = Vec::new();
        let go = Go { way: self.strategy, step: Step::Normal, keys };
        decide(&mut board, view, &go, &|| true, self.now, &mut decisions);
        for decision in &decisions {
            if let Decision::Offers { plans, .. } = decision
                && let Some(plan) = plans.first()
            {
                let first = Some((plan.driver, plan.eta_s));
                let opinion = Opinion { first, asked: plans.len(), since: Some(self.now) };
                opinions.insert(plan.trip, opinion);
            }
        }
        opinions
    }
}
