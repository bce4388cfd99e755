//! `smartline admin` and `smartline migrate`: operators' commands at the terminal.

use std::io::{BufRead, IsTerminal};

use anyhow::Context;
use base::{BusinessDay, Clock, Dice, DriverId, TripId};
use books::{AskedBy, Books};
use clap::{Args, Subcommand};
use identity::{HashCost, Identity, IdentityError, Keys, Settings};
use ops::{Breakers, Tasks};
use payments::{Payments, PaymentsConfig};
use storage::{Db, MigrationState, Who};

use crate::config::{DataArgs, Secrets};
use crate::database::{find_database, open_database};
use crate::gateway::GatewayArgs;
use crate::roads::RoadsCommand;
use crate::server::{runtime, slow};
use crate::{keys, roads};

#[derive(Subcommand, Clone, Debug)]
pub enum AdminCommand {
    /// Make an admin account. The password is read from standard input, or made and printed once
    /// when standard input is a terminal.
    Create {
        /// Egyptian mobile number, for example 01012345678.
        #[arg(long)]
        phone: String,
        #[arg(long)]
        name: String,
    },
    /// Print a link that opens the live map of the city for this admin: good for one use, within a
    /// minute.
    Link {
        /// The admin's phone.
        #[arg(long)]
        phone: String,
        /// Where the server is reached from the browser.
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        url: String,
        /// Number of the city to show; the one where most drivers work when absent.
        #[arg(long)]
        city: Option<i16>,
    },
    /// Build trips from their events again and compare them with their rows. Of a single trip each
    /// round of its search that was kept (a week) is decided again, too. Ends with an error when
    /// something differs.
    Replay(#[command(flatten)] Replayable),
    /// Compare a business day's ledger, trips, deposits and withdrawals with each other and, where
    /// its keys are set, with the payment gateway's list. Ends with an error when something does
    /// not fit.
    Reconcile {
        /// The day in Cairo, for example 2026-01-31; yesterday when absent.
        #[arg(long, value_parser = business_day)]
        day: Option<BusinessDay>,
        #[command(flatten)]
        gateway: Box<GatewayArgs>,
    },
    /// Road files, by which arrival times follow the streets.
    #[command(subcommand)]
    Roads(RoadsCommand),
}

fn business_day(text: &str) -> Result<BusinessDay, &'static str> {
    BusinessDay::parse(text).ok_or("not a day of the years 2000 to 2999, like 2026-01-31")
}

/// Which trips are replayed.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Replayable {
    /// This one.
    #[arg(long)]
    trip: Option<TripId>,
    /// All of them, newest first.
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand, Clone, Debug)]
pub enum MigrateCommand {
    /// Apply what is missing.
    Up,
    /// Take back every migration above a version; 0 empties the database.
    Down {
        #[arg(long)]
        to: i64,
    },
    /// Show each migration and whether it is applied.
    Status,
}

pub fn run_admin(data: &DataArgs, command: &AdminCommand) -> anyhow::Result<()> {
    // Needs no database.
    if let AdminCommand::Roads(command) = command {
        return roads::run(command);
    }
    let secrets = Secrets::from_env()?;
    runtime()?.block_on(async {
        let database = open_database(data, &secrets).await?;
        let secret = keys::signing_key(secrets.jwt.as_ref(), &data.data_dir)?;
        let settings = Settings {
            keys: Keys { secret, previous: None },
            hash_cost: HashCost::Standard,
            hash_slots: 1,
        };
        let tasks = Tasks::new();
        let identity = Identity::start(database.db.clone(), &tasks, Clock::system(), &settings)?;
        match command {
            AdminCommand::Create { phone, name } => create(&identity, phone, name).await?,
            AdminCommand::Link { phone, url, city } => link(&identity, phone, url, *city).await?,
            AdminCommand::Replay(which) => replay(&database.db, which).await?,
            AdminCommand::Reconcile { day, gateway } => {
                reconcile(&database.db, *day, gateway.payments(&secrets)?).await?;
            }
            // Done above.
            AdminCommand::Roads(_) => {}
        }
        database.close().await
    })
}

