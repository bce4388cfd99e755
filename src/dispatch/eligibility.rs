//! Decides whether a driver may be asked at all, and names the reason when he may not.

use base::{Millis, PaymentMethod, limits};

use crate::model::{Search, Seen};

/// A driver's state as the fleet knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    Offline,
    Available,
    Offered,
    /// On a trip, or promised to one.
    Busy,
    /// Drives his rider to a drop-off near by and has no trip after it; he is shown where he will
    /// be free, and in how many seconds.
    Finishing {
        left_s: u32,
    },
    Cooldown,
}

/// What this board already has to do with the driver; known here before the fleet hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    None,
    /// This search asked him, and does not ask again now.
    Asked,
    /// He holds an open offer.
    Offer,
    /// He is on a trip whose end is farther than the search plans ahead.
    Driving,
}

/// Why a driver is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Gave this trip back, or a block keeps him and the rider apart.
    Excluded,
    /// Declined this trip, let the offer pass, or was lost a moment ago.
    Asked,
    NotApproved,
    DocumentsExpired,
    Fraud,
    WrongTier,
    /// Cash trip, and he owes more than his limit.
    InDebt,
    Offline,
    Busy,
    Cooldown,
    /// Holds an offer of another trip.
    Offered,
    /// No position of the last 60 s.
    Stale,
    OutOfRadius,
}

impl Gate {
    pub const ALL: [Self; 13] = [
        Self::Excluded,
        Self::Asked,
        Self::NotApproved,
        Self::DocumentsExpired,
        Self::Fraud,
        Self::WrongTier,
        Self::InDebt,
        Self::Offline,
        Self::Busy,
        Self::Cooldown,
        Self::Offered,
        Self::Stale,
        Self::OutOfRadius,
    ];

    /// As in `dispatch_trace.verdict`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::Asked => "asked",
            Self::NotApproved => "not_approved",
            Self::DocumentsExpired => "documents_expired",
            Self::Fraud => "fraud",
            Self::WrongTier => "wrong_tier",
            Self::InDebt => "in_debt",
            Self::Offline => "offline",
            Self::Busy => "busy",
            Self::Cooldown => "cooldown",
            Self::Offered => "offered_elsewhere",
            Self::Stale => "stale",
            Self::OutOfRadius => "out_of_radius",
        }
    }
}

/// May `seen` be asked by `search`, which looks `radius_m` metres far? The lasting reasons come
/// first, so that the trace names what would have to change before it names what will pass.
pub fn gate(
    search: &Search,
    radius_m: f64,
    seen: &Seen,
    hold: Hold,
    now: Millis,
) -> Result<(), Gate> {
    let refusals = [
        (search.excluded.contains(&seen.driver), Gate::Excluded),
        (hold == Hold::Asked, Gate::Asked),
        (!seen.approved, Gate::NotApproved),
        // At the moment itself the document has run out.
        (seen.documents_until <= now, Gate::DocumentsExpired),
        (seen.fraud, Gate::Fraud),
        (!seen.tier.serves(search.tier), Gate::WrongTier),
        (seen.in_debt && search.method == PaymentMethod::Cash, Gate::InDebt),
        (seen.standing == Standing::Offline, Gate::Offline),
        (seen.standing == Standing::Busy || hold == Hold::Driving, Gate::Busy),
        (seen.standing == Standing::Cooldown, Gate::Cooldown),
        (seen.standing == Standing::Offered || hold == Hold::Offer, Gate::Offered),
        (now.after(seen.heard) > limits::FRESH_TTL, Gate::Stale),
        // Whoever waits in the queue of the place is near, however large that is. A distance that
        // is no number is in no radius.
        (
            seen.in_line.is_none() && (seen.distance_m.is_nan() || seen.distance_m > radius_m),
            Gate::OutOfRadius,
        ),
    ];
    match refusals.into_iter().find(|(refused, _)| *refused) {
        Some((_, gate)) => Err(gate),
        None => Ok(()),
    }
}
