//! A city whose processes are killed: the program with its private PostgreSQL, and its traffic.

use sqlx::PgConnection;
use tokio::time::Instant;

use super::traffic::{Asked, Traffic};
use super::witness;
use crate::harness::{House, Settings, Victim, until};

pub struct City {
    pub house: House,
    traffic: Traffic,
    begun: Instant,
    kills: usize,
}

impl City {
    pub async fn start() -> Self {
        let house = House::start(settings()).await;
        witness::take_seat(&mut house.owner().await).await;
        let server = house.outside();
        let admin = house.admin().await;
        let traffic = Traffic::start(&server, &admin).await;
        Self { house, traffic, begun: Instant::now(), kills: 0 }
    }

    /// Returns when `more` requests were answered from now on.
    pub async fn answers(&self, more: usize) {
        let wanted = self.traffic.answered() + more;
        until("answers", async || (self.traffic.answered() >= wanted).then_some(())).await;
    }

    /// Kills with SIGKILL; returns when the house is up again.
    pub async fn kill(&mut self, victim: Victim) {
        self.kills += 1;
        self.house.kill(victim).await;
    }

    /// Lets the traffic end and all work be done; then nothing may be lost, double or out of order.
    pub async fn settle(mut self, what: &str) {
        let mut asked = self.traffic.end().await;
        let mut owner = self.house.owner().await;
        until("quiet", async || witness::is_quiet(&mut owner).await.then_some(())).await;
        for request in &mut asked {
            let again = request.again().await;
            assert_eq!(again, request.answer, "one key, one answer: {request:?}");
        }
        let broken = self.broken(&mut owner, &asked).await;
        assert!(broken.is_empty(), "{broken:#?}");
        let (kills, took) = (self.kills, self.begun.elapsed().as_secs());
        let figures = witness::figures(&mut owner).await;
        eprintln!("{what}: {kills} kills in {took} s; {} requests, {figures}", asked.len());
        self.house.end().await;
    }

    async fn broken(&self, owner: &mut PgConnection, asked: &[Asked]) -> Vec<String> {
        let mut broken = witness::broken(owner).await;
        broken.extend(witness::forgotten(owner, asked).await);
        let db = self.house.db().await;
        let replayed = trips::replay_all(&db, |trip| {
            let differs = !trip.differences.is_empty();
            broken.extend(differs.then(|| format!("T5: {trip:?}")));
        });
        replayed.await.expect("trips are readable");
        db.close().await;
        broken
    }
}

/// Whose operator may hand out as much as he likes by himself, and where the same two may ride in
/// circles all day without being looked at.
fn settings() -> Settings {
    let settings = [
        ("SMARTLINE_ADMIN_ALONE", "1000000000"),
        ("SMARTLINE_ADMIN_ALONE_PER_DAY", "1000000000"),
        ("SMARTLINE_FRAUD", "velocity.hold=0,velocity.block=0,circular.flag=0,circular.hold=0"),
    ];
    settings.map(|(name, value)| (name, value.to_owned())).into()
}
