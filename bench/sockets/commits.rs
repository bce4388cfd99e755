//! From a commit to the sockets: how long after PostgreSQL wrote a change of a trip do its rider
//! and its driver have the frame?
//!
//! Drivers move their trips along over their sockets, at a steady pace in all. In the product the
//! trip's own actor tells the rooms in memory once its group is committed. Beside it stands the
//! least that does it without: an INSERT and its NOTIFY as one statement, a program that listens,
//! and bare sockets; it takes no commands and checks nothing.
//!
//! When a change was committed is PostgreSQL's word (`track_commit_timestamp`), taken as it writes
//! the record and before the disk has it. When a frame came is this program's, by the same clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::crowd::Cars;
use super::pairs::{OPENING, STRIDE, book};
use super::town::{Person, Town};
use super::wire::{Dialect, Format, Socket};
use super::{Scale, echo};
use crate::cpu::Cpu;
use crate::table::{Bound, Figure, Row, quantile};

/// Changes a second, each to two sockets.
const RATE: usize = 500;
const STEPS: [&str; 3] = ["arrived", "started", "completed"];
/// Connections of the rival's writers.
const WRITERS: u32 = 20;
/// How long the last frames may take.
const LAST: Duration = Duration::from_secs(10);
/// A frame that takes longer than this is told of, with those that were late beside it.
const LATE_MS: f64 = 15.0;
const APART_US: i64 = 50_000;
const AGAIN: Duration = Duration::from_millis(20);

/// A frame that came: trip, number, microseconds since 1970.
type Heard = (String, i64, i64);
type Out = SplitSink<Socket, Message>;

/// What all ears heard, and whoever waits for the last of it.
#[derive(Default)]
struct Ears {
    heard: Arc<Mutex<Vec<Heard>>>,
    tasks: JoinSet<()>,
}

/// What one stretch showed.
struct Stretch {
    /// Milliseconds from commit to frame, sorted.
    lags: Vec<f64>,
    /// Of the program, microseconds per change.
    program_us: f64,
    missing: f64,
}

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let pairs = scale.pick(1000, 100);
    eprintln!("commits: {pairs} trips, {RATE} changes a second");
    town.drivers(pairs).await?;
    town.riders(pairs).await?;
    let mut owner = town.database().connect().await?;
    owner.execute("ALTER SYSTEM SET track_commit_timestamp = on").await?;
    drop(owner);
    town.restart().await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=scale.runs {
        town.renew_tokens().await?;
        let own = product(town, pairs).await?;
        let bare = rival(town, pairs).await?;
        // The first one warms up.
        if run > 0 {
            for (name, taken) in [("ours", &own), ("NOTIFY", &bare)] {
                let p99 = quantile(&taken.lags, 0.99);
                eprintln!("  {name}: p99 {p99:.2} ms, {:.0} µs CPU", taken.program_us);
            }
            ours.push(own);
            theirs.push(bare);
        }
    }
    Ok(rows(&ours, &theirs))
}

fn rows(ours: &[Stretch], theirs: &[Stretch]) -> Vec<Row> {
    const RIVAL: &str = "NOTIFY to bare sockets";
    let figure = |unit, of: &[Stretch], value: fn(&Stretch) -> f64| {
        Figure::new(unit, of.iter().map(value).collect())
    };
    let less = |what: String, unit, value: fn(&Stretch) -> f64| {
        Row::less(what, figure(unit, ours, value), RIVAL, figure(unit, theirs, value))
    };
    let what = format!("commit to socket, {RATE} events/s to two each");
    vec![
        less(format!("{what}: median"), "ms", |s| quantile(&s.lags, 0.5)),
        less(format!("{what}: 99 of 100"), "ms", |s| quantile(&s.lags, 0.99))
            .bound(Bound::Max(20.0)),
        less("commit to socket: program, per event".to_owned(), "µs CPU", |s| s.program_us),
        Row::alone("commit to socket: frames that did not come", {
            figure("", ours, |s| s.missing)
        })
        .bound(Bound::Max(0.0)),
    ]
}

