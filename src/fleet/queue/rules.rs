//! Decides who stands in the queue of an airport, and where.
//!
//! Pure: the caller holds the driver's lock, passes what happened and the ticket that whoever comes
//! now would get. Who has the lower ticket is before.
//!
//! Guarantees:
//! - a driver stands in one queue or in none;
//! - his ticket changes only when he comes, and when he has refused too often: nothing that others
//!   do, and no position within the fence, costs him his place  (tests: the table; `queue/tests`
//!   `the_queue_is_served_in_the_order_in_which_they_came`).

use base::Millis;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) fence: Uuid,
    /// His ticket: the moment he came, or a millisecond after whoever came in the same.
    pub(crate) since: Millis,
    /// Trips of this airport that he refused since.
    pub(crate) refusals: u8,
}

/// How a driver stands to the queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stand {
    #[default]
    Out,
    /// In line, also while he is asked for a trip.
    Waits(Spot),
    /// On a trip. Should it be called off while he is still there, his place is as it was.
    Rides(Spot),
    /// He stood there when the program ended, and has his place if he is heard there in time.
    Expected(Spot),
}

impl Stand {
    pub(crate) const fn spot(self) -> Option<Spot> {
        match self {
            Self::Out => None,
            Self::Waits(spot) | Self::Rides(spot) | Self::Expected(spot) => Some(spot),
        }
    }

    /// His place in line, if he has one, and whether he is there.
    pub(crate) const fn in_line(self) -> Option<(Spot, bool)> {
        match self {
            Self::Out | Self::Rides(_) => None,
            Self::Waits(spot) => Some((spot, true)),
            Self::Expected(spot) => Some((spot, false)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// He is free within the fence.
    Free { fence: Uuid },
    /// He has left the fence.
    Left { fence: Uuid },
    /// It is no airport any more.
    Closed { fence: Uuid },
    /// He is offline, or silent for so long.
    Off,
    /// He begins a trip, whichever.
    Took,
    /// The trip is over by his own doing: driven to its end, or given back.
    Done,
    /// He said no to a trip of this airport, or let it pass.
    Refused { fence: Uuid },
    /// The time in which he was expected back is over.
    Late,
}

/// Why a driver has lost his place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostPlace {
    /// He drove out of the fence.
    Left,
    /// He went offline, or was not heard.
    Offline,
    /// He took a trip.
    Trip,
    /// He refused too often: he has the last place now.
    Refused,
    /// There is no queue here any more.
    Closed,
}

impl LostPlace {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Offline => "offline",
            Self::Trip => "trip",
            Self::Refused => "refused",
            Self::Closed => "closed",
        }
    }
}

/// `ticket` is what he gets if he comes now; `most` refusals send him to the end.
pub(crate) fn step(
    stand: Stand,
    event: Event,
    ticket: Millis,
    most: u8,
) -> (Stand, Option<LostPlace>) {
    use Stand::{Expected, Out, Rides, Waits};
    let kept = (stand, None);
    match event {
        Event::Free { fence } => match stand {
            Waits(_) => kept,
            // He was on a trip that was called off, or the program was away.
            Rides(spot) | Expected(spot) if spot.fence == fence => (Waits(spot), None),
            Out | Rides(_) | Expected(_) => {
                (Waits(Spot { fence, since: ticket, refusals: 0 }), None)
            }
        },
        Event::Left { fence } => leaves(stand, fence, LostPlace::Left),
        Event::Closed { fence } => leaves(stand, fence, LostPlace::Closed),
        Event::Off => match stand {
            Waits(_) => (Out, Some(LostPlace::Offline)),
            Out | Rides(_) | Expected(_) => (Out, None),
        },
        Event::Took => match stand {
            Waits(spot) => (Rides(spot), Some(LostPlace::Trip)),
            Expected(spot) => (Rides(spot), None),
            Out | Rides(_) => kept,
        },
        Event::Done => match stand {
            Rides(_) => (Out, None),
            Out | Waits(_) | Expected(_) => kept,
        },
        Event::Refused { fence } => match stand {
            Waits(spot) if spot.fence == fence => refuses(spot, ticket, most),
            Out | Waits(_) | Rides(_) | Expected(_) => kept,
        },
        Event::Late => match stand {
            Expected(_) => (Out, None),
            Out | Waits(_) | Rides(_) => kept,
        },
    }
}

fn leaves(stand: Stand, fence: Uuid, why: LostPlace) -> (Stand, Option<LostPlace>) {
    match stand {
        Stand::Waits(spot) if spot.fence == fence => (Stand::Out, Some(why)),
        Stand::Rides(spot) | Stand::Expected(spot) if spot.fence == fence => (Stand::Out, None),
        Stand::Out | Stand::Waits(_) | Stand::Rides(_) | Stand::Expected(_) => (stand, None),
    }
}

