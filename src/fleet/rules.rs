//! Decides where a driver may go next.
//!
//! Owns the legal steps of a driver. Does no I/O and reads no clock: the caller passes `now` and
//! holds the driver's lock, so every step is a compare-and-set with one owner.
//!
//! Guarantees:
//! - a step follows an edge of the table below or changes nothing  (test: `every_walk_is_legal`);
//! - a driver who loses an offer says which.
//!
//! OFFLINE → AVAILABLE · AVAILABLE → OFFERED, OFFLINE (and BUSY, when a trip is assigned to him
//! without an offer) · OFFERED → AVAILABLE, BUSY, OFFLINE · BUSY → COOLDOWN, AVAILABLE (and
//! OFFERED, when his trip ends while he looks at an offer of the next) · COOLDOWN → AVAILABLE,
//! OFFLINE. What the database says of a live trip (`Adopt`, `AdoptNext`) overrides.

use base::{Millis, TripId};

use crate::model::{Finish, FleetError, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Offline,
    Available,
    Offered { trip: TripId },
    Busy { trip: TripId, after: After },
    Cooldown { until: Millis },
}

/// What comes after the trip that a driver is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// He looks at an offer of this one.
    Asked(TripId),
    /// He has accepted this one; it is not active before the drop-off.
    Next(TripId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// He wants to work, may, and is heard.
    Online,
    /// He wants to stop, or may not work any more.
    Offline,
    /// Nothing was heard from him for the presence time.
    Silence,
    Offer {
        trip: TripId,
    },
    /// The same, of a trip after the one that he is ending.
    OfferNext {
        trip: TripId,
    },
    /// The offer ended without him: declined, expired, revoked, lost.
    Release {
        trip: TripId,
    },
    Assign {
        trip: TripId,
    },
    /// A next trip, while he ends this one.
    Queue {
        trip: TripId,
    },
    Finish {
        trip: TripId,
        how: Finish,
        rest_until: Millis,
    },
    /// The database says he drives this trip.
    Adopt {
        trip: TripId,
    },
    /// The database says that he drives this trip once `behind` is over.
    AdoptNext {
        trip: TripId,
        behind: TripId,
    },
    /// Time to look whether the rest is over.
    Rest,
}

/// What others must hear of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Arrived,
    LostOffer(TripId),
    Silent(TripId),
}

impl Phase {
    pub(crate) const fn state(self) -> State {
        match self {
            Self::Offline => State::Offline,
            Self::Available => State::Available,
            Self::Offered { .. } => State::Offered,
            Self::Busy { .. } => State::Busy,
            Self::Cooldown { .. } => State::Cooldown,
        }
    }

    /// The trip of which he holds an offer.
    pub(crate) const fn asked(self) -> Option<TripId> {
        match self {
            Self::Offered { trip } | Self::Busy { after: After::Asked(trip), .. } => Some(trip),
            Self::Offline | Self::Available | Self::Busy { .. } | Self::Cooldown { .. } => None,
        }
    }

    /// The trip that he has accepted and drives after this one.
    pub(crate) const fn next(self) -> Option<TripId> {
        match self {
            Self::Busy { after: After::Next(trip), .. } => Some(trip),
            Self::Offline
            | Self::Available
            | Self::Offered { .. }
            | Self::Busy { .. }
            | Self::Cooldown { .. } => None,
        }
    }

    /// The trip he drives.
    pub(crate) const fn trip(self) -> Option<TripId> {
        match self {
            Self::Busy { trip, .. } => Some(trip),
            Self::Offline | Self::Available | Self::Offered { .. } | Self::Cooldown { .. } => None,
        }
    }
}

type Next = Result<(Phase, Option<Told>), FleetError>;

pub(crate) fn step(phase: Phase, command: Command, now: Millis) -> Next {
    match command {
        Command::Online => Ok(online(phase)),
        Command::Offline => leave(phase),
        Command::Silence => Ok(silence(phase)),
        Command::Offer { trip } => offer(phase, trip),
        Command::OfferNext { trip } => offer_next(phase, trip),
        Command::Release { trip } => Ok(release(phase, trip)),
        Command::Assign { trip } => assign(phase, trip),
        Command::Queue { trip } => queue(phase, trip),
        Command::Finish { trip, how, rest_until } => Ok(finish(phase, trip, how, rest_until, now)),
        Command::Adopt { trip } => Ok(adopt(phase, trip)),
        Command::AdoptNext { trip, behind } => Ok(adopt_next(phase, trip, behind)),
        Command::Rest => Ok(rest(phase, now)),
    }
}