/// Trips that are accepted, everybody's socket, then their steps at the pace.
async fn product(town: &mut Town, pairs: usize) -> anyhow::Result<Stretch> {
    let (drivers, riders) = (town.drivers(pairs).await?, town.riders(pairs).await?);
    let cars = Cars::new(pairs, STRIDE);
    let mut trips = Vec::with_capacity(pairs);
    // One after another: there is one free driver at a time, so it is his.
    for (car, (driver, rider)) in drivers.iter().zip(&riders).enumerate() {
        trips.push(book(&town.api, driver, rider, cars.spot(car, 0)).await?);
    }
    let mut ears = Ears::default();
    let mut wheels = Vec::with_capacity(pairs);
    for (people, drives) in [(&riders, false), (&drivers, true)] {
        let open = people.iter().zip(&trips).map(|(person, trip)| follow(town, person, trip));
        let sockets: Vec<_> = stream::iter(open).buffered(OPENING).try_collect().await?;
        for socket in sockets {
            let out = ears.listen(socket);
            wheels.extend(drives.then_some(out));
        }
    }
    let used = Cpu::of(town.pid())?;
    let mut beat = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    for (trip, step) in mixed(pairs) {
        beat.tick().await;
        let data = json!({"tripId": trips[trip], "status": STEPS[step]});
        let command = json!({"type": "trip.status", "data": data});
        wheels[trip].send(Message::text(command.to_string())).await?;
    }
    let count = pairs * STEPS.len();
    ears.reached(count * 2).await;
    let program = Cpu::of(town.pid())?.saturating_sub(used);
    let sql = "SELECT aggregate_id::text, seq::bigint, at FROM event_store,
               LATERAL (SELECT (extract(epoch FROM pg_xact_commit_timestamp(event_store.xmin))
                                * 1000000)::bigint AS at) AS committed
               WHERE aggregate_type = 'trip' AND aggregate_id::text = ANY($1)";
    let commits = commits(&mut town.database().connect().await?, sql, &trips).await?;
    go_home(town, &drivers).await?;
    Ok(ears.judged(&commits, count, program))
}

/// Which trip takes which step, one after the other: as in a city some trips begin while others
/// end. What follows a trip's end is most of the program's work.
fn mixed(trips: usize) -> Vec<(usize, usize)> {
    let apart = trips / STEPS.len();
    let mut all: Vec<_> = (0..trips).flat_map(|t| (0..STEPS.len()).map(move |s| (t, s))).collect();
    all.sort_by_key(|(trip, step)| (trip + step * apart, *step));
    all
}

/// A socket that follows a trip.
async fn follow(town: &Town, person: &Person, trip: &str) -> anyhow::Result<Socket> {
    let dialect = Dialect::SmartLine;
    let mut socket = dialect.open(&town.address, &person.token, Format::Json).await?;
    // The last acceptance may just be being carried out.
    while dialect.follow(&mut socket, trip).await.is_err() {
        sleep(AGAIN).await;
    }
    Ok(socket)
}

async fn go_home(town: &Town, drivers: &[Person]) -> anyhow::Result<()> {
    let home = json!({"isOnline": false});
    for driver in drivers {
        town.api.must("/drivers/status", &driver.token, &home).await?;
        town.fund(driver).await?;
    }
    Ok(())
}

