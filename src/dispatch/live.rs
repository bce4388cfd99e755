//! The real city as the engine's view: drivers from the fleet, times from routing.

use base::{Millis, Point};
use fleet::{Candidate, Fleet, State};
use routing::Router;

use crate::eligibility::Standing;
use crate::model::{Seen, View};

/// Reads memory only: neither the fleet's candidates nor a router's estimate waits for anything.
pub(crate) struct LiveView {
    fleet: Fleet,
    router: Router,
}

impl LiveView {
    pub(crate) const fn new(fleet: Fleet, router: Router) -> Self {
        Self { fleet, router }
    }
}

impl View for LiveView {
    fn drivers(&self, at: Point, radius_m: f64, limit: usize, out: &mut Vec<Seen>) {
        out.extend(self.fleet.candidates(at, radius_m, limit).into_iter().map(seen));
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.router.eta_s(from, to, now)
    }
}

fn seen(candidate: Candidate) -> Seen {
    Seen {
        driver: candidate.driver,
        at: candidate.at,
        distance_m: candidate.distance_m,
        standing: standing(candidate.state),
        tier: candidate.tier,
        rating: candidate.rating,
        acceptance: candidate.acceptance,
        completion: candidate.completion,
        waiting_since: candidate.waiting_since,
        recent_trips: candidate.recent_trips,
        heard: candidate.heard,
        documents_until: candidate.documents_until,
        approved: candidate.approved,
        fraud: candidate.fraud,
        conduct: candidate.conduct,
        in_debt: candidate.in_debt,
        in_line: candidate.in_line,
    }
}

const fn standing(state: State) -> Standing {
    match state {
        State::Offline => Standing::Offline,
        State::Available => Standing::Available,
        State::Offered => Standing::Offered,
        State::Busy => Standing::Busy,
        State::Cooldown => Standing::Cooldown,
    }
}
