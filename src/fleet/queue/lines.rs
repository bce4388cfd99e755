//! The lines themselves: who stands before whom at each airport, and what of it was told.
//!
//! What a driver's place is he keeps himself, under his lock ([`super::rules::Stand`]); this is the
//! index over all of them, changed under that lock and never without it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::{DriverId, Millis};
use uuid::Uuid;

use super::rules::{LostPlace, Stand};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) slot: u32,
    /// False: he is expected back after a restart.
    pub(crate) here: bool,
}

#[derive(Debug, Default)]
struct Line {
    order: BTreeMap<(Millis, DriverId), Member>,
    /// The place that each was told last.
    told: HashMap<DriverId, u32>,
    /// Since it was told.
    changed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    by_fence: HashMap<Uuid, Line>,
    /// Who lost his place where and why, and was not told yet.
    lost: HashMap<DriverId, (Uuid, LostPlace)>,
    /// Until when those are expected back who stood here when the program ended.
    pub(crate) expected_until: Option<Millis>,
}

/// What a driver is to be told of his place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) driver: DriverId,
    pub(crate) fence: Uuid,
    /// 1 is next, and since when he has the place.
    pub(crate) place: Option<(u32, Millis)>,
    pub(crate) waiting: u32,
    pub(crate) lost: Option<LostPlace>,
}

impl Lines {
    /// The ticket of whoever comes to this fence now: higher than any that was given.
    pub(crate) fn ticket(&self, fence: Uuid, now: Millis) -> Millis {
        let last = self.by_fence.get(&fence).and_then(|line| line.order.last_key_value());
        last.map_or(now, |((since, _), _)| now.max(*since + Duration::from_millis(1)))
    }

    /// A driver stands otherwise than before.
    pub(crate) fn moved(
        &mut self,
        (driver, slot): (DriverId, u32),
        (before, after): (Stand, Stand),
        lost: Option<LostPlace>,
    ) {
        if let Some((spot, _)) = before.in_line()
            && let Some(line) = self.by_fence.get_mut(&spot.fence)
        {
            line.order.remove(&(spot.since, driver));
            line.changed = true;
            if let Some(why) = lost {
                line.told.remove(&driver);
                self.lost.insert(driver, (spot.fence, why));
            }
        }
        if let Some((spot, here)) = after.in_line() {
            let line = self.by_fence.entry(spot.fence).or_default();
            line.order.insert((spot.since, driver), Member { slot, here });
            line.changed = true;
        }
    }

    /// Those in line at this fence, first to last.
    pub(crate) fn at(&self, fence: Uuid) -> impl Iterator<Item = (DriverId, Member)> {
        let order = self.by_fence.get(&fence).map(|line| &line.order);
        order.into_iter().flatten().map(|((_, driver), member)| (*driver, *member))
    }

    /// The place of who has this ticket; 1 is next.
    pub(crate) fn place(&self, fence: Uuid, since: Millis, driver: DriverId) -> u32 {
        let line = self.by_fence.get(&fence);
        count(line.map_or(0, |line| line.order.range(..=(since, driver)).count()))
    }

    pub(crate) fn waiting(&self, fence: Uuid) -> u32 {
        count(self.by_fence.get(&fence).map_or(0, |line| line.order.len()))
    }

    pub(crate) fn fences(&self) -> Vec<Uuid> {
        self.by_fence.keys().copied().collect()
    }

    /// What changed for whom since it was told last; it counts as told from here on.
    pub(crate) fn news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for (fence, line) in &mut self.by_fence {
            if !std::mem::take(&mut line.changed) {
                continue;
            }
            let waiting = count(line.order.len());
            for (number, ((since, driver), member)) in line.order.iter().enumerate() {
                let place = count(number + 1);
                // One who is expected is told when he is there.
                if member.here && line.told.insert(*driver, place) != Some(place) {
                    let lost = self.lost.remove(driver).map(|(_, why)| why);
                    let place = Some((place, *since));
                    news.push(News { driver: *driver, fence: *fence, place, waiting, lost });
                }
            }
        }
        for (driver, (fence, why)) in self.lost.drain() {
            let waiting = count(self.by_fence.get(&fence).map_or(0, |line| line.order.len()));
            news.push(News { driver, fence, place: None, waiting, lost: Some(why) });
        }
        self.by_fence.retain(|_, line| !line.order.is_empty());
        news
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