const FREE: (Phase, Option<Told>) = (Phase::Available, Some(Told::Arrived));

fn online(phase: Phase) -> (Phase, Option<Told>) {
    match phase {
        Phase::Offline => FREE,
        Phase::Available | Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => {
            (phase, None)
        }
    }
}

fn leave(phase: Phase) -> Next {
    match phase {
        Phase::Offline | Phase::Available | Phase::Cooldown { .. } => Ok((Phase::Offline, None)),
        Phase::Offered { trip } => Ok((Phase::Offline, Some(Told::LostOffer(trip)))),
        Phase::Busy { .. } => Err(FleetError::Busy),
    }
}

fn silence(phase: Phase) -> (Phase, Option<Told>) {
    match phase {
        Phase::Offline | Phase::Available | Phase::Cooldown { .. } => (Phase::Offline, None),
        Phase::Offered { trip } => (Phase::Offline, Some(Told::LostOffer(trip))),
        // He may be in a tunnel with the rider: flagged, not freed.
        Phase::Busy { trip, .. } => (phase, Some(Told::Silent(trip))),
    }
}

fn offer(phase: Phase, trip: TripId) -> Next {
    match phase {
        Phase::Available => Ok((Phase::Offered { trip }, None)),
        Phase::Offline => Err(FleetError::Offline),
        Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => {
            Err(FleetError::NotFree { found: phase.state() })
        }
    }
}

fn offer_next(phase: Phase, trip: TripId) -> Next {
    match phase {
        Phase::Busy { trip: driven, after: After::Nothing } if driven != trip => {
            Ok((Phase::Busy { trip: driven, after: After::Asked(trip) }, None))
        }
        Phase::Offline => Err(FleetError::Offline),
        Phase::Available | Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => {
            Err(FleetError::NotFree { found: phase.state() })
        }
    }
}

fn release(phase: Phase, trip: TripId) -> (Phase, Option<Told>) {
    match phase {
        Phase::Offered { trip: held } if held == trip => FREE,
        Phase::Busy { trip: driven, after: After::Asked(held) } if held == trip => {
            (Phase::Busy { trip: driven, after: After::Nothing }, None)
        }
        Phase::Offline
        | Phase::Available
        | Phase::Offered { .. }
        | Phase::Busy { .. }
        | Phase::Cooldown { .. } => (phase, None),
    }
}

fn assign(phase: Phase, trip: TripId) -> Next {
    match phase {
        Phase::Available => Ok((busy(trip), None)),
        Phase::Offered { trip: held } if held == trip => Ok((busy(trip), None)),
        Phase::Busy { trip: driven, .. } if driven == trip => Ok((phase, None)),
        Phase::Offline => Err(FleetError::Offline),
        Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => {
            Err(FleetError::NotFree { found: phase.state() })
        }
    }
}

const fn busy(trip: TripId) -> Phase {
    Phase::Busy { trip, after: After::Nothing }
}

fn queue(phase: Phase, trip: TripId) -> Next {
    match phase {
        Phase::Busy { trip: driven, after: After::Nothing } if driven != trip => {
            Ok((Phase::Busy { trip: driven, after: After::Next(trip) }, None))
        }
        Phase::Busy { trip: driven, after: After::Asked(held) } if held == trip => {
            Ok((Phase::Busy { trip: driven, after: After::Next(trip) }, None))
        }
        Phase::Busy { after: After::Next(queued), .. } if queued == trip => Ok((phase, None)),
        Phase::Offline => Err(FleetError::Offline),
        Phase::Available | Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => {
            Err(FleetError::NotFree { found: phase.state() })
        }
    }
}

fn finish(
    phase: Phase,
    trip: TripId,
    how: Finish,
    rest_until: Millis,
    now: Millis,
) -> (Phase, Option<Told>) {
    match phase {
        // The next trip begins where this one ends, without a rest.
        Phase::Busy { trip: driven, after: After::Next(next) } if driven == trip => {
            (busy(next), None)
        }
        // He still looks at it; a no sets him free.
        Phase::Busy { trip: driven, after: After::Asked(held) } if driven == trip => {
            (Phase::Offered { trip: held }, None)
        }
        Phase::Busy { trip: driven, after: After::Next(next) } if next == trip => {
            (busy(driven), None)
        }
        Phase::Busy { trip: driven, after: After::Nothing } if driven == trip => match how {
            Finish::Completed if rest_until > now => (Phase::Cooldown { until: rest_until }, None),
            Finish::Completed
            | Finish::Freed
            | Finish::TakenOver
            | Finish::GaveBack
            | Finish::Stale => FREE,
        },
        Phase::Offline
        | Phase::Available
        | Phase::Offered { .. }
        | Phase::Busy { .. }
        | Phase::Cooldown { .. } => (phase, None),
    }
}

