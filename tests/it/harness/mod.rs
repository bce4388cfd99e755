//! What the tests are written with: a server, people with accounts, their sockets.

mod browser;
mod invariants;
mod person;
mod program;
mod server;
mod socket;

pub use browser::Browser;
pub use person::{CAIRO, Person, Reply, far_from, online_driver, point, send};
pub use program::{ADMIN, Folder, Program, create_admin, program};
pub use server::{Outside, Server};
pub use socket::Socket;