#[expect(clippy::print_stdout, reason = "the made password is this command's answer")]
async fn create(identity: &Identity, phone: &str, name: &str) -> anyhow::Result<()> {
    let given = given_password()?;
    let password = given.clone().unwrap_or_else(made_password);
    let user = identity.create_admin(phone, name, &password).await?;
    println!("admin {user} created for {phone}");
    if given.is_none() {
        println!("password (shown once): {password}");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the link is this command's answer")]
async fn link(
    identity: &Identity,
    phone: &str,
    url: &str,
    city: Option<i16>,
) -> anyhow::Result<()> {
    let code = identity.login_code(phone).await.map_err(|error| match error {
        IdentityError::InvalidCredentials => {
            anyhow::anyhow!("{phone} has no account here: make one with `smartline admin create`")
        }
        other => other.into(),
    })?;
    let city = city.map(|city| format!("?city={city}")).unwrap_or_default();
    println!("{}/live{city}#{code}", url.trim_end_matches('/'));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was found is this command's answer")]
async fn replay(db: &Db, which: &Replayable) -> anyhow::Result<()> {
    let (mut seen, mut wrong) = (0u64, 0u64);
    let mut tell = |replayed: trips::Replayed| {
        seen += 1;
        let (trip, events) = (replayed.trip, replayed.events);
        if replayed.differences.is_empty() {
            if which.trip.is_some() {
                println!("trip {trip}: {events} events make its row");
            } else if seen % 1000 == 0 {
                eprintln!("{seen} trips so far");
            }
            return;
        }
        wrong += 1;
        println!("trip {trip}: {events} events do not make its row");
        replayed.differences.iter().for_each(|difference| println!("  {difference}"));
    };
    let mut rounds = 0;
    match which.trip {
        Some(id) => {
            let replayed = trips::replay(db, id).await?;
            tell(replayed.with_context(|| format!("there is no trip {id}"))?);
            rounds = decide_again(db, id).await?;
        }
        None => trips::replay_all(db, tell).await?,
    }
    println!("{seen} trips replayed, {wrong} differ");
    anyhow::ensure!(wrong == 0, "{wrong} of {seen} trips differ from their events");
    anyhow::ensure!(rounds == 0, "{rounds} rounds are decided otherwise than they were");
    Ok(())
}

/// How many rounds of the trip's search come out otherwise than they did.
#[expect(clippy::print_stdout, reason = "what was found is this command's answer")]
async fn decide_again(db: &Db, trip: TripId) -> anyhow::Result<usize> {
    let (rounds, unreadable) = dispatch::replay_trip(db, &Who::System, trip).await?;
    let names = |drivers: &[DriverId]| {
        let names: Vec<String> = drivers.iter().map(DriverId::to_string).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    for round in &rounds {
        let (looked, searches) = (round.lines.len(), round.searches);
        println!(
            "round {} at {}: {}, {looked} drivers looked at for this trip, {searches} searches \
             decided together",
            round.round, round.at, round.strategy
        );
        println!("  asked then: {}", names(&round.asked));
        match round.same {
            true => println!("  decided again: the same"),
            false => {
                println!("  decided again: otherwise; asked now: {}", names(&round.asked_again))
            }
        }
    }
    let differ = rounds.iter().filter(|round| !round.same).count();
    println!("{} rounds decided again, {differ} differ", rounds.len());
    anyhow::ensure!(
        unreadable == 0,
        "{unreadable} rounds were kept by another version: replay them with that one"
    );
    Ok(differ)
}

#[expect(clippy::print_stdout, reason = "what was found is this command's answer")]
async fn reconcile(
    db: &Db,
    day: Option<BusinessDay>,
    config: PaymentsConfig,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let books = Books::new(db.clone(), slow(db), clock.clone());
    let breakers = Breakers::new(clock.clone());
    let payments = Payments::new(db.clone(), clock, Dice::system(), &breakers, config)?;
    let day = day.unwrap_or_else(|| books.today().before());
    let run = flows::look_at_day(&books, &payments, day, AskedBy::Terminal).await?;
    let (faults, opened) = (run.faults.unwrap_or(0), run.opened.unwrap_or(0));
    for finding in books.findings_of_day(day).await? {
        let books::FindingView { kind, subject, expected, actual, .. } = finding;
        println!("{kind} {subject}: expected {expected}, found {actual}");
    }
    println!("{day}: {faults} faults, {opened} of them new");
    if let Some(why) = run.failure {
        anyhow::bail!("not all of {day} could be looked at: {why}");
    }
    anyhow::ensure!(faults == 0, "{faults} things on {day} do not fit");
    Ok(())
}

/// The first line of standard input; none at a terminal.
fn given_password() -> anyhow::Result<Option<String>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Ok(None);
    }
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    let line = line.trim_end_matches(['\n', '\r']);
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

/// Twenty letters and digits, at least one of each.
fn made_password() -> String {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let picked = Dice::secret::<18>().map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]);
    format!("{}a7", String::from_utf8_lossy(&picked))
}

#[expect(clippy::print_stdout, reason = "the listing is this command's answer")]
pub fn run_migrate(data: &DataArgs, command: &MigrateCommand) -> anyhow::Result<()> {
    let secrets = Secrets::from_env()?;
    runtime()?.block_on(async {
        let place = find_database(data, &secrets).await?;
        match command {
            MigrateCommand::Up => {
                storage::migrate(&place.owner, place.address.login()).await?;
                println!("the schema is up to date");
            }
            MigrateCommand::Down { to } => {
                storage::migrate_down(&place.owner, *to).await?;
                println!("migrations above {to} are taken back");
            }
            MigrateCommand::Status => {
                for row in storage::migration_status(&place.owner).await? {
                    println!("{:04} {:<16} {}", row.version, row.name, state(row.state));
                }
            }
        }
        if let Some(cluster) = place.cluster {
            cluster.stop().await;
        }
        Ok(())
    })
}

fn state(state: MigrationState) -> String {
    match state {
        MigrationState::Pending => "not applied".to_owned(),
        MigrationState::Applied { at } => format!("applied {at}"),
        MigrationState::Changed => "applied, but its file has changed since".to_owned(),
        MigrationState::Unknown => "applied by a newer program".to_owned(),
    }
}
