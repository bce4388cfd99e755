//! Faults: `kill -9` of the program and of its PostgreSQL while people book and drive, at moments
//! that are proven to be hit (O1–O3, D1–D3, J1).
//!
//! A moment is held by locks of a second connection: the process stands in front of one, as
//! `pg_stat_activity` says, when it is killed. So the program needs no hooks for faults. Beside
//! them one test kills whoever it is, whenever it is. After the last round the house is asked
//! whether anything was lost, done twice or out of order.
//!
//! `./dev faults --rounds N` kills more often than there is time for among the other tests.

mod city;
mod moments;
mod traffic;
mod witness;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use city::City;
use moments::Moments;

use crate::harness::Victim;

/// How often each test kills.
fn rounds() -> usize {
    let rounds = std::env::var("SMARTLINE_FAULT_ROUNDS").ok();
    rounds.map_or(6, |rounds| rounds.parse().expect("a number of rounds"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_mid_job_loses_no_job_and_repeats_no_effect() {
    let mut city = City::start().await;
    for round in 0..rounds() {
        let mut moment = Moments::of(&city).await;
        match round % 3 {
            0 => moment.before_a_jobs_effect().await,
            1 => moment.effect_not_committed().await,
            _ => moment.effect_committed_and_job_not_ended().await,
        };
        city.kill(Victim::Program).await;
    }
    city.settle("worker in mid-job").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_between_publish_and_mark_tells_every_fact_once_in_order() {
    let mut city = City::start().await;
    for round in 0..rounds() {
        let mut moment = Moments::of(&city).await;
        match round % 2 {
            0 => moment.published_and_not_marked().await,
            _ => moment.published_and_the_commit_unheard().await,
        };
        city.kill(Victim::Program).await;
    }
    city.settle("relay between publish and mark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_in_mid_claim_loses_no_job_and_the_program_goes_on() {
    let mut city = City::start().await;
    for round in 0..rounds() {
        let mut moment = Moments::of(&city).await;
        let backend = match round % 3 {
            0 => moment.claim_asked().await,
            1 => moment.claimed_and_not_committed().await,
            _ => moment.claimed_and_the_commit_unheard().await,
        };
        // The server as a whole, or the one process that claims: then the server ends the others.
        let victim =
            if round.is_multiple_of(2) { Victim::Server } else { Victim::Backend(backend) };
        city.kill(victim).await;
    }
    city.settle("PostgreSQL in mid-claim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_at_any_moment_nothing_is_lost_or_done_twice() {
    let mut city = City::start().await;
    for _ in 0..rounds() {
        city.answers(1 + chance(40)).await;
        let victim = match chance(3) {
            0 => Victim::Program,
            1 => Victim::Server,
            _ => Victim::Backend(city.house.some_backend(chance(20)).await),
        };
        city.kill(victim).await;
    }
    city.settle("anybody at any moment").await;
}

/// Less than `below`.
fn chance(below: usize) -> usize {
    // The one source of chance that the standard library has.
    let number = RandomState::new().build_hasher().finish();
    usize::try_from(number % below as u64).expect("it is less than a usize")
}
