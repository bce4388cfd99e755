//! What the fleet talks about: positions, drivers' facts, cities, candidates, refusals.

use base::{CityId, Code, DriverId, Fault, Millis, Piasters, Point, Problem, Tier, TripId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conduct::{Conduct, ConductMark};

/// A position as the driver's app reports it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    pub at: Point,
    /// Degrees clockwise from north, 0 to 360.
    pub heading: Option<f32>,
    pub speed_kmh: Option<f32>,
    /// Radius of the likely error, metres.
    pub accuracy_m: Option<f32>,
    /// When it was measured, by the app's clock.
    pub timestamp: Millis,
}

/// What became of an accepted position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// The trip he drives: whose followers see him.
    pub trip: Option<TripId>,
    /// False: suspect or late, kept for history and out of the live map.
    pub live: bool,
    /// Measured so far on that trip, metres.
    pub distance_m: u32,
    /// The position's own, never in the future: an app's clock that runs ahead must not make its
    /// later positions look old.
    pub timestamp: Millis,
}

/// What became of a backfill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    pub accepted: usize,
    /// Place in the batch and why it was not taken; ascending.
    pub rejected: Vec<(usize, Code)>,
}

/// Why a position is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixError {
    #[error("heading must be between 0 and 360")]
    Heading,
    #[error("speed must be 0 or more")]
    Speed,
    #[error("accuracy must be 0 or more")]
    Accuracy,
    #[error("the position is more than 24 hours old")]
    TooOld,
    #[error("the position is too inaccurate to be of use")]
    TooInaccurate,
    #[error("this node can't take more drivers")]
    Full,
}

impl FixError {
    pub const fn code(self) -> Code {
        match self {
            Self::Heading | Self::Speed | Self::Accuracy => Code::ValidationFailed,
            Self::TooOld => Code::TooOld,
            Self::TooInaccurate => Code::TooInaccurate,
            Self::Full => Code::Unavailable,
        }
    }
}

impl From<FixError> for Problem {
    fn from(error: FixError) -> Self {
        let field = match error {
            FixError::Heading => "heading",
            FixError::Speed => "speed",
            FixError::Accuracy => "accuracy",
            FixError::TooOld | FixError::TooInaccurate | FixError::Full => {
                return Self::new(error.code(), error.to_string());
            }
        };
        Self::field(field, "out_of_range", &error.to_string())
    }
}

/// Where a driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Offline,
    Available,
    Offered,
    Busy,
    Cooldown,
}

impl State {
    pub const ONLINE: [Self; 4] = [Self::Available, Self::Offered, Self::Busy, Self::Cooldown];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Available => "available",
            Self::Offered => "offered",
            Self::Busy => "busy",
            Self::Cooldown => "cooldown",
        }
    }
}

/// How a driver's trip ended for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Driven to its end: he rests a moment.
    Completed,
    /// Cancelled, or no-show: he is free at once.
    Freed,
    /// Another one drives it: free at once, and as far ahead in line as he was before.
    TakenOver,
    /// He gave the trip back: free at once, and it counts against his completion.
    GaveBack,
    /// It was over before this fleet took it for his: it leaves no track, and counts for nothing.
    Stale,
}

/// What the fleet tells the flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A driver became available: a search may want him.
    Arrived { city: CityId },
    /// A driver who held an offer of this trip went offline or silent.
    Lost { driver: DriverId, trip: TripId },
    /// Nothing is heard from a driver on a trip. Told once per silence.
    Silent { driver: DriverId, trip: TripId },
    /// A driver who was online is not any more, by his wish or because he went silent.
    Left { driver: DriverId },
}

/// How far a driver's approval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriverStatus {
    Pending,
    Approved,
    Rejected,
    Suspended,
}

impl DriverStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Suspended => "suspended",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Approved, Self::Rejected, Self::Suspended];
        all.into_iter().find(|status| status.name() == text)
    }
}

