//! Snapshots as bytes: everything exact, small because drivers are most of it and each is written
//! once. Numbers are little-endian base-128 (LEB128), signed ones zigzag; times are milliseconds
//! after the snapshot's own. The first byte is the version: what an older program wrote is read, or
//! known to be unreadable.
//!
//! Guarantees:
//! - what is read is what was written, bit by bit (test: `what_is_written_is_read`);
//! - bytes that were cut off or mixed up are no snapshot, never a panic.

use base::{CityId, DriverId, Millis, PaymentMethod, Piasters, Point, RiderId, Tier, TripId};
use fleet::{Conduct, Misconduct};
use uuid::Uuid;

use super::{Decided, Glance, Snapshot};
use crate::board::{Hunt, Memory, Promised};
use crate::eligibility::Standing;
use crate::load::Step;
use crate::model::{Part, Search, Seen};
use crate::strategy::Strategy;

/// Of a snapshot in which nobody stands in a queue: every program reads it.
const PLAIN: u8 = 1;
/// Of one in which somebody does.
const QUEUED: u8 = 2;
/// Of one that did without something, or in which somebody's score is lowered for his conduct: it
/// names its step.
const WHOLE: u8 = 3;
/// Beside the standing, of a driver whose score is lowered.
const HAS_CONDUCT: u8 = 8;
/// More than any list of a snapshot has: a length beyond it is no length.
const LONGEST: usize = 1 << 22;

pub(crate) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Pen { bytes: Vec::with_capacity(256 + snapshot.drivers.len() * 72), now: 0 };
    let is_queued = snapshot.drivers.iter().any(|seen| seen.in_line.is_some());
    let is_marked = snapshot.drivers.iter().any(|seen| seen.conduct.is_some());
    let is_whole = is_marked || snapshot.step != Step::Normal;
    out.byte(match (is_whole, is_queued) {
        (true, _) => WHOLE,
        (false, true) => QUEUED,
        (false, false) => PLAIN,
    });
    out.signed(snapshot.now.0);
    out.now = snapshot.now.0;
    out.word(snapshot.way);
    if is_whole {
        out.text(snapshot.step.name());
    }
    out.list(&snapshot.hunts, Pen::hunt);
    out.list(&snapshot.leased, |out, driver| out.id(driver.0));
    out.list(&snapshot.drivers, Pen::seen);
    out.list(&snapshot.glances, Pen::glance);
    out.list(&snapshot.etas, |out, eta_s| out.number(u64::from(*eta_s)));
    out.list(&snapshot.decided, |out, decided| {
        out.id(decided.trip.0);
        out.list(&decided.asked, |out, (driver, score)| {
            out.id(driver.0);
            out.single(*score);
        });
    });
    out.bytes
}

/// `None`: this is no snapshot, or one that this program can't read.
pub(crate) fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let mut from = Eye { bytes, now: 0 };
    let version = from.byte()?;
    if !matches!(version, PLAIN | QUEUED | WHOLE) {
        return None;
    }
    let now = from.signed()?;
    from.now = now;
    let way = from.way()?;
    let step = if version == WHOLE { Step::parse(&from.text()?)? } else { Step::Normal };
    let snapshot = Snapshot {
        now: Millis(now),
        way,
        step,
        hunts: from.list(Eye::hunt)?,
        leased: from.list(|from| from.id().map(DriverId))?,
        drivers: from.list(Eye::seen)?,
        glances: from.list(Eye::glance)?,
        etas: from.list(Eye::small)?,
        decided: from.list(|from| {
            let trip = TripId(from.id()?);
            let asked = from.list(|from| Some((DriverId(from.id()?), from.single()?)))?;
            Some(Decided { trip, asked })
        })?,
    };
    from.bytes.is_empty().then_some(snapshot)
}

struct Pen {
    bytes: Vec<u8>,
    now: i64,
}

impl Pen {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    fn time(&mut self, at: Millis) {
        self.signed(at.0.wrapping_sub(self.now));
    }

