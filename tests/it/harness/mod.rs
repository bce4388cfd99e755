//! What the tests are written with: a server, people with accounts, their sockets.

mod browser;
mod contract;
mod house;
mod invariants;
mod killed;
mod looks;
mod moment;
mod person;
mod program;
mod server;
mod socket;
mod till;
mod vault;

pub use browser::Browser;
pub use contract::{Contract, nameless, status_of};
pub use house::{House, Settings, Victim};
pub use killed::{Ask, At, BACKEND, FUNDS, Gate, Kill, POSTGRES, POSTING, PROGRAM, ROUNDS};
pub use looks::{Looks, until};
pub use moment::{Moment, run};
pub use person::{
    CAIRO, Person, Reply, far_from, next_key, next_phone, online_driver, point, send,
};
pub use program::{ADMIN, Folder, Program, create_admin, free_address, program};
pub use server::{Outside, Server, flat_city};
pub use socket::Socket;
pub use till::{Till, authorise, card_that_is, deposit_that_is, gateway_settings, open, open_card};
pub use vault::{Vault, bank_settings, fund, withdraw, withdrawal_that_is};
