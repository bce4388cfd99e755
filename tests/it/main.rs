//! A real server, real sockets, a real PostgreSQL: what users see, end to end.
//!
//! Every test has a database of its own on one private cluster per run, and a server on a port of
//! its own; tests talk to it through the wire only.

#![expect(unreachable_pub, reason = "a test program has no outside")]
#![expect(clippy::panic, reason = "a test that can not go on fails, with what it saw")]

mod access;
mod acts;
mod aftermath;
mod airport;
mod api_keys;
mod attacks;
mod audit;
mod bad_input;
mod bids;
mod bids_killed;
mod books;
mod card_trips;
mod card_trips_killed;
mod cards;
mod city_rules;
mod contract;
mod crash;
mod dead_letters;
mod demand;
mod deposits;
mod deposits_killed;
mod disputes;
mod experiments;
mod faults;
mod fences;
mod fraud;
mod fraud_money;
mod gaming;
mod harness;
mod limits;
mod live;
mod matrix;
mod next_trips;
mod notifications;
mod once;
mod overload;
mod payments;
mod privacy;
mod races;
mod refunds;
mod refunds_killed;
mod scheduled;
mod scheduled_city;
mod settlement_killed;
mod shown;
mod sockets;
mod strategies;
mod strategies_killed;
mod suspense;
mod swaps;
mod traces;
mod trip_flow;
mod trip_money;
mod trip_promo;
mod vectors;
mod withdrawals;
mod withdrawals_killed;