/// The same number of rows at the same pace, each notified to two bare sockets.
async fn rival(town: &Town, pairs: usize) -> anyhow::Result<Stretch> {
    let pool = PgPoolOptions::new().max_connections(WRITERS).min_connections(WRITERS);
    let pool = pool.connect_with(town.database()).await?;
    pool.execute(
        "DROP TABLE IF EXISTS rival_events; CREATE TABLE rival_events
         (trip text, seq bigint, payload jsonb NOT NULL, PRIMARY KEY (trip, seq))",
    )
    .await?;
    let threads = std::thread::available_parallelism()?.get();
    let started = tokio::task::block_in_place(|| echo::start(threads, Some(town.home())));
    let (server, address) = started?;
    let trips: Vec<String> = (0..pairs).map(|trip| trip.to_string()).collect();
    let mut ears = Ears::default();
    for trip in trips.iter().chain(&trips) {
        let path = format!("out/{trip}");
        let _out = ears.listen(Dialect::Echo.open(&address, &path, Format::Json).await?);
    }
    let used = Cpu::of(server.pid())?;
    let mut beat = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    let mut writing = JoinSet::new();
    for (trip, step) in mixed(pairs) {
        beat.tick().await;
        writing.spawn(write(pool.clone(), trips[trip].clone(), i64::try_from(step)?));
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    let count = pairs * STEPS.len();
    ears.reached(count * 2).await;
    let program = Cpu::of(server.pid())?.saturating_sub(used);
    let sql = "SELECT trip, seq,
               (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
               FROM rival_events WHERE trip = ANY($1)";
    let commits = commits(&mut *pool.acquire().await?, sql, &trips).await?;
    pool.close().await;
    Ok(ears.judged(&commits, count, program))
}

async fn write(pool: PgPool, trip: String, seq: i64) -> anyhow::Result<()> {
    let frame = json!({"type": "trip.event", "room": format!("trip:{trip}"), "epoch": 1,
        "seq": seq, "data": {"event": STEPS[usize::try_from(seq)?], "tripId": trip}});
    let sql = format!(
        "WITH told AS (INSERT INTO rival_events VALUES ($1, $2, $3) RETURNING trip, payload)
         SELECT pg_notify('{}', trip || ' ' || payload::text) FROM told",
        echo::CHANNEL
    );
    sqlx::query(AssertSqlSafe(sql)).bind(trip).bind(seq).bind(frame).execute(&pool).await?;
    Ok(())
}

/// When each change of these trips was committed, microseconds since 1970.
async fn commits(
    conn: &mut PgConnection,
    sql: &'static str,
    trips: &[String],
) -> anyhow::Result<HashMap<(String, i64), i64>> {
    let rows: Vec<(String, i64, Option<i64>)> =
        sqlx::query_as(sql).bind(trips).fetch_all(conn).await?;
    let known = rows.into_iter().map(|(trip, seq, at)| Some(((trip, seq), at?)));
    known.collect::<Option<_>>().context("PostgreSQL does not keep the times of commits")
}

#[derive(Deserialize)]
struct Frame<'a> {
    r#type: &'a str,
    room: Option<&'a str>,
    seq: Option<i64>,
}

impl Ears {
    /// Notes what comes down; gives back the way up.
    fn listen(&mut self, socket: Socket) -> Out {
        let (out, mut down) = socket.split();
        let heard = Arc::clone(&self.heard);
        self.tasks.spawn(async move {
            while let Some(Ok(message)) = down.next().await {
                let at = now_us();
                let Message::Text(text) = message else { continue };
                let Ok(frame) = serde_json::from_str::<Frame<'_>>(&text) else { continue };
                let trip = frame.room.and_then(|room| room.strip_prefix("trip:"));
                if let (Some(trip), Some(seq), "trip.event") = (trip, frame.seq, frame.r#type) {
                    let came = (trip.to_owned(), seq, at);
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(came);
                }
            }
        });
        out
    }

    fn count(&self) -> usize {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Until so many came, or no more will.
    async fn reached(&self, count: usize) {
        let all = async {
            while self.count() < count {
                sleep(AGAIN).await;
            }
        };
        let begun = Instant::now();
        if timeout(LAST, all).await.is_err() {
            eprintln!("  {} of {count} frames after {:?}", self.count(), begun.elapsed());
        }
    }

    fn judged(
        self,
        commits: &HashMap<(String, i64), i64>,
        count: usize,
        program: Duration,
    ) -> Stretch {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let came = heard.into_iter().filter_map(|(trip, seq, at)| {
            let committed = *commits.get(&(trip, seq))?;
            Some((committed, (at - committed) as f64 / 1e3))
        });
        let mut came: Vec<(i64, f64)> = came.collect();
        came.sort_unstable_by_key(|(committed, _)| *committed);
        tell_stalls(&came);
        let mut lags: Vec<f64> = came.into_iter().map(|(_, lag)| lag).collect();
        lags.sort_unstable_by(f64::total_cmp);
        let missing = (count * 2) as f64 - lags.len() as f64;
        Stretch { lags, program_us: program.as_secs_f64() * 1e6 / count as f64, missing }
    }
}

/// Says when frames were late together: by commits in order, with their lags in milliseconds.
fn tell_stalls(came: &[(i64, f64)]) {
    let Some(&(first, _)) = came.first() else { return };
    let late: Vec<(i64, f64)> = came.iter().copied().filter(|(_, lag)| *lag > LATE_MS).collect();
    for stall in late.chunk_by(|a, b| b.0 - a.0 < APART_US) {
        let (from, until) = (stall[0].0 - first, stall[stall.len() - 1].0 - first);
        let most = stall.iter().map(|(_, lag)| *lag).fold(0.0, f64::max);
        eprintln!(
            "    after {:.3} s: {} frames late, of commits of {:.0} ms, by {most:.0} ms at most",
            from as f64 / 1e6,
            stall.len(),
            (until - from) as f64 / 1e3
        );
    }
}

fn now_us() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
