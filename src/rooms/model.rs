//! Words of the rooms: topics, frames, and the two seams (a socket below, a replay source above).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use base::{CityId, Millis, Problem, Tier, TripId, UserId};
use bytes::Bytes;

/// What can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A trip's events and its driver's positions.
    Trip(TripId),
    /// Offers, bids, chat and notices for one account.
    User(UserId),
    /// Available drivers of one map cell, of one tier's cars or of all.
    Cell(u64, Option<Tier>),
    /// A whole city at work, for operators.
    Live(CityId),
}

impl Topic {
    /// Reads `trip:<id>` or `user:<id>`: the rooms a client may name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("trip", id) => id.parse().ok().map(Self::Trip),
            ("user", id) => id.parse().ok().map(Self::User),
            _ => None,
        }
    }
}

/// The room's name on the wire.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trip(id) => write!(f, "trip:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Cell(cell, None) => write!(f, "cell:{cell:x}"),
            Self::Live(city) => write!(f, "live:{}", city.0),
            Self::Cell(cell, Some(tier)) => write!(f, "cell:{cell:x}:{}", tier.name()),
        }
    }
}

/// How a socket wants its positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Binary,
}

/// A message encoded once and shared by everybody it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// JSON text, valid UTF-8.
    pub json: Bytes,
    /// The compact form, where the message has one.
    pub binary: Option<Bytes>,
}

impl Frame {
    /// A message that has no compact form.
    pub const fn json(json: Bytes) -> Self {
        Self { json, binary: None }
    }

    pub fn body(self, format: Format) -> Body {
        match (format, self.binary) {
            (Format::Binary, Some(binary)) => Body::Binary(binary),
            (Format::Binary, None) | (Format::Json, _) => Body::Text(self.json),
        }
    }
}

/// One message as it goes over a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(Bytes),
    Binary(Bytes),
}

impl Body {
    pub fn new(format: Format, bytes: Bytes) -> Self {
        match format {
            Format::Json => Self::Text(bytes),
            Format::Binary => Self::Binary(bytes),
        }
    }

    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

/// A place where only the newest counts: a driver in a trip's room, the state of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub topic: Topic,
    pub key: u128,
}

impl Slot {
    /// A picture (a cell of the map, a city) has one.
    pub const fn picture(topic: Topic) -> Self {
        Self { topic, key: 0 }
    }
}

/// What a room hands to a socket.
#[derive(Clone, Debug)]
pub enum Item {
    /// Part of a numbered stream, never dropped.
    Event { topic: Topic, seq: u64, frame: Frame },
    /// Answers a command, never dropped, not numbered.
    Reply(Bytes),
    /// Replaces what still waits in the same slot.
    Position { slot: Slot, body: Body },
    /// The stream can't go on without a gap: the socket must end and resume.
    Lost,
}

/// What became of a pushed item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Queued,
    /// It took the place of an older one that was never sent.
    Conflated,
    /// The reader is too slow; the socket is being closed.
    Overflow,
    /// The socket takes nothing any more.
    Closed,
}

/// A socket as the rooms see it.
pub trait Outlet: Send + Sync {
    /// Unique on this node.
    fn id(&self) -> u64;
    fn user(&self) -> UserId;
    fn format(&self) -> Format;
    /// Queues, never blocks, never calls back into the rooms.
    fn push(&self, item: Item) -> Pushed;
    /// Writes what is queued as far as the socket takes it now; called outside of every room's lock
    /// wherever many sockets are served.
    fn turn(&self);
}

/// What a new follower has to be told first.
#[derive(Clone, Debug)]
pub enum Backlog {
    /// Everything after the number asked for, in order, without gaps.
    Events(Vec<(u64, Frame)>),
    /// The state as of event `seq`.
    Snapshot { seq: u64, frame: Frame },
}

/// Where missed events come from.
pub trait Replay: Send + Sync {
    /// What happened in `topic` after event `after`; a snapshot when `after` is `None`.
    fn since(
        &self,
        topic: Topic,
        after: Option<u64>,
    ) -> Pin<Box<dyn Future<Output = Result<Backlog, Problem>> + Send + '_>>;
}

/// A follower that is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    pub epoch: u64,
    /// Number of the last event it was handed.
    pub seq: u64,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The replay source refused.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// One socket follows as many topics as it may.
    #[error("a socket can follow at most {0} rooms")]
    TooMany(usize),
    /// The socket went away meanwhile, or the room moves faster than it can be read.
    #[error("the room could not be followed")]
    Gone,
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Refused(problem) => problem,
            FollowError::TooMany(_) => {
                Self::new(base::Code::ValidationFailed, "this socket follows too many rooms")
            }
            FollowError::Gone => {
                Self::new(base::Code::Unavailable, "the room could not be followed, try again")
            }
        }
    }
}

/// How far an event of a user stream is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A socket of the user said that it has it.
    Acknowledged,
    /// Sockets that acknowledge are there, and none has it.
    Outstanding,
    /// Sockets are there that never acknowledge anything.
    Unknown,
    /// No socket of this user is on this node.
    NoSocket,
}

/// The newest position a room has shown per key.
pub(crate) type Newest = smallvec::SmallVec<[(u128, Millis); 1]>;
