//! Topic to sockets of this node: who follows what, in which order, and what he missed.
//!
//! Owns the followers of every room (a trip, a user, a cell), the numbering of user streams and
//! their ring of recent events. Knows a socket only as an [`Outlet`] with one try-push. Stores
//! nothing: missed events of a trip come from a [`Replay`] that its caller wires in.
//!
//! Guarantees:
//! - S1: a follower sees a numbered stream in order, without gap or repeat, under any interleaving
//!   of publishers; else it gets a snapshot;   (test: `a_follower_sees_every_event_once_in_order`)
//! - S2: a follower never sees an older position after a newer one of the same key;
//!   (test: `positions_never_go_back`)
//! - S4: what waits for one socket is bounded, whatever is published;
//!   (test: `lanes_stay_bounded`)
//! - a frame is encoded once per format however many follow, and not at all when nobody does.

pub mod codec;
mod index;
mod lanes;
mod model;
mod room;
mod stream;
#[cfg(test)]
mod tests;

pub use index::{Rooms, Turns};
pub use lanes::{EVENTS, Lanes, WAITING_BYTES};
pub use model::{
    Backlog, Body, Delivery, FollowError, Followed, Format, Frame, Item, Outlet, Pushed, Replay,
    Slot, Topic,
};
pub use stream::RING;
