//! What drivers said to the offers that were theirs to take or leave, read back for whoever judges
//! how they choose.

pub(crate) mod store;

use base::{DriverId, Millis, Piasters, Point};

pub use store::answers_in_tx;

/// How a driver was asked. Answers compare where this is the same: a city changes its strategy, and
/// who is asked beside others answers faster or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// The strategy that the request named; none: the city's at the time.
    pub named: Option<&'static str>,
    /// How long he might look, seconds: every strategy has its own time.
    pub lease_s: u32,
    /// Nobody else was asked for the trip meanwhile.
    pub alone: bool,
}

/// An offer that a driver took, or left: what he said himself. One that others took first says
/// nothing of him, and neither does one that he let pass beside others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfferAnswer {
    pub driver: DriverId,
    pub at: Millis,
    /// He said yes, or bid a price.
    pub taken: bool,
    /// What the trip was offered for.
    pub price: Piasters,
    pub to: Point,
    pub manner: Manner,
}
