//! Attacks, over real connections: none passes, and nobody else notices (SECURITY).
//!
//! Tokens and refresh are in `access` and in `identity`; who may ask for what is in `matrix`; the
//! second wall is `storage`'s.

mod injection;
mod input;
mod leaks;
mod limits;
mod sockets;
