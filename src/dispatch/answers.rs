//! What drivers said to the offers that were theirs to take or leave, read back for whoever judges
//! how they choose.

pub(crate) mod store;

use base::{DriverId, Millis, Piasters, Point};

pub use store::answers_in_tx;

/// An offer that a driver took, or left. One that others took first, or that ended by itself, says
/// nothing of him.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfferAnswer {
    pub driver: DriverId,
    pub at: Millis,
    /// He said yes, or bid a price.
    pub taken: bool,
    /// What the trip costs.
    pub price: Piasters,
    pub to: Point,
}
