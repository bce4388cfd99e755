//! How each city's trips went since the node started: ends by kind, and how long riders waited.
//!
//! Owns these counts, in memory only: a picture for operators, not a report. Bounded: the waits of
//! the last [`WINDOW`] and the ends of the last [`LATELY`], at most [`KEPT`] of each per city.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{CityId, Millis, TripId};
use parking_lot::Mutex;

use crate::event::EventName;
use crate::model::{Status, Trip};

/// How far back waits count.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long it is known how a trip ended: a few looks of whoever watches.
const LATELY: Duration = Duration::from_secs(10);
/// Most of each that are kept of one city.
const KEPT: usize = 4096;

/// What one city's trips add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PulseView {
    pub completed: u64,
    pub cancelled: u64,
    pub no_drivers: u64,
    /// Seconds from the request to the acceptance, of trips accepted lately.
    pub wait_p50_s: Option<u32>,
    pub wait_p95_s: Option<u32>,
}

#[derive(Default)]
pub(crate) struct Pulse(Mutex<BTreeMap<CityId, Beat>>);

#[derive(Default)]
struct Beat {
    completed: u64,
    cancelled: u64,
    no_drivers: u64,
    /// When it was accepted, and after how many seconds.
    waits: VecDeque<(Millis, u32)>,
    /// When it ended, which, and how.
    ends: VecDeque<(Millis, TripId, Status)>,
}

impl Pulse {
    /// An event of the trip was stored; `trip` is the row after it.
    pub(crate) fn felt(&self, trip: &Trip, event: EventName, now: Millis) {
        let mut beats = self.0.lock();
        let beat = beats.entry(trip.city).or_default();
        match event {
            EventName::Accepted | EventName::Queued => {
                let waited = now.after(trip.requested_at).as_secs();
                beat.waits.push_back((now, u32::try_from(waited).unwrap_or(u32::MAX)));
            }
            EventName::Completed => beat.completed += 1,
            EventName::Cancelled => beat.cancelled += 1,
            EventName::NoDrivers => beat.no_drivers += 1,
            EventName::Scheduled
            | EventName::Requested
            | EventName::Activated
            | EventName::Confirmed
            | EventName::Arrived
            | EventName::Started
            | EventName::DriverCancelled
            | EventName::Reassigned
            | EventName::Paid
            | EventName::PaymentFailed => {}
        }
        if !trip.status.is_live() {
            beat.ends.push_back((now, trip.id, trip.status));
        }
        beat.forget(now);
    }

    /// The city's trips that ended within [`LATELY`].
    pub(crate) fn ended_lately(&self, city: CityId, now: Millis) -> Vec<(TripId, Status)> {
        let mut beats = self.0.lock();
        let Some(beat) = beats.get_mut(&city) else { return Vec::new() };
        beat.forget(now);
        beat.ends.iter().map(|(_, trip, status)| (*trip, *status)).collect()
    }

    pub(crate) fn of(&self, city: CityId, now: Millis) -> PulseView {
        let mut beats = self.0.lock();
        let Some(beat) = beats.get_mut(&city) else { return PulseView::default() };
        beat.forget(now);
        let mut waits: Vec<u32> = beat.waits.iter().map(|(_, waited)| *waited).collect();
        waits.sort_unstable();
        let share = |percent: usize| waits.get(waits.len() * percent / 100).copied();
        PulseView {
            completed: beat.completed,
            cancelled: beat.cancelled,
            no_drivers: beat.no_drivers,
            wait_p50_s: share(50),
            wait_p95_s: share(95),
        }
    }
}

impl Beat {
    fn forget(&mut self, now: Millis) {
        let old = |(at, _): &(Millis, u32)| now.after(*at) > WINDOW;
        while self.waits.len() > KEPT || self.waits.front().is_some_and(old) {
            self.waits.pop_front();
        }
        let old = |(at, ..): &(Millis, TripId, Status)| now.after(*at) > LATELY;
        while self.ends.len() > KEPT || self.ends.front().is_some_and(old) {
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::trip;

    #[test]
    fn waits_are_of_the_last_quarter_hour_and_ends_of_all_times() {
        let pulse = Pulse::default();
        let asked = Millis(1_700_000_000_000);
        let mut trip = trip();
        trip.requested_at = asked;
        for seconds in 1..=100 {
            pulse.felt(&trip, EventName::Accepted, asked + Duration::from_secs(seconds));
        }
        trip.status = Status::Completed;
        pulse.felt(&trip, EventName::Completed, asked + Duration::from_secs(200));
        let ended = |after| pulse.ended_lately(trip.city, asked + Duration::from_secs(after));
        assert_eq!(ended(210), [(trip.id, Status::Completed)]);
        assert_eq!(ended(211), []);
        let seen = pulse.of(trip.city, asked + Duration::from_secs(200));
        assert_eq!((seen.wait_p50_s, seen.wait_p95_s, seen.completed), (Some(51), Some(96), 1));
        let seen = pulse.of(trip.city, asked + Duration::from_secs(90) + WINDOW);
        assert_eq!(seen.wait_p50_s, Some(95), "the first 89 are forgotten");
        let seen = pulse.of(trip.city, asked + Duration::from_secs(101) + WINDOW);
        assert_eq!((seen.wait_p50_s, seen.completed), (None, 1));
        assert_eq!(pulse.of(CityId(99), asked), PulseView::default());
    }
}
