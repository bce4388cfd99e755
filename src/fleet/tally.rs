//! Counts drivers by city, tier and state as they change, so that nobody ever has to count.

use std::collections::BTreeMap;

use base::{CityId, Tier};
use parking_lot::Mutex;

use crate::model::{Count, State};

type Place = (CityId, Tier, u8);

#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<Place, (State, u32)>>);

impl Tally {
    /// A driver went from one state to another, perhaps with another city or tier.
    pub(crate) fn moved(&self, from: (CityId, Tier, State), to: (CityId, Tier, State)) {
        let mut counts = self.0.lock();
        for (place, step) in [(from, -1i32), (to, 1)] {
            let (city, tier, state) = place;
            if state != State::Offline {
                let count = counts.entry((city, tier, state as u8)).or_insert((state, 0));
                count.1 = count.1.saturating_add_signed(step);
            }
        }
    }

    /// Everything ever counted, also what is zero now.
    pub(crate) fn counts(&self) -> Vec<Count> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|((city, tier, _), (state, drivers))| Count {
                city: *city,
                tier: *tier,
                state: *state,
                drivers: *drivers,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_moves_and_the_offline_are_not_counted() {
        let tally = Tally::default();
        let (city, tier) = (CityId(1), Tier::Comfort);
        let go = |from, to| tally.moved((city, tier, from), (city, tier, to));
        go(State::Offline, State::Available);
        go(State::Offline, State::Available);
        go(State::Available, State::Busy);
        let count = |state| -> u32 {
            tally.counts().iter().filter(|c| c.state == state).map(|c| c.drivers).sum()
        };
        assert_eq!((count(State::Available), count(State::Busy)), (1, 1));
        go(State::Busy, State::Offline);
        assert_eq!((count(State::Available), count(State::Busy)), (1, 0));
        assert_eq!(count(State::Offline), 0);
    }
}
