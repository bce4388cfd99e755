//! Which ways a car may drive, in which direction, and how fast: tags of OpenStreetMap.
//!
//! The lists and speeds are those of OSRM's car profile, so that both answer alike; the tests hold
//! the two against each other. Left out on purpose: ferries and car trains, which no city trip
//! takes, and everything that a turn costs.

/// Speed on a path or track that a tag opens to cars.
const DEFAULT_KMH: f64 = 10.0;
const MOVABLE_BRIDGE_KMH: f64 = 5.0;
/// Nobody drives at the limit on average.
const LIMIT_SHARE: f64 = 0.8;
/// A road for residents or deliveries is taken only where it saves this many times its own time.
const RESTRICTED_FACTOR: f64 = 10.0;
const KM_PER_MILE: f64 = 1.609;

/// The car: metres and kilograms of a large sedan.
const HEIGHT_M: f64 = 2.0;
const WIDTH_M: f64 = 1.9;
const LENGTH_M: f64 = 4.8;
const WEIGHT_KG: f64 = 2_000.0;
/// What `maxheight` means where it is no number.
const DEFAULT_MAX_HEIGHT_M: f64 = 4.5;

const ACCESS_KEYS: [&str; 4] = ["motorcar", "motor_vehicle", "vehicle", "access"];

const ALLOWED: &[&str] =
    &["yes", "motorcar", "motor_vehicle", "vehicle", "permissive", "designated", "hov"];
const RESTRICTED: &[&str] =
    &["private", "delivery", "destination", "customers", "permit", "residents", "unknown"];
const DENIED: &[&str] = &[
    "no",
    "agricultural",
    "forestry",
    "emergency",
    "psv",
    "taxi",
    "share_taxi",
    "minibus",
    "bus",
    "foot",
    "emergency_vehicle",
    "restricted",
    "military",
    "official",
    "customers",
    "private",
    "delivery",
    "destination",
    "permit",
    "residents",
];

const SPEEDS_KMH: &[(&str, f64)] = &[
    ("motorway", 90.0),
    ("motorway_link", 45.0),
    ("trunk", 85.0),
    ("trunk_link", 40.0),
    ("primary", 65.0),
    ("primary_link", 30.0),
    ("secondary", 55.0),
    ("secondary_link", 25.0),
    ("tertiary", 40.0),
    ("tertiary_link", 20.0),
    ("unclassified", 25.0),
    ("residential", 25.0),
    ("living_street", 10.0),
    ("service", 15.0),
    ("winter_road", 20.0),
    ("ice_road", 15.0),
];

const SURFACE_KMH: &[(&str, f64)] = &[
    ("cement", 80.0),
    ("compacted", 80.0),
    ("fine_gravel", 80.0),
    ("paving_stones", 60.0),
    ("metal", 60.0),
    ("bricks", 60.0),
    ("grass", 40.0),
    ("wood", 40.0),
    ("sett", 40.0),
    ("grass_paver", 40.0),
    ("gravel", 40.0),
    ("unpaved", 40.0),
    ("ground", 40.0),
    ("dirt", 40.0),
    ("pebblestone", 40.0),
    ("tartan", 40.0),
    ("cobblestone", 30.0),
    ("clay", 30.0),
    ("earth", 20.0),
    ("stone", 20.0),
    ("rocky", 20.0),
    ("sand", 20.0),
    ("laterite", 15.0),
    ("mud", 10.0),
    ("ice", 20.0),
    ("snow", 30.0),
];
const TRACK_KMH: &[(&str, f64)] =
    &[("grade1", 60.0), ("grade2", 40.0), ("grade3", 30.0), ("grade4", 25.0), ("grade5", 20.0)];
const SMOOTHNESS_KMH: &[(&str, f64)] = &[
    ("intermediate", 80.0),
    ("bad", 40.0),
    ("very_bad", 20.0),
    ("horrible", 10.0),
    ("very_horrible", 5.0),
    ("impassable", 0.0),
];

