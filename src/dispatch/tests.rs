//! Claims about dispatch, by theme; the made-up city that they share is in `city`.

mod actor;
mod city;
mod crowd;
mod gates;
mod rounds;
mod scores;
mod store;
mod walks;
