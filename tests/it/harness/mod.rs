//! What the tests are written with: a server, people with accounts, their sockets.

mod invariants;
mod person;
mod server;
mod socket;

pub use person::{CAIRO, Person, Reply, far_from, online_driver, point, send};
pub use server::{Outside, Server};
pub use socket::Socket;