    fn single(&mut self, number: f32) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn double(&mut self, number: f64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn id(&mut self, id: Uuid) {
        self.bytes.extend(id.as_bytes());
    }

    fn word(&mut self, way: Strategy) {
        self.text(way.name());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn point(&mut self, at: Point) {
        self.double(at.lat());
        self.double(at.lng());
    }

    fn list<T>(&mut self, list: &[T], each: impl Fn(&mut Self, &T)) {
        self.number(list.len() as u64);
        list.iter().for_each(|one| each(self, one));
    }

    fn hunt(&mut self, hunt: &Hunt) {
        let search = &hunt.search;
        self.id(search.trip.0);
        self.signed(search.city.0.into());
        self.id(search.rider.0);
        self.point(search.pickup);
        self.point(search.destination);
        self.text(search.tier.name());
        self.text(search.method.name());
        self.signed(search.price.0);
        self.time(search.asked_at);
        self.list(&search.excluded, |out, driver| out.id(driver.0));
        self.list(&search.familiar, |out, driver| out.id(driver.0));
        for number in [search.distance_m, search.duration_s, search.ring_m] {
            self.number(number.into());
        }
        self.text(search.strategy.map_or("", Strategy::name));
        self.text(hunt.way.map_or("", Strategy::name));
        self.time(hunt.since);
        self.number(hunt.ring as u64);
        self.number(hunt.ring_rounds.into());
        // Bits but the first are young: what an older program wrote has them unset. Those after the
        // second are of SCHEDULED alone, a word that it can't read.
        self.number(
            u64::from(hunt.refused)
                | (u64::from(hunt.promised.is_some()) << 1)
                | (u64::from(search.first.is_some()) << 2)
                | (u64::from(search.role == Part::StandBy) << 3)
                | (u64::from(search.until.is_some()) << 4),
        );
        if let Some(Promised { driver, due }) = hunt.promised {
            self.id(driver.0);
            self.time(due);
        }
        search.first.into_iter().for_each(|driver| self.id(driver.0));
        search.until.into_iter().for_each(|until| self.time(until));
        self.number(hunt.round.into());
        let mut memory: Vec<_> = hunt.memory.iter().collect();
        memory.sort_unstable_by_key(|(driver, _)| **driver);
        self.list(&memory, |out, (driver, memory)| {
            out.id(driver.0);
            match memory {
                Memory::Asked => out.byte(0),
                Memory::RestsUntil(at) => {
                    out.byte(1);
                    out.time(*at);
                }
            }
        });
    }

    fn seen(&mut self, seen: &Seen) {
        self.id(seen.driver.0);
        self.point(seen.at);
        let (standing, left_s) = match seen.standing {
            Standing::Offline => (0, None),
            Standing::Available => (1, None),
            Standing::Offered => (2, None),
            Standing::Busy => (3, None),
            Standing::Cooldown => (4, None),
            Standing::Finishing { left_s } => (5, Some(left_s)),
        };
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        let flags = flag(seen.approved, 1)
            | flag(seen.fraud, 2)
            | flag(seen.in_debt, 4)
            | flag(seen.in_line.is_some(), 8);
        let marked = flag(seen.conduct.is_some(), HAS_CONDUCT);
        self.byte(standing | marked | flags << 4);
        left_s.into_iter().for_each(|left_s| self.number(left_s.into()));
        seen.in_line.into_iter().for_each(|place| self.number(place.into()));
        if let Some(Conduct { reason, penalty }) = seen.conduct {
            self.text(reason.name());
            self.byte(penalty);
        }
        self.byte(seen.tier.index() as u8);
        for number in [seen.rating, seen.acceptance, seen.completion] {
            self.single(number);
        }
        self.time(seen.waiting_since);
        self.number(seen.recent_trips.into());
        self.time(seen.heard);
        self.time(seen.documents_until);
    }

    /// Places as the steps between them, which are small.
    fn glance(&mut self, glance: &Glance) {
        self.double(glance.radius_m);
        self.number(glance.limit as u64);
        self.number(glance.seen.len() as u64);
        let mut before = 0;
        for place in &glance.seen {
            self.number(u64::from(place - before));
            before = *place;
        }
    }
}

struct Eye<'a> {
    bytes: &'a [u8],
    now: i64,
}

impl Eye<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn short(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    fn time(&mut self) -> Option<Millis> {
        Some(Millis(self.signed()?.wrapping_add(self.now)))
    }

    fn single(&mut self) -> Option<f32> {
        self.array().map(f32::from_le_bytes)
    }

    fn double(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    fn id(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|length| *length <= LONGEST)
    }

    fn way(&mut self) -> Option<Strategy> {
        Strategy::parse(&self.text()?)
    }

    /// Nothing, or a strategy.
    fn maybe_way(&mut self) -> Option<Option<Strategy>> {
        let text = self.text()?;
        if text.is_empty() { Some(None) } else { Strategy::parse(&text).map(Some) }
    }

    fn point(&mut self) -> Option<Point> {
        Point::new(self.double()?, self.double()?).ok()
    }

    fn list<T>(&mut self, each: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.length()?).map(|_| each(self)).collect()
    }