/// Limits that are written by name, where a country's differs from the general one below.
const LIMITS_BY_COUNTRY: &[(&str, f64)] = &[
    ("at:rural", 100.0),
    ("at:trunk", 100.0),
    ("ar:urban", 40.0),
    ("ar:rural", 110.0),
    ("be:motorway", 120.0),
    ("be-bru:rural", 70.0),
    ("be-bru:urban", 30.0),
    ("be-vlg:rural", 70.0),
    ("bg:motorway", 140.0),
    ("by:urban", 60.0),
    ("by:motorway", 110.0),
    ("ca-on:rural", 80.0),
    ("ch:rural", 80.0),
    ("ch:trunk", 100.0),
    ("ch:motorway", 120.0),
    ("de:living_street", 7.0),
    ("de:rural", 100.0),
    ("de:motorway", 0.0),
    ("dk:rural", 80.0),
    ("es:trunk", 90.0),
    ("fr:rural", 80.0),
    ("gb:nsl_single", 60.0 * KM_PER_MILE),
    ("gb:nsl_dual", 70.0 * KM_PER_MILE),
    ("gb:motorway", 70.0 * KM_PER_MILE),
    ("lv:living_street", 20.0),
    ("nl:rural", 80.0),
    ("nl:trunk", 100.0),
    ("no:rural", 80.0),
    ("no:motorway", 110.0),
    ("ph:urban", 40.0),
    ("ph:rural", 80.0),
    ("ph:motorway", 100.0),
    ("pl:rural", 100.0),
    ("pl:expressway", 120.0),
    ("pl:motorway", 140.0),
    ("ro:trunk", 100.0),
    ("ru:living_street", 20.0),
    ("ru:urban", 60.0),
    ("ru:motorway", 110.0),
    ("uk:nsl_single", 60.0 * KM_PER_MILE),
    ("uk:nsl_dual", 70.0 * KM_PER_MILE),
    ("uk:motorway", 70.0 * KM_PER_MILE),
    ("za:urban", 60.0),
    ("za:rural", 100.0),
    ("none", 140.0),
];
const LIMITS: &[(&str, f64)] =
    &[("urban", 50.0), ("rural", 90.0), ("trunk", 110.0), ("motorway", 130.0)];

const PASSABLE_BARRIERS: &[&str] = &[
    "cattle_grid",
    "border_control",
    "toll_booth",
    "sally_port",
    "no",
    "entrance",
    "height_restrictor",
    "arch",
    // Opened for those who live behind them; what that takes is no part of the road.
    "gate",
    "lift_gate",
];

/// How one direction of a way is driven.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drive {
    /// What a car makes on it.
    pub(crate) speed_kmh: f64,
    /// What it is worth to a driver who chooses his way: never more than the speed. Narrow lanes,
    /// car parks and roads for residents are avoided beyond the time they take.
    pub(crate) worth_kmh: f64,
}

/// A way that a car may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drivable {
    pub(crate) forward: Option<Drive>,
    pub(crate) backward: Option<Drive>,
    /// Nobody is picked up on a private service road: such a place snaps to the public one.
    pub(crate) stops: bool,
}

/// One element's tags.
pub(crate) struct Tags<'a>(pub(crate) Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// The value of the first key that has one, per direction: `key:forward` before `key`.
    fn both_ways(&self, keys: &[&str]) -> Pair<Option<&'a str>> {
        ["forward", "backward"].map(|direction| {
            keys.iter().find_map(|key| {
                let own = |(k, _): &&(&str, &str)| {
                    k.strip_prefix(key).and_then(|rest| rest.strip_prefix(':')) == Some(direction)
                };
                self.0.iter().find(own).map(|(_, value)| *value).or_else(|| self.get(key))
            })
        })
    }
}

/// Forward, backward.
type Pair<T> = [T; 2];

/// How a car drives the way; `None` where it may not, or where it is no road.
pub(crate) fn drivable(tags: &Tags<'_>) -> Option<Drivable> {
    let highway = tags.get("highway")?;
    if blocked(tags, highway) {
        return None;
    }
    let access = tags.both_ways(&ACCESS_KEYS).map(|value| value.map(strongest));
    let whitelisted = find(SPEEDS_KMH, highway).is_some();
    let restricted = access
        .map(|value| whitelisted && value.is_some_and(|value| RESTRICTED.contains(&value)))
        .map(|restricted| restricted || tags.is("hov", "designated"));
    let mut open = fits(tags);
    for way in [0, 1] {
        let denied = access[way].is_some_and(|value| DENIED.contains(&value));
        open[way] &= !denied || restricted[way];
    }
    let oneway = oneway(tags);
    match direction(tags, highway, oneway) {
        Direction::Both => {}
        Direction::Forward => open[1] = false,
        Direction::Backward => open[0] = false,
    }
    let speeds = speeds(tags, highway, access);
    let worth = worth(tags, open == [true, true], oneway);
    let drive = |way: usize| {
        let speed_kmh = speeds[way].filter(|speed| open[way] && *speed > 0.0)?;
        let factor = if restricted[way] { worth[way] / RESTRICTED_FACTOR } else { worth[way] };
        Some(Drive { speed_kmh, worth_kmh: speed_kmh * factor })
    };
    let (forward, backward) = (drive(0), drive(1));
    let stops = !(highway == "service" && access[0] == Some("private"));
    (forward.is_some() || backward.is_some()).then_some(Drivable { forward, backward, stops })
}