fn refuses(spot: Spot, ticket: Millis, most: u8) -> (Stand, Option<LostPlace>) {
    let refusals = spot.refusals.saturating_add(1);
    if refusals >= most {
        let last = Spot { since: ticket, refusals: 0, ..spot };
        (Stand::Waits(last), Some(LostPlace::Refused))
    } else {
        (Stand::Waits(Spot { refusals, ..spot }), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Uuid = Uuid::from_u128(1);
    const THERE: Uuid = Uuid::from_u128(2);

    const fn at(since: i64, refusals: u8) -> Spot {
        Spot { fence: HERE, since: Millis(since), refusals }
    }

    fn check(stand: Stand, event: Event, expected: &str) {
        let (next, lost) = step(stand, event, Millis(99), 2);
        let spot = next.spot().map(|spot| {
            let fence = if spot.fence == HERE { "here" } else { "there" };
            format!(" {fence} {} refused {}", spot.since.0, spot.refusals)
        });
        let word = match next {
            Stand::Out => "out",
            Stand::Waits(_) => "waits",
            Stand::Rides(_) => "rides",
            Stand::Expected(_) => "expected",
        };
        let lost = lost.map(|lost| format!(", {}", lost.name())).unwrap_or_default();
        let found = format!("{word}{}{lost}", spot.unwrap_or_default());
        assert_eq!(found, expected, "{stand:?} {event:?}");
    }

    #[test]
    fn who_comes_is_last_and_stays_where_he_is() {
        check(Stand::Out, Event::Free { fence: HERE }, "waits here 99 refused 0");
        check(Stand::Waits(at(5, 1)), Event::Free { fence: HERE }, "waits here 5 refused 1");
        // Fences that overlap: one queue, the first.
        check(Stand::Waits(at(5, 1)), Event::Free { fence: THERE }, "waits here 5 refused 1");
        check(Stand::Waits(at(5, 0)), Event::Left { fence: THERE }, "waits here 5 refused 0");
        check(Stand::Waits(at(5, 0)), Event::Late, "waits here 5 refused 0");
        check(Stand::Waits(at(5, 0)), Event::Done, "waits here 5 refused 0");
    }

    #[test]
    fn who_leaves_has_lost_his_place() {
        check(Stand::Waits(at(5, 0)), Event::Left { fence: HERE }, "out, left");
        check(Stand::Waits(at(5, 0)), Event::Closed { fence: HERE }, "out, closed");
        check(Stand::Waits(at(5, 0)), Event::Off, "out, offline");
        check(Stand::Out, Event::Off, "out");
        check(Stand::Out, Event::Left { fence: HERE }, "out");
    }

    #[test]
    fn a_trip_costs_the_place_unless_it_is_called_off() {
        check(Stand::Waits(at(5, 1)), Event::Took, "rides here 5 refused 1, trip");
        check(Stand::Rides(at(5, 1)), Event::Free { fence: HERE }, "waits here 5 refused 1");
        check(Stand::Rides(at(5, 1)), Event::Free { fence: THERE }, "waits there 99 refused 0");
        check(Stand::Rides(at(5, 1)), Event::Left { fence: HERE }, "out");
        check(Stand::Rides(at(5, 1)), Event::Done, "out");
        check(Stand::Rides(at(5, 1)), Event::Off, "out");
        check(Stand::Rides(at(5, 1)), Event::Took, "rides here 5 refused 1");
        check(Stand::Out, Event::Took, "out");
    }

    #[test]
    fn the_second_refusal_sends_to_the_end() {
        let refused = Event::Refused { fence: HERE };
        check(Stand::Waits(at(5, 0)), refused, "waits here 5 refused 1");
        check(Stand::Waits(at(5, 1)), refused, "waits here 99 refused 0, refused");
        check(Stand::Waits(at(5, 1)), Event::Refused { fence: THERE }, "waits here 5 refused 1");
        check(Stand::Rides(at(5, 1)), refused, "rides here 5 refused 1");
        check(Stand::Out, refused, "out");
    }

    #[test]
    fn after_a_restart_who_comes_back_in_time_has_his_place() {
        check(Stand::Expected(at(5, 1)), Event::Free { fence: HERE }, "waits here 5 refused 1");
        check(Stand::Expected(at(5, 1)), Event::Free { fence: THERE }, "waits there 99 refused 0");
        check(Stand::Expected(at(5, 1)), Event::Took, "rides here 5 refused 1");
        check(Stand::Expected(at(5, 1)), Event::Late, "out");
        check(Stand::Expected(at(5, 1)), Event::Off, "out");
        check(Stand::Expected(at(5, 1)), Event::Closed { fence: HERE }, "out");
        check(Stand::Out, Event::Late, "out");
    }
}
