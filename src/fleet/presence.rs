//! The presence wheel: when to look at which driver again.
//!
//! A bucket per second. A driver stands in the bucket of the first moment something may have to
//! happen (silence, a stale position, the end of a rest); being heard moves nothing, the look finds
//! out and puts him off. So a driver costs one look in half a minute, not one per position.

use base::{Millis, limits};
use parking_lot::Mutex;

use crate::fleet::Inner;
use crate::model::State;
use crate::roster::{Core, Entry};
use crate::rules::{Command, Phase};

const BUCKETS: usize = 64;

pub(crate) struct Wheel {
    /// Slots and the second they are due at.
    buckets: Vec<Mutex<Vec<(u32, i64)>>>,
    /// The last second that was looked at.
    turned: Mutex<i64>,
}

impl Wheel {
    pub(crate) fn new(now: Millis) -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::new(Vec::new())).collect();
        Self { buckets, turned: Mutex::new(second(now)) }
    }

    /// Looks at the driver at `at` or soon after; an earlier look stands.
    pub(crate) fn schedule(&self, slot: u32, core: &mut Core, at: Millis, now: Millis) {
        let soonest = second(now) + 1;
        let wanted = (second(at) + 1).clamp(soonest, soonest + BUCKETS as i64 - 2);
        if core.due_s >= soonest && core.due_s <= wanted {
            return;
        }
        core.due_s = wanted;
        self.bucket(wanted).lock().push((slot, wanted));
    }

    /// Slots whose second has come, with that second.
    fn turn(&self, now: Millis) -> Vec<(u32, i64)> {
        let mut turned = self.turned.lock();
        let until = second(now);
        let from = (*turned + 1).max(until - BUCKETS as i64 + 1);
        let mut slots = Vec::new();
        for second in from..=until {
            // After a pause a bucket may hold slots of the next turn of the wheel too.
            slots.extend(self.bucket(second).lock().extract_if(.., |(_, due)| *due <= until));
        }
        *turned = until.max(*turned);
        slots
    }

    fn bucket(&self, second: i64) -> &Mutex<Vec<(u32, i64)>> {
        &self.buckets[second.rem_euclid(BUCKETS as i64) as usize]
    }
}

const fn second(at: Millis) -> i64 {
    at.0.div_euclid(1000)
}

impl Entry {
    /// Is nothing heard of him?
    pub(crate) fn is_silent(&self, now: Millis) -> bool {
        now.since(self.heard()) > millis(limits::PRESENCE_TTL)
    }
}

impl Inner {
    /// Takes out the silent, ends rests, lets stale positions leave the nearby map. Called every
    /// second.
    pub(crate) fn sweep(&self, now: Millis) {
        for (slot, due_s) in self.wheel.turn(now) {
            if let Some(entry) = self.roster.at_slot(slot) {
                let mut core = entry.core.lock();
                // Otherwise he was put forward: this place in line is void.
                if core.due_s == due_s {
                    core.due_s = 0;
                    self.look(&entry, &mut core, now);
                }
            }
        }
        self.expect_no_longer(now);
        self.effects.retry();
    }

    fn look(&self, entry: &Entry, core: &mut Core, now: Millis) {
        let silent = entry.is_silent(now);
        match core.phase {
            Phase::Offline => return,
            Phase::Busy { .. } if silent && !core.flagged => {
                core.flagged = true;
                self.apply(entry, core, Command::Silence, now).ok();
            }
            Phase::Busy { .. } => core.flagged = silent && core.flagged,
            Phase::Available | Phase::Offered { .. } | Phase::Cooldown { .. } if silent => {
                self.apply(entry, core, Command::Silence, now).ok();
            }
            Phase::Available | Phase::Offered { .. } | Phase::Cooldown { .. } => {
                if core.facts.as_ref().is_some_and(|facts| facts.may_work(now).is_err()) {
                    self.apply(entry, core, Command::Offline, now).ok();
                } else {
                    self.apply(entry, core, Command::Rest, now).ok();
                }
            }
        }
        if core.phase != Phase::Offline {
            self.follow_fences(entry, core, None, now);
        }
        if core.phase.state() == State::Available {
            // He may have become stale: the tick of the nearby map finds out.
            self.mark(entry);
        }
        self.look_again(entry, core, now);
    }

    /// Schedules the next look at who is not offline.
    pub(crate) fn look_again(&self, entry: &Entry, core: &mut Core, now: Millis) {
        let mut soonest = Millis(i64::MAX);
        let mut at = |moment: Millis| {
            if moment > now {
                soonest = soonest.min(moment);
            }
        };
        at(Millis(entry.heard().0.max(0)) + limits::PRESENCE_TTL);
        at(now + limits::PRESENCE_TTL);
        if let Some(live) = core.live {
            at(live.heard + limits::FRESH_TTL);
        }
        match core.phase {
            Phase::Offline => return,
            Phase::Cooldown { until } => at(until),
            Phase::Available | Phase::Offered { .. } | Phase::Busy { .. } => {}
        }
        self.fences_due(core).for_each(at);
        self.wheel.schedule(entry.slot, core, soonest, now);
    }
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