/// May a car pass this point of a road?
pub(crate) fn blocks(tags: &Tags<'_>) -> bool {
    if let Some(access) = ACCESS_KEYS.iter().find_map(|key| tags.get(key)) {
        let access = strongest(access);
        return DENIED.contains(&access) && !RESTRICTED.contains(&access);
    }
    let Some(barrier) = tags.get("barrier") else { return false };
    if barrier == "height_restrictor" {
        return tags.get("maxheight").and_then(height_m).is_some_and(|limit| limit < HEIGHT_M);
    }
    let flat = match barrier {
        "kerb" => tags.is("highway", "crossing"),
        "fence" => tags.is("sensory", "audible") || tags.is("sensory", "audio"),
        _ => false,
    };
    let lowered = tags.is("kerb", "lowered") || tags.is("kerb", "flush");
    let rising = tags.is("bollard", "rising");
    !(PASSABLE_BARRIERS.contains(&barrier) || flat || lowered || rising)
}

fn blocked(tags: &Tags<'_>, highway: &str) -> bool {
    const NO_ROAD: &[&str] =
        &["area", "reversible", "impassable", "hov_lanes", "steps", "construction", "proposed"];
    let building = |value: &str| !["no", "widening", "minor"].contains(&value);
    NO_ROAD.contains(&highway)
        || tags.is("area", "yes")
        || tags.is("railway", "construction")
        || tags.get("construction").is_some_and(building)
        || tags.is("oneway", "reversible")
        || tags.is("impassable", "yes")
        || tags.is("status", "impassable")
        || tags.is("service", "emergency_access")
}

/// Of several values the one that lets most in.
fn strongest(value: &str) -> &str {
    let rank = |value: &&str| match () {
        () if ALLOWED.contains(value) => 3,
        () if RESTRICTED.contains(value) => 2,
        () if DENIED.contains(value) => 1,
        () => 0,
    };
    // The first of equals, as the profile has it.
    value.split(';').map(str::trim).rev().max_by_key(rank).unwrap_or(value)
}

fn fits(tags: &Tags<'_>) -> Pair<bool> {
    let height = tags.both_ways(&["maxheight:physical", "maxheight"]);
    let width = tags.both_ways(&["maxwidth:physical", "maxwidth", "width", "est_width"]);
    let length = tags.both_ways(&["maxlength"]);
    let weight = tags.both_ways(&["maxweightrating", "maxweight"]);
    let room = |limit: Option<f64>, needed: f64| limit.is_none_or(|limit| limit >= needed);
    [0, 1].map(|way| {
        room(height[way].and_then(height_m), HEIGHT_M)
            && width[way].and_then(metres).is_none_or(|limit| limit > WIDTH_M)
            && room(length[way].and_then(metres), LENGTH_M)
            && room(weight[way].and_then(kilograms), WEIGHT_KG)
    })
}

fn oneway<'a>(tags: &Tags<'a>) -> Option<&'a str> {
    let specific = ["oneway:motorcar", "oneway:motor_vehicle", "oneway:vehicle", "oneway"];
    specific.iter().find_map(|key| tags.get(key))
}

#[derive(Clone, Copy)]
enum Direction {
    Both,
    Forward,
    Backward,
}

fn direction(tags: &Tags<'_>, highway: &str, oneway: Option<&str>) -> Direction {
    let circle = tags.is("junction", "roundabout") || tags.is("junction", "circular");
    match oneway {
        Some("-1") => Direction::Backward,
        Some("yes" | "1" | "true") => Direction::Forward,
        Some("no") => Direction::Both,
        _ if circle || highway == "motorway" => Direction::Forward,
        _ => Direction::Both,
    }
}

