//! What the run is asked to do: flags, checked once.
//!
//! Owns the command line. Guarantees that what the rest of the program reads is in range.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rand::{Rng, RngExt};

use crate::city::{Scenario, Start};

/// Runs a city against a SmartLine server and judges what comes back.
///
/// A fleet of drivers and a pool of riders sign up, connect over real sockets and travel: drivers
/// send their position, weigh offers, fetch riders and bring them home; riders ask for a price,
/// book, follow their trip and pay. Nothing but the wire is used. While it runs the program shows
/// what happens; at the end it writes report.txt, report.json and report.html and exits with
/// 1 if any promise of the server was broken, 2 if the run itself could not be made.
///
/// `loadtest sim` instead plays the dispatch engine on virtual time, without any server.
///
/// Hundreds of accounts come from one address, so start the server with SMARTLINE_RATE_LIMITS=off.
#[derive(Parser, Clone, Debug)]
#[command(name = "loadtest", version)]
pub struct Args {
    /// The server, http only.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    #[arg(long, value_enum, default_value = "manhattan")]
    pub scenario: Scenario,
    /// An admin's phone: he approves drivers and tops wallets up.
    #[arg(long, env = "LOADTEST_ADMIN_PHONE")]
    pub admin_phone: String,
    /// His password.
    #[arg(long, env = "LOADTEST_ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: String,
    /// How the city is to find drivers from now on (first_accept, batched, …); without it, as it
    /// does.
    #[arg(long)]
    pub strategy: Option<String>,
    /// Minutes to run before winding down; 0 runs until Ctrl-C.
    #[arg(long, default_value_t = 3.0)]
    pub minutes: f64,

    /// Drivers, each with a socket of his own.
    #[arg(long, default_value_t = 300, help_heading = "Fleet")]
    pub drivers: u32,
    /// Most rider accounts; riders take one trip after another. 0 means twice the drivers.
    #[arg(long, default_value_t = 0, help_heading = "Fleet")]
    pub riders: u32,
    /// Chance that a driver takes an offer.
    #[arg(long, default_value_t = 0.85, help_heading = "Fleet")]
    pub acceptance: f64,
    /// How long a driver looks at an offer, seconds, from-to. Offers that outlive it expire.
    #[arg(long, default_value = "1-5", help_heading = "Fleet")]
    pub think: Span,
    /// Time between two positions of a driver, seconds, from-to.
    #[arg(long, default_value = "1-3", help_heading = "Fleet")]
    pub every: Span,
    /// Encoding of positions.
    #[arg(long, value_enum, default_value = "mixed", help_heading = "Fleet")]
    pub format: Format,
    /// Lost connections per hour and client, driver or travelling rider.
    #[arg(long, default_value_t = 2.0, help_heading = "Fleet")]
    pub disconnects: f64,
    /// How long a lost client stays away, seconds, from-to.
    #[arg(long, default_value = "1-8", help_heading = "Fleet")]
    pub away: Span,
    /// Chance that a driver gives an accepted trip back before the pickup.
    #[arg(long, default_value_t = 0.01, help_heading = "Fleet")]
    pub driver_cancels: f64,

    /// Share of the recorded demand; 1 is every rider of the city. Without it, as much as keeps
    /// --load of the fleet busy.
    #[arg(long, help_heading = "Demand")]
    pub demand: Option<f64>,
    /// Share of the fleet that demand should keep busy, when --demand is not given.
    #[arg(long, default_value_t = 0.7, help_heading = "Demand")]
    pub load: f64,
    /// The server's rest after a trip, seconds (SMARTLINE_COOLDOWN_S there): only to estimate how
    /// much demand the fleet can serve.
    #[arg(long, default_value_t = 60.0, help_heading = "Demand")]
    pub cooldown: f64,
    /// Day and time at which the city starts: Mon, Tue or Wed.
    #[arg(long, default_value = "Tue 18:00", help_heading = "Demand")]
    pub start: Start,
    /// Time-lapse: the city's clock and its vehicles run this many times faster.
    #[arg(long, default_value_t = 6.0, help_heading = "Demand")]
    pub lapse: f64,
    /// How long a rider waits for a driver, seconds of real time, from-to.
    #[arg(long, default_value = "60-180", help_heading = "Demand")]
    pub patience: Span,
    /// Chance that a rider changes his mind soon after asking.
    #[arg(long, default_value_t = 0.02, help_heading = "Demand")]
    pub rider_cancels: f64,
    /// Share of riders who pay from a wallet (topped up by the admin), the rest pay cash.
    #[arg(long, default_value_t = 0.3, help_heading = "Demand")]
    pub wallet_share: f64,
    /// Share of riders who look at the map of near drivers before they ask.
    #[arg(long, default_value_t = 0.2, help_heading = "Demand")]
    pub watchers: f64,