/// What a driver's offers and trips add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub offers_made: u32,
    pub offers_accepted: u32,
    pub trips_taken: u32,
    pub trips_completed: u32,
}

impl Record {
    /// Share of answered offers that he accepted; 1 for who was never asked.
    pub fn acceptance(&self) -> f32 {
        share(self.offers_accepted, self.offers_made)
    }

    /// Share of taken trips that he completed; 1 for who never took one.
    pub fn completion(&self) -> f32 {
        share(self.trips_completed, self.trips_taken)
    }
}

fn share(part: u32, whole: u32) -> f32 {
    if whole == 0 { 1.0 } else { (part as f32 / whole as f32).min(1.0) }
}

/// The papers that matter now: the first of the required ones to run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Papers {
    pub kind: String,
    /// Long past when the paper is missing.
    pub until: Millis,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VehicleFacts {
    pub make: String,
    pub model: String,
    pub plate: String,
    pub color: String,
}

/// What the database knows of a driver and the fleet works with.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverFacts {
    pub name: String,
    pub status: DriverStatus,
    pub papers: Papers,
    pub city: CityId,
    pub tier: Tier,
    pub vehicle: VehicleFacts,
    /// Mean of his ratings, 1 to 5; 5 for who was never rated.
    pub rating: f32,
    pub record: Record,
    pub fraud: bool,
    /// For what his score is lowered; nearly always empty.
    pub conduct: Vec<ConductMark>,
    pub wants_online: bool,
    pub balance: Piasters,
    /// How far below zero the balance may go before cash trips end.
    pub debt_limit: Piasters,
}

impl DriverFacts {
    /// Approved, with papers that run on.
    pub fn may_work(&self, now: Millis) -> Result<(), FleetError> {
        if self.status != DriverStatus::Approved {
            return Err(FleetError::NotApproved { status: self.status.name() });
        }
        if self.papers.until <= now {
            return Err(FleetError::DocumentExpired { kind: self.papers.kind.clone() });
        }
        Ok(())
    }
}

/// A city the company serves.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    pub id: CityId,
    pub name: String,
    /// IANA name.
    pub time_zone: String,
    pub center: Point,
    /// How far from the centre the company drives, metres.
    pub radius_m: u32,
    /// Radius of the first dispatch ring, metres.
    pub search_radius_m: u32,
    /// Rest after a completed trip, seconds.
    pub cooldown_s: u32,
    /// Does a trip start with the rider's PIN?
    pub start_pin: bool,
    /// Of a tier that has none of its own.
    pub cancel: CancelTerms,
    pub cancel_by_tier: Vec<(Tier, CancelTerms)>,
    /// What a rider may be left owing by one trip.
    pub rider_due_limit: Piasters,
    /// What a rider may owe and still book.
    pub booking_due_limit: Piasters,
    /// What a driver may owe and still take cash trips.
    pub driver_debt_limit: Piasters,
    /// Cash is handed over in multiples of this.
    pub cash_step: Piasters,
}

/// What calling a trip off costs, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelTerms {
    /// Seconds after acceptance in which cancelling is free.
    pub free_s: u32,
    /// What it costs afterwards.
    pub fee: Piasters,
    /// Seconds a driver waits before a no-show.
    pub no_show_wait_s: u32,
    pub no_show_fee: Piasters,
}

impl City {
    pub fn cancel_terms(&self, tier: Tier) -> CancelTerms {
        let own = self.cancel_by_tier.iter().find(|(known, _)| *known == tier);
        own.map_or(self.cancel, |(_, terms)| *terms)
    }
}