fn speeds(tags: &Tags<'_>, highway: &str, access: Pair<Option<&str>>) -> Pair<Option<f64>> {
    let class = find(SPEEDS_KMH, highway);
    let bridge = tags.is("bridge", "movable").then_some(MOVABLE_BRIDGE_KMH);
    let limits =
        tags.both_ways(&["maxspeed:advisory", "maxspeed", "source:maxspeed", "maxspeed:type"]);
    let caps = [
        tags.get("surface").and_then(|value| find(SURFACE_KMH, value)),
        tags.get("tracktype").and_then(|value| find(TRACK_KMH, value)),
        tags.get("smoothness").and_then(|value| find(SMOOTHNESS_KMH, value)),
    ];
    [0, 1].map(|way| {
        // A path or a track is a road only where a tag lets cars in.
        let let_in = access[way].is_some_and(|value| !DENIED.contains(&value));
        let usual = bridge.or(class).or(let_in.then_some(DEFAULT_KMH))?;
        let limit = limits[way].map(limit_kmh).filter(|limit| *limit > 0.0);
        let speed = limit.map_or(usual, |limit| limit * LIMIT_SHARE);
        Some(caps.iter().flatten().copied().fold(speed, f64::min))
    })
}

/// Share of the speed that counts where a way is chosen.
fn worth(tags: &Tags<'_>, two_way: bool, oneway: Option<&str>) -> Pair<f64> {
    const SLOW_SERVICES: &[&str] =
        &["alley", "parking", "parking_aisle", "driveway", "drive-through", "drive-thru"];
    let service = tags.get("service").is_some_and(|value| SLOW_SERVICES.contains(&value));
    let side_road = tags.is("side_road", "yes") || tags.is("side_road", "rotary");
    let mut worth = if two_way { room_to_pass(tags) } else { 1.0 };
    let slower = [(service, 0.5), (oneway == Some("alternating"), 0.4), (side_road, 0.8)];
    for (_, share) in slower.into_iter().filter(|(applies, _)| *applies) {
        worth = f64::min(worth, share);
    }
    let yields = |side: &str| if tags.is("priority", side) { worth.min(0.7) } else { worth };
    [yields("backward"), yields("forward")]
}

/// Cars that meet on a narrow road wait for each other.
fn room_to_pass(tags: &Tags<'_>) -> f64 {
    if tags.get("lanes").and_then(whole_number).is_some_and(|lanes| lanes <= 1.0) {
        return 0.5;
    }
    match tags.get("width").and_then(metres) {
        Some(width) if width <= 3.0 => 0.5,
        Some(width) if width < 4.0 => 0.6,
        Some(width) if width < 5.0 => 0.75,
        Some(width) if width < 6.0 => 0.8,
        Some(_) => 1.0,
        None if tags.is("lane_markings", "no") => 0.75,
        None => 1.0,
    }
}

/// km/h of a limit as people write it; 0 where it says nothing.
fn limit_kmh(text: &str) -> f64 {
    if let Some(number) = whole_number(text) {
        let miles = text.contains("mph") || text.contains("mp/h");
        return if miles { number * KM_PER_MILE } else { number };
    }
    let name = text.to_lowercase();
    let general = || name.split_once(':').and_then(|(_, kind)| find(LIMITS, kind));
    find(LIMITS_BY_COUNTRY, &name).or_else(general).unwrap_or(0.0)
}

/// The whole number that the text begins with.
fn whole_number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn height_m(text: &str) -> Option<f64> {
    match text {
        "default" | "none" | "no-sign" | "unsigned" => Some(DEFAULT_MAX_HEIGHT_M),
        _ => metres(text),
    }
}

/// The first number of a text, and what follows it. A comma may stand for the point.
fn number(text: &str) -> Option<(f64, &str)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".,".contains(c))).unwrap_or(rest.len());
    let value = rest[..end].replace(',', ".");
    value.trim_end_matches('.').parse().ok().map(|value| (value, &rest[end..]))
}

/// Metres, or feet and inches as 6'7".
fn metres(text: &str) -> Option<f64> {
    let (value, rest) = number(text)?;
    let Some(inches) = rest.strip_prefix('\'') else { return Some(value) };
    Some((value * 12.0 + number(inches).map_or(0.0, |(inches, _)| inches)) * 0.0254)
}

/// Tons unless the text says otherwise.
fn kilograms(text: &str) -> Option<f64> {
    let (value, rest) = number(text)?;
    Some(match () {
        () if rest.contains("lbs") => value * 0.453_592_37,
        () if rest.contains("kg") => value,
        () => value * 1_000.0,
    })
}

fn find(table: &[(&str, f64)], key: &str) -> Option<f64> {
    table.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}