    /// Seed of phones, draws and choices; accounts of a seed are reused by later runs.
    #[arg(long, default_value_t = 2018, help_heading = "Run")]
    pub seed: u64,
    /// Where the report goes; made if missing.
    #[arg(long, default_value = "report", help_heading = "Run")]
    pub report_dir: PathBuf,
    /// Where the accounts are kept between runs [default: accounts.json in the report directory]
    #[arg(long, help_heading = "Run")]
    pub accounts: Option<PathBuf>,
    /// Process id of the server on this machine: its CPU and memory go into the report.
    #[arg(long, help_heading = "Run")]
    pub server_pid: Option<u32>,
    /// Sign-ups and log-ins at a time (each costs the server a password hash).
    #[arg(long, default_value_t = 4, help_heading = "Run")]
    pub signups: u32,
    /// Seconds that trips get to end by themselves once nobody asks any more.
    #[arg(long, default_value_t = 90, help_heading = "Run")]
    pub wind_down: u64,
    /// Say every refusal and reconnect as it happens.
    #[arg(long, short, help_heading = "Run")]
    pub verbose: bool,
}

impl Args {
    /// Reads the command line and refuses what can't be run.
    pub fn checked() -> Result<Self> {
        let mut args = Self::parse();
        args.url = args.url.trim_end_matches('/').to_owned();
        ensure!(args.url.starts_with("http://"), "--url must begin with http://, not {}", args.url);
        ensure!((1..=15_000).contains(&args.drivers), "--drivers must be 1 to 15000");
        if args.riders == 0 {
            args.riders = args.drivers * 2 + 20;
        }
        for (name, share) in [
            ("acceptance", args.acceptance),
            ("driver-cancels", args.driver_cancels),
            ("rider-cancels", args.rider_cancels),
            ("wallet-share", args.wallet_share),
            ("watchers", args.watchers),
        ] {
            ensure!((0.0..=1.0).contains(&share), "--{name} must be between 0 and 1");
        }
        ensure!((0.1..=60.0).contains(&args.lapse), "--lapse must be between 0.1 and 60");
        ensure!(
            args.minutes >= 0.0 && args.disconnects >= 0.0 && args.cooldown >= 0.0,
            "times can't be negative"
        );
        ensure!(args.every.low >= 0.05, "--every must be at least 0.05 s");
        ensure!(args.demand.is_none_or(|d| d > 0.0) && args.load > 0.0, "there must be demand");
        ensure!(args.signups > 0, "--signups must be at least 1");
        Ok(args)
    }

    pub fn accounts_file(&self) -> PathBuf {
        self.accounts.clone().unwrap_or_else(|| self.report_dir.join("accounts.json"))
    }
}

/// Encoding of positions, up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Binary,
    /// Every other client binary.
    Mixed,
}

impl Format {
    pub const fn binary_for(self, index: u32) -> bool {
        match self {
            Self::Json => false,
            Self::Binary => true,
            Self::Mixed => index.is_multiple_of(2),
        }
    }
}

/// Seconds, from-to, drawn evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub low: f64,
    pub high: f64,
}

impl Span {
    pub fn draw(self, rng: &mut impl Rng) -> Duration {
        Duration::from_secs_f64(rng.random_range(self.low..=self.high))
    }

    pub fn mean_s(self) -> f64 {
        (self.low + self.high) / 2.0
    }
}

impl FromStr for Span {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<f64>().context("expected from-to, like 1-3");
        let span = Self { low: number(low)?, high: number(high)? };
        if !(0.0..=span.high).contains(&span.low) || span.high > 86_400.0 {
            bail!("expected from-to, like 1-3");
        }
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_span_is_read() {
        let check = |text: &str, expected: Option<(f64, f64)>| {
            assert_eq!(text.parse::<Span>().ok().map(|s| (s.low, s.high)), expected, "{text}");
        };
        check("1-3", Some((1.0, 3.0)));
        check("0.5 - 2", Some((0.5, 2.0)));
        check("4", Some((4.0, 4.0)));
        check("3-1", None);
        check("a-b", None);
    }
}
