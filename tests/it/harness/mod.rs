//! What the tests are written with: a server, people with accounts, their sockets.

mod browser;
mod contract;
mod invariants;
mod person;
mod program;
mod server;
mod socket;
mod till;
mod vault;

pub use browser::Browser;
pub use contract::{Contract, nameless, status_of};
pub use invariants::broken_rules;
pub use person::{CAIRO, Person, Reply, far_from, next_phone, online_driver, point, send};
pub use program::{ADMIN, Folder, Program, create_admin, free_address, program};
pub use server::{Outside, Server};
pub use socket::Socket;
pub use till::{Till, authorise, card_that_is, deposit_that_is, open, open_card};
pub use vault::{Vault, fund, withdraw, withdrawal_that_is};