fn adopt(phase: Phase, trip: TripId) -> (Phase, Option<Told>) {
    match phase {
        Phase::Busy { trip: driven, .. } if driven == trip => (phase, None),
        // Leased to another trip meanwhile: that one must look for someone else.
        Phase::Offered { trip: held } | Phase::Busy { after: After::Asked(held), .. }
            if held != trip =>
        {
            (busy(trip), Some(Told::LostOffer(held)))
        }
        // What he has accepted comes after that, whatever it was.
        Phase::Busy { after: After::Next(next), .. } if next != trip => {
            (Phase::Busy { trip, after: After::Next(next) }, None)
        }
        Phase::Offline
        | Phase::Available
        | Phase::Offered { .. }
        | Phase::Busy { .. }
        | Phase::Cooldown { .. } => (busy(trip), None),
    }
}

/// Whichever of the two trips comes first, he drives `behind` and then `trip`.
fn adopt_next(phase: Phase, trip: TripId, behind: TripId) -> (Phase, Option<Told>) {
    let both = Phase::Busy { trip: behind, after: After::Next(trip) };
    match phase {
        // The one before is over.
        Phase::Busy { trip: driven, .. } if driven == trip => (phase, None),
        Phase::Offered { trip: held } | Phase::Busy { after: After::Asked(held), .. }
            if held != trip =>
        {
            (both, Some(Told::LostOffer(held)))
        }
        Phase::Offline
        | Phase::Available
        | Phase::Offered { .. }
        | Phase::Busy { .. }
        | Phase::Cooldown { .. } => (both, None),
    }
}

