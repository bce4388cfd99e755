//! Words that every room speaks: ids, money, points, time, days, chance, refusals, limits, and
//! tables as text.
//!
//! Owns no state. Does no I/O, knows no runtime: the one place that reads the machine's clock is
//! [`Clock::system`], the one place that draws chance is [`Dice`].
//!
//! Guarantees:
//! - a value of one of these types is valid: it was checked where it was made;
//! - money never passes through a float, neither when read nor when printed.

mod caller;
mod clock;
pub mod csv;
mod cursor;
mod day;
mod dice;
mod fault;
mod fields;
mod ids;
pub mod limits;
mod money;
mod points;
mod problem;
mod route;
mod schema;
mod words;

pub use caller::{Caller, Role};
pub use clock::{Clock, Millis};
pub use cursor::Cursor;
pub use day::{BusinessDay, DayRange};
pub use dice::Dice;
pub use fault::Fault;
pub use fields::{Fields, complaint, trimmed, trimmed_option};
pub use ids::{
    ApiKeyId, CityId, DeviceId, DriverId, JournalId, NotificationId, OfferId, PromoCodeId,
    PromoCreditId, RiderId, SessionId, TripId, UserId,
};
pub use money::{BasisPoints, MoneyError, Piasters};
pub use points::{EARTH_RADIUS_M, Point, PointError, haversine_m};
pub use problem::{Code, FieldProblem, Problem};
pub use route::{Route, RouteSource};
pub use words::{PaymentMethod, Tier};
