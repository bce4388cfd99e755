//! Claims about dispatch, by theme; the made-up city that they share is in `city`.

mod actor;
mod answers;
mod assignments;
mod batches;
mod choices;
mod city;
mod crowd;
mod gates;
mod loads;
mod overload;
mod queues;
mod relief;
mod rounds;
mod scores;
mod shadows;
mod snapshots;
mod store;
mod swaps;
mod walks;