    fn hunt(&mut self) -> Option<Hunt> {
        let search = Search {
            trip: TripId(self.id()?),
            city: CityId(i16::try_from(self.signed()?).ok()?),
            rider: RiderId(self.id()?),
            pickup: self.point()?,
            destination: self.point()?,
            tier: Tier::parse(&self.text()?)?,
            method: PaymentMethod::parse(&self.text()?)?,
            price: Piasters(self.signed()?),
            asked_at: self.time()?,
            excluded: self.list(|from| from.id().map(DriverId))?,
            familiar: self.list(|from| from.id().map(DriverId))?,
            distance_m: self.small()?,
            duration_s: self.small()?,
            ring_m: self.small()?,
            strategy: self.maybe_way()?,
            first: None,
            role: Part::Drive,
            until: None,
        };
        let way = self.maybe_way()?;
        let since = self.time()?;
        let mut hunt = Hunt::new(search, since);
        hunt.way = way;
        hunt.ring = self.length()?;
        hunt.ring_rounds = self.short()?;
        let flags = self.number()?;
        hunt.refused = flags & 1 == 1;
        if flags & 2 == 2 {
            hunt.promised = Some(Promised { driver: DriverId(self.id()?), due: self.time()? });
        }
        hunt.search.role = if flags & 8 == 8 { Part::StandBy } else { Part::Drive };
        if flags & 4 == 4 {
            hunt.search.first = Some(DriverId(self.id()?));
        }
        if flags & 16 == 16 {
            hunt.search.until = Some(self.time()?);
        }
        hunt.round = self.short()?;
        let memory = self.list(|from| {
            let driver = DriverId(from.id()?);
            match from.byte()? {
                0 => Some((driver, Memory::Asked)),
                1 => Some((driver, Memory::RestsUntil(from.time()?))),
                _ => None,
            }
        })?;
        hunt.memory = memory.into_iter().collect();
        Some(hunt)
    }

    fn seen(&mut self) -> Option<Seen> {
        let (driver, at) = (DriverId(self.id()?), self.point()?);
        let byte = self.byte()?;
        let standing = match byte & (HAS_CONDUCT - 1) {
            0 => Standing::Offline,
            1 => Standing::Available,
            2 => Standing::Offered,
            3 => Standing::Busy,
            4 => Standing::Cooldown,
            5 => Standing::Finishing { left_s: self.small()? },
            _ => return None,
        };
        let flags = byte >> 4;
        let in_line = if flags & 8 == 0 { None } else { Some(self.small()?) };
        let conduct = if byte & HAS_CONDUCT == 0 { None } else { Some(self.conduct()?) };
        Some(Seen {
            driver,
            at,
            distance_m: 0.0,
            standing,
            tier: *Tier::ALL.get(usize::from(self.byte()?))?,
            rating: self.single()?,
            acceptance: self.single()?,
            completion: self.single()?,
            waiting_since: self.time()?,
            recent_trips: self.short()?,
            heard: self.time()?,
            documents_until: self.time()?,
            approved: flags & 1 != 0,
            fraud: flags & 2 != 0,
            conduct,
            in_debt: flags & 4 != 0,
            in_line,
        })
    }

    fn conduct(&mut self) -> Option<Conduct> {
        Some(Conduct { reason: Misconduct::parse(&self.text()?)?, penalty: self.byte()? })
    }

    fn glance(&mut self) -> Option<Glance> {
        let (radius_m, limit) = (self.double()?, self.length()?);
        let mut before = 0_u32;
        let seen = (0..self.length()?).map(|_| {
            before = before.checked_add(self.small()?)?;
            Some(before)
        });
        let seen = seen.collect::<Option<_>>()?;
        Some(Glance { radius_m, limit, seen })
    }
}