/// A driver as dispatch looks at him.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub driver: DriverId,
    pub at: Point,
    /// Great circle to the place asked about, metres.
    pub distance_m: f64,
    pub state: State,
    pub tier: Tier,
    pub rating: f32,
    /// 0 to 1.
    pub acceptance: f32,
    /// 0 to 1.
    pub completion: f32,
    /// Since when he waits for a trip.
    pub waiting_since: Millis,
    /// Trips he ended in the last hour (at most 16 are counted).
    pub recent_trips: u16,
    /// When his newest accepted position came in, by the server's clock.
    pub heard: Millis,
    /// When the first of his required documents runs out.
    pub documents_until: Millis,
    pub fraud: bool,
    /// For what his score is lowered now.
    pub conduct: Option<Conduct>,
    /// Owes more than his limit: no cash trips.
    pub in_debt: bool,
    pub approved: bool,
    /// His place in the queue of the airport that was asked about; 1 is next.
    pub in_line: Option<u32>,
}

/// A driver with a rider in the car, who is free once that one gets out.
#[derive(Clone, Debug, PartialEq)]
pub struct Finishing {
    /// At the drop-off, its distance from there.
    pub candidate: Candidate,
    /// Where he is now.
    pub from: Point,
}

/// What is asked of [`crate::Fleet::nearby`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearbyQuery {
    pub at: Point,
    /// Metres.
    pub radius_m: f64,
    /// Cars of exactly this tier; `None` for all.
    pub tier: Option<Tier>,
    pub limit: usize,
}

/// An available driver as riders see him.
#[derive(Clone, Debug, PartialEq)]
pub struct NearbyDriver {
    /// Random, new for every online session: says nothing about the account.
    pub alias: String,
    pub at: Point,
    /// Metres from the place asked about; `None` in a cell's deltas, which have no such place.
    pub distance_m: Option<f64>,
    pub tier: Tier,
    pub rating: f32,
    /// Degrees.
    pub heading: Option<f32>,
    /// When his newest position came in.
    pub last_update: Millis,
}

/// A driver as the rider of his trip sees him.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverBrief {
    pub driver: DriverId,
    pub name: String,
    pub rating: f32,
    pub tier: Tier,
    pub vehicle: VehicleFacts,
}

/// A driver at work as operators see him.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnDuty {
    pub driver: DriverId,
    /// His newest accepted position.
    pub at: Point,
    /// Degrees.
    pub heading: Option<f32>,
    pub state: State,
    pub tier: Tier,
    /// Since when he waits for a trip, where he does.
    pub waiting_since: Millis,
}

/// How many drivers of a city and tier are in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub city: CityId,
    pub tier: Tier,
    pub state: State,
    pub drivers: u32,
}

/// Why the fleet says no.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FleetError {
    #[error("the driver has no profile yet")]
    NoProfile,
    #[error("the driver is {status}, not approved")]
    NotApproved { status: &'static str },
    #[error("the document {kind} has run out or is missing")]
    DocumentExpired { kind: String },
    #[error("the driver is on a trip")]
    Busy,
    #[error("the driver is offline")]
    Offline,
    #[error("the driver is {}", found.name())]
    NotFree { found: State },
    #[error("the pickup is outside the service area")]
    OutsideServiceArea,
    #[error("pickups are not allowed in {zone}")]
    RestrictedZone { zone: String },
    #[error(transparent)]
    Fix(#[from] FixError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        let text = error.to_string();
        match error {
            FleetError::NoProfile => {
                Self::new(Code::DriverNotApproved, text).with("current", "no_profile")
            }
            FleetError::NotApproved { status } => {
                Self::new(Code::DriverNotApproved, text).with("current", status)
            }
            FleetError::DocumentExpired { kind } => {
                Self::new(Code::DocumentExpired, text).with("kind", kind)
            }
            FleetError::Busy => Self::new(Code::DriverBusy, text),
            FleetError::Offline => Self::new(Code::DriverOffline, text),
            FleetError::NotFree { found } => {
                Self::new(Code::DriverBusy, text).with("current", found)
            }
            FleetError::OutsideServiceArea => Self::new(Code::OutsideServiceArea, text),
            FleetError::RestrictedZone { zone } => {
                Self::new(Code::RestrictedZone, text).with("zone", zone)
            }
            FleetError::Fix(error) => error.into(),
            FleetError::Fault(fault) => fault.into(),
        }
    }
}