fn rest(phase: Phase, now: Millis) -> (Phase, Option<Told>) {
    match phase {
        Phase::Cooldown { until } if now >= until => FREE,
        Phase::Offline
        | Phase::Available
        | Phase::Offered { .. }
        | Phase::Busy { .. }
        | Phase::Cooldown { .. } => (phase, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T1: TripId = TripId::from_u128(1);
    const T2: TripId = TripId::from_u128(2);
    const OFFERED: Phase = Phase::Offered { trip: T1 };
    const BUSY: Phase = busy(T1);
    const ENDING: Phase = Phase::Busy { trip: T1, after: After::Asked(T2) };
    const CHAINED: Phase = Phase::Busy { trip: T1, after: After::Next(T2) };
    const RESTING: Phase = Phase::Cooldown { until: Millis(60) };

    fn text(next: Next) -> String {
        let number = |trip: TripId| trip.as_u128();
        match next {
            Err(error) => error.to_string(),
            Ok((phase, told)) => {
                let phase = match phase {
                    Phase::Offered { trip } => format!("offered {}", number(trip)),
                    Phase::Busy { trip, after: After::Nothing } => {
                        format!("busy {}", number(trip))
                    }
                    Phase::Busy { trip, after: After::Asked(held) } => {
                        format!("busy {} asked {}", number(trip), number(held))
                    }
                    Phase::Busy { trip, after: After::Next(next) } => {
                        format!("busy {} then {}", number(trip), number(next))
                    }
                    Phase::Cooldown { until } => format!("cooldown until {}", until.0),
                    Phase::Offline | Phase::Available => phase.state().name().to_owned(),
                };
                match told {
                    None => phase,
                    Some(Told::Arrived) => format!("{phase}, arrived"),
                    Some(Told::LostOffer(trip)) => format!("{phase}, lost {}", number(trip)),
                    Some(Told::Silent(trip)) => format!("{phase}, silent on {}", number(trip)),
                }
            }
        }
    }

    fn check(phase: Phase, command: Command, expected: &str) {
        assert_eq!(text(step(phase, command, Millis(50))), expected, "{phase:?} {command:?}");
    }

    #[test]
    fn going_online_frees_only_who_was_offline() {
        check(Phase::Offline, Command::Online, "available, arrived");
        check(Phase::Available, Command::Online, "available");
        check(OFFERED, Command::Online, "offered 1");
        check(BUSY, Command::Online, "busy 1");
        check(RESTING, Command::Online, "cooldown until 60");
    }

    #[test]
    fn going_offline_ends_an_offer_and_is_refused_on_a_trip() {
        check(Phase::Offline, Command::Offline, "offline");
        check(Phase::Available, Command::Offline, "offline");
        check(OFFERED, Command::Offline, "offline, lost 1");
        check(BUSY, Command::Offline, "the driver is on a trip");
        check(CHAINED, Command::Offline, "the driver is on a trip");
        check(RESTING, Command::Offline, "offline");
    }

    #[test]
    fn silence_takes_out_all_but_the_busy_who_are_flagged() {
        check(Phase::Offline, Command::Silence, "offline");
        check(Phase::Available, Command::Silence, "offline");
        check(OFFERED, Command::Silence, "offline, lost 1");
        check(BUSY, Command::Silence, "busy 1, silent on 1");
        check(RESTING, Command::Silence, "offline");
    }

    #[test]
    fn only_an_available_driver_is_offered_a_trip() {
        check(Phase::Available, Command::Offer { trip: T1 }, "offered 1");
        check(Phase::Offline, Command::Offer { trip: T1 }, "the driver is offline");
        check(OFFERED, Command::Offer { trip: T1 }, "the driver is offered");
        check(OFFERED, Command::Offer { trip: T2 }, "the driver is offered");
        check(BUSY, Command::Offer { trip: T2 }, "the driver is busy");
        check(RESTING, Command::Offer { trip: T1 }, "the driver is cooldown");
    }

    #[test]
    fn a_release_frees_only_from_its_own_offer_and_at_once() {
        check(OFFERED, Command::Release { trip: T1 }, "available, arrived");
        check(OFFERED, Command::Release { trip: T2 }, "offered 1");
        check(BUSY, Command::Release { trip: T1 }, "busy 1");
        check(Phase::Offline, Command::Release { trip: T1 }, "offline");
        check(Phase::Available, Command::Release { trip: T1 }, "available");
        check(RESTING, Command::Release { trip: T1 }, "cooldown until 60");
    }

    #[test]
    fn a_trip_is_assigned_to_who_holds_its_offer_or_is_free() {
        check(OFFERED, Command::Assign { trip: T1 }, "busy 1");
        check(Phase::Available, Command::Assign { trip: T1 }, "busy 1");
        check(BUSY, Command::Assign { trip: T1 }, "busy 1");
        check(OFFERED, Command::Assign { trip: T2 }, "the driver is offered");
        check(BUSY, Command::Assign { trip: T2 }, "the driver is busy");
        check(RESTING, Command::Assign { trip: T1 }, "the driver is cooldown");
        check(Phase::Offline, Command::Assign { trip: T1 }, "the driver is offline");
    }

    #[test]
    fn who_ends_a_trip_is_asked_for_one_next_trip_at_a_time() {
        let next = |trip| Command::OfferNext { trip };
        check(BUSY, next(T2), "busy 1 asked 2");
        check(BUSY, next(T1), "the driver is busy");
        check(ENDING, next(TripId::from_u128(3)), "the driver is busy");
        check(CHAINED, next(TripId::from_u128(3)), "the driver is busy");
        check(Phase::Available, next(T2), "the driver is available");
        check(OFFERED, next(T2), "the driver is offered");
        check(RESTING, next(T2), "the driver is cooldown");
        check(Phase::Offline, next(T2), "the driver is offline");
        check(ENDING, Command::Release { trip: T2 }, "busy 1");
        check(ENDING, Command::Release { trip: T1 }, "busy 1 asked 2");
        check(ENDING, Command::Offline, "the driver is on a trip");
        check(ENDING, Command::Silence, "busy 1 asked 2, silent on 1");
        assert_eq!((ENDING.asked(), CHAINED.asked(), OFFERED.asked()), (Some(T2), None, Some(T1)));
    }

    #[test]
    fn a_busy_driver_carries_one_next_trip() {
        check(BUSY, Command::Queue { trip: T2 }, "busy 1 then 2");
        check(ENDING, Command::Queue { trip: T2 }, "busy 1 then 2");
        check(ENDING, Command::Queue { trip: TripId::from_u128(3) }, "the driver is busy");
        check(CHAINED, Command::Queue { trip: T2 }, "busy 1 then 2");
        check(CHAINED, Command::Queue { trip: TripId::from_u128(3) }, "the driver is busy");
        check(BUSY, Command::Queue { trip: T1 }, "the driver is busy");
        check(Phase::Available, Command::Queue { trip: T2 }, "the driver is available");
        check(Phase::Offline, Command::Queue { trip: T2 }, "the driver is offline");
    }

    #[test]
    fn a_completed_trip_ends_in_a_rest_and_a_cancelled_one_does_not() {
        let finish = |trip, how| Command::Finish { trip, how, rest_until: Millis(90) };
        check(BUSY, finish(T1, Finish::Completed), "cooldown until 90");
        check(BUSY, finish(T1, Finish::Freed), "available, arrived");
        check(BUSY, finish(T1, Finish::GaveBack), "available, arrived");
        check(BUSY, finish(T2, Finish::Completed), "busy 1");
        check(CHAINED, finish(T1, Finish::Completed), "busy 2");
        check(CHAINED, finish(T2, Finish::Freed), "busy 1");
        check(ENDING, finish(T1, Finish::Completed), "offered 2");
        check(ENDING, finish(T2, Finish::Freed), "busy 1 asked 2");
        check(Phase::Offline, finish(T1, Finish::Completed), "offline");
        check(OFFERED, finish(T1, Finish::Freed), "offered 1");
        let no_rest = Command::Finish { trip: T1, how: Finish::Completed, rest_until: Millis(50) };
        check(BUSY, no_rest, "available, arrived");
    }

    #[test]
    fn what_the_database_says_of_a_live_trip_overrides() {
        check(Phase::Offline, Command::Adopt { trip: T1 }, "busy 1");
        check(Phase::Available, Command::Adopt { trip: T1 }, "busy 1");
        check(OFFERED, Command::Adopt { trip: T1 }, "busy 1");
        check(OFFERED, Command::Adopt { trip: T2 }, "busy 2, lost 1");
        check(CHAINED, Command::Adopt { trip: T1 }, "busy 1 then 2");
        check(RESTING, Command::Adopt { trip: T1 }, "busy 1");
        check(ENDING, Command::Adopt { trip: TripId::from_u128(3) }, "busy 3, lost 2");
        check(CHAINED, Command::Adopt { trip: TripId::from_u128(3) }, "busy 3 then 2");
        check(CHAINED, Command::Adopt { trip: T2 }, "busy 2");
        let next = Command::AdoptNext { trip: T2, behind: T1 };
        check(Phase::Offline, next, "busy 1 then 2");
        check(BUSY, next, "busy 1 then 2");
        check(ENDING, next, "busy 1 then 2");
        check(CHAINED, next, "busy 1 then 2");
        check(OFFERED, next, "busy 1 then 2, lost 1");
        check(Phase::Offered { trip: T2 }, next, "busy 1 then 2");
        check(busy(T2), next, "busy 2");
    }

    #[test]
    fn a_rest_ends_at_its_time_and_not_before() {
        check(RESTING, Command::Rest, "cooldown until 60");
        check(Phase::Cooldown { until: Millis(50) }, Command::Rest, "available, arrived");
        check(BUSY, Command::Rest, "busy 1");
        check(Phase::Offline, Command::Rest, "offline");
    }

    fn legal(from: State, to: State) -> bool {
        use State::{Available, Busy, Cooldown, Offered, Offline};
        match from {
            Offline => to == Available,
            Available => matches!(to, Offered | Offline | Busy),
            Offered => matches!(to, Available | Busy | Offline),
            Busy => matches!(to, Cooldown | Available | Offered),
            Cooldown => matches!(to, Available | Offline),
        }
    }

    proptest! {
        #[test]
        fn every_walk_is_legal(
            moves in proptest::collection::vec((0..12u8, 1..4u128, 0..200i64), 0..60),
        ) {
            let mut phase = Phase::Offline;
            for (kind, trip, now) in moves {
                let trip = TripId::from_u128(trip);
                let command = match kind {
                    0 => Command::Online,
                    1 => Command::Offline,
                    2 => Command::Silence,
                    3 => Command::Offer { trip },
                    4 => Command::Release { trip },
                    5 => Command::Assign { trip },
                    6 => Command::Queue { trip },
                    7 => Command::OfferNext { trip },
                    8 => Command::Adopt { trip },
                    9 => Command::AdoptNext { trip, behind: TripId::from_u128(4) },
                    10 => Command::Finish { trip, how: Finish::Completed, rest_until: Millis(100) },
                    _ => Command::Rest,
                };
                if let Ok((next, _)) = step(phase, command, Millis(now)) {
                    let (from, to) = (phase.state(), next.state());
                    // What the database says overrides.
                    let fair = from == to || legal(from, to) || matches!(kind, 8 | 9);
                    prop_assert!(fair, "{:?} {:?} {:?}", phase, command, next);
                    let comes = next.asked().or(next.next());
                    let once = comes.is_none() || comes != next.trip();
                    prop_assert!(once, "{:?} {:?} {:?}", phase, command, next);
                    phase = next;
                }
            }
        }
    }
}
