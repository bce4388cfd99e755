//! Configuration: environment variables, flags for what is no secret, sane defaults.
//!
//! The only reader of the environment. Secrets have no flag: each is `NAME` or, for mounted files,
//! `NAME_FILE`. Production refuses defaults that are fit for a laptop only.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use base::BasisPoints;
use clap::{Args, ValueEnum};
use dispatch::{DispatchConfig, Swap};
use fleet::{FenceTerms, FleetConfig};
use fraud::{FraudConfig, Thresholds};
use ops::Rates;
use secrecy::SecretString;
use trips::{Ahead, TripsConfig};

use crate::gateway::GatewayArgs;
use crate::payouts::PayoutArgs;
use crate::providers::ProviderArgs;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    Development,
    Staging,
    Production,
}

/// A switch on the wire of the environment: `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogStyle {
    /// One JSON object a line.
    Json,
    /// For people.
    Plain,
}

/// Where the data is. Secrets come from the environment: DATABASE_URL (an own PostgreSQL ≥ 15;
/// without it a private one is kept in the data directory) and DATABASE_DIRECT_URL (for migrations
/// when DATABASE_URL is a transaction pooler).
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Where the program keeps its data.
    #[arg(long, env = "SMARTLINE_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Folder with PostgreSQL's programs (initdb, postgres); found by itself where it is installed.
    #[arg(long, env = "SMARTLINE_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// development, staging or production; production refuses defaults.
    #[arg(long, env = "SMARTLINE_ENV", value_enum, default_value = "development")]
    pub stage: Stage,
    /// What to log, as in RUST_LOG: info, debug, info,trips=debug …
    #[arg(long, env = "SMARTLINE_LOG", default_value = "info,sqlx=warn")]
    pub log: String,
    /// Log format.
    #[arg(long, env = "SMARTLINE_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogStyle,
}

/// Run the server. Secrets come from the environment, each also as NAME_FILE: REDIS_URL (several
/// nodes count their limits together there; each alone while it is away), JWT_SECRET (≥ 32
/// characters; the private database's owner gets one made and kept in the data directory),
/// JWT_SECRET_PREVIOUS (only verifies), SMARTLINE_METRICS_TOKEN (lets /metrics be read on the main
/// address), FCM_SERVICE_ACCOUNT (the key file's JSON), APNS_KEY (the .p8 file), TWILIO_AUTH_TOKEN,
/// SMTP_URL (smtps://user:password@host). Pushes, SMS and e-mail go out where theirs are set.
/// KASHIER_API_KEY and KASHIER_SECRET_KEY (the payment gateway's two) let people top up.
/// PAYOUT_API_KEY and PAYOUT_WEBHOOK_KEY (the payout provider's) let withdrawals be paid out by it.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Where to listen for apps.
    #[arg(long, env = "SMARTLINE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where to serve /metrics and /health for operators; a taken port is a warning.
    #[arg(long, env = "SMARTLINE_OPS_LISTEN", default_value = "127.0.0.1:9464")]
    pub ops_listen: SocketAddr,
    /// Rate limits of requests and sockets; `off` is refused in production.
    #[arg(long, env = "SMARTLINE_RATE_LIMITS", value_enum, default_value = "on")]
    pub rate_limits: Switch,
    /// Own limits, name=count/seconds or name=count/seconds:burst, comma separated; those not named
    /// keep their defaults: login, login-phone, signup, check-phone, check-phone-phone, refresh,
    /// trip-request, driver-response, bid-pick, trip-status, location, location-batch, nearby,
    /// estimate, promo-redeem, report, socket, deposit, withdrawal, dispute, gateway-notice, other,
    /// address (all that comes from one address, connections too).
    #[arg(long, env = "SMARTLINE_RATES")]
    pub rates: Option<Rates>,
    /// Origins of browsers that may call (comma separated), for example https://app.example.com.
    #[arg(long, env = "SMARTLINE_ORIGINS", value_delimiter = ',')]
    pub origins: Vec<String>,
    /// Connections that one address may hold at once; not counted behind a proxy, where all come
    /// from its address.
    #[arg(long, env = "SMARTLINE_CONNECTIONS_PER_ADDRESS", default_value = "2000")]
    pub connections_per_address: NonZeroUsize,
    /// Sockets that one address (IPv6: its /64) may hold at once. A carrier puts many phones behind
    /// one address.
    #[arg(long, env = "SMARTLINE_SOCKETS_PER_ADDRESS", default_value = "1000")]
    pub sockets_per_address: NonZeroUsize,
    /// Requests that are answered at once; one more is refused, and of what matters less some
    /// sooner. An address may have an eighth of them under way.
    #[arg(long, env = "SMARTLINE_REQUESTS_AT_ONCE", default_value = "1024")]
    pub requests_at_once: NonZeroUsize,
    /// How many proxies in front may be trusted with X-Forwarded-For.
    #[arg(long, env = "SMARTLINE_TRUSTED_PROXIES", default_value_t = 0)]
    pub trusted_proxies: usize,
    /// Threads for apps' sockets; without it one for every two cores. One serves some ten thousand
    /// messages a second.
    #[arg(long, env = "SMARTLINE_SOCKET_THREADS")]
    pub socket_threads: Option<NonZeroUsize>,
    /// Road files, for ways and arrival times along streets: one city's (`smartline admin roads
    /// build`), or a folder of them.
    #[arg(long, env = "SMARTLINE_ROADS")]
    pub roads: Option<PathBuf>,
    /// An OSRM server, like http://osrm:5000, for ways where no road file knows the streets.
    #[arg(long, env = "OSRM_URL")]
    pub osrm_url: Option<String>,
    /// Mean speeds per zone pair and time of day (CSV, plain or .xz), for quotes and arrival times.
    #[arg(long, env = "SMARTLINE_SPEED_TABLE", requires = "speed_zones")]
    pub speed_table: Option<PathBuf>,
    /// The zones of the speed table (GeoJSON).
    #[arg(long, env = "SMARTLINE_SPEED_ZONES")]
    pub speed_zones: Option<PathBuf>,
    /// The time zone of the speed table's minutes.
    #[arg(long, env = "SMARTLINE_SPEED_TIME_ZONE", default_value = "Africa/Cairo")]
    pub speed_time_zone: String,
    /// Rest after a completed trip, seconds, in place of each city's own.
    #[arg(long, env = "SMARTLINE_COOLDOWN_S")]
    pub cooldown_s: Option<u32>,
    /// So far beyond the edge of a fence no driver has left it, metres.
    #[arg(long, env = "SMARTLINE_FENCE_MARGIN_M", default_value_t = 75,
        value_parser = clap::value_parser!(u16).range(0..=2_000))]
    pub fence_margin_m: u16,
    /// So long beyond that margin, seconds, and he has left it; with it his place in the queue of
    /// an airport.
    #[arg(long, env = "SMARTLINE_FENCE_LEAVE_S", default_value_t = 60,
        value_parser = clap::value_parser!(u16).range(0..=3_600))]
    pub fence_leave_s: u16,
    /// So long within a fence, seconds, and he stays there.
    #[arg(long, env = "SMARTLINE_FENCE_DWELL_S", default_value_t = 300,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub fence_dwell_s: u16,
    /// So many trips of an airport refused send a driver to the end of its queue.
    #[arg(long, env = "SMARTLINE_AIRPORT_REFUSALS", default_value_t = 2,
        value_parser = clap::value_parser!(u8).range(1..))]
    pub airport_refusals: u8,
    /// Least that may be bid for a trip, in percent of its quoted price.
    #[arg(long, env = "SMARTLINE_BID_FLOOR", default_value_t = 80,
        value_parser = clap::value_parser!(u16).range(1..=100))]
    pub bid_floor: u16,
    /// Most that may be bid.
    #[arg(long, env = "SMARTLINE_BID_CEILING", default_value_t = 150,
        value_parser = clap::value_parser!(u16).range(100..=500))]
    pub bid_ceiling: u16,
    /// A rider who waits for his driver is given another one who is so many seconds nearer at
    /// least, once, where drivers are found by batched; 0: never.
    #[arg(long, env = "SMARTLINE_SWAP_GAIN_S", default_value_t = 240,
        value_parser = clap::value_parser!(u16).range(0..=3_600))]
    pub swap_gain_s: u16,
    /// What one tick of a city's search for drivers may take, milliseconds. A city that wants more
    /// does without something, in steps: longer_windows, simple_distance, queued; and comes back.
    #[arg(long, env = "SMARTLINE_DISPATCH_BUDGET_MS", default_value_t = 200,
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub dispatch_budget_ms: u16,
    /// Least that a trip is booked ahead, seconds.
    #[arg(long, env = "SMARTLINE_SCHEDULED_LEAST_S", default_value_t = 1_800,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub scheduled_least_s: u32,
    /// So long before its pickup a driver is searched for it, seconds.
    #[arg(long, env = "SMARTLINE_SCHEDULED_SEARCH_S", default_value_t = 900,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub scheduled_search_s: u32,
    /// A driver who accepts it earlier before the pickup than this, seconds, must confirm;
    #[arg(long, env = "SMARTLINE_SCHEDULED_EARLY_S", default_value_t = 600,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub scheduled_early_s: u32,
    /// until so long before it, seconds.
    #[arg(long, env = "SMARTLINE_SCHEDULED_CONFIRM_S", default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub scheduled_confirm_s: u32,
    /// Own thresholds of fraud, name=number, comma separated, 0 turns off; those not named keep
    /// their defaults: velocity.flag, velocity.hold, velocity.block, amount.times, amount.history,
    /// deposit.percent, deposit.least, circular.flag, circular.hold, circular.metres, device.flag,
    /// device.hold, failures.hold, failures.block, refused.flag, refused.hold, remember.days,
    /// teleports.flag, frozen.flag, frozen.hold, frozen.trip, replay.flag,
    /// replay.hold, replay.block, cherry.percent, cherry.offers, trend.percent, trend.offers,
    /// penalty.choosing, penalty.trend, penalty.spoofing, penalty.days.
    #[arg(long, env = "SMARTLINE_FRAUD")]
    pub fraud: Option<Thresholds>,
    /// Look at how drivers drive and which offers they take, and open cases. `off` until every node
    /// runs this version: the one before can't read such cases.
    #[arg(long, env = "SMARTLINE_CONDUCT", value_enum, default_value = "on")]
    pub conduct: Switch,
    #[command(flatten)]
    pub providers: ProviderArgs,
    #[command(flatten)]
    pub gateway: GatewayArgs,
    #[command(flatten)]
    pub payouts: PayoutArgs,
}

/// Secrets and addresses with secrets in them.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    pub database_url: Option<SecretString>,
    pub database_direct_url: Option<SecretString>,
    pub jwt: Option<SecretString>,
    pub jwt_previous: Option<SecretString>,
    pub metrics_token: Option<SecretString>,
    pub redis_url: Option<SecretString>,
    pub fcm_account: Option<SecretString>,
    pub apns_key: Option<SecretString>,
    pub twilio_token: Option<SecretString>,
    pub smtp_url: Option<SecretString>,
    pub kashier_api_key: Option<SecretString>,
    pub kashier_secret_key: Option<SecretString>,
    pub payout_api_key: Option<SecretString>,
    pub payout_webhook_key: Option<SecretString>,
}

impl Secrets {
    pub fn from_env() -> anyhow::Result<Self> {
        Ok(Self {
            database_url: secret("DATABASE_URL")?,
            database_direct_url: secret("DATABASE_DIRECT_URL")?,
            jwt: secret("JWT_SECRET")?,
            jwt_previous: secret("JWT_SECRET_PREVIOUS")?,
            metrics_token: secret("SMARTLINE_METRICS_TOKEN")?,
            redis_url: secret("REDIS_URL")?,
            fcm_account: secret("FCM_SERVICE_ACCOUNT")?,
            apns_key: secret("APNS_KEY")?,
            twilio_token: secret("TWILIO_AUTH_TOKEN")?,
            smtp_url: secret("SMTP_URL")?,
            kashier_api_key: secret("KASHIER_API_KEY")?,
            kashier_secret_key: secret("KASHIER_SECRET_KEY")?,
            payout_api_key: secret("PAYOUT_API_KEY")?,
            payout_webhook_key: secret("PAYOUT_WEBHOOK_KEY")?,
        })
    }
}

/// `NAME`, or the content of the file that `NAME_FILE` names; empty counts as absent.
fn secret(name: &str) -> anyhow::Result<Option<SecretString>> {
    let file = format!("{name}_FILE");
    let text = match (std::env::var(name).ok(), std::env::var(&file).ok()) {
        (Some(_), Some(_)) => bail!("set either {name} or {file}, not both"),
        (Some(value), None) => value,
        (None, Some(path)) => {
            std::fs::read_to_string(&path).with_context(|| format!("{file}: can't read {path}"))?
        }
        (None, None) => return Ok(None),
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| SecretString::from(text.to_owned())))
}

impl ServeArgs {
    /// How dispatch runs: its presets, with the bounds of bids and the budget that are configured.
    pub fn dispatch(&self) -> DispatchConfig {
        let mut config = DispatchConfig::default();
        let percent = |percent: u16| BasisPoints(i64::from(percent) * 100);
        if let Some(bids) = &mut config.rules.presets.broadcast_bid.bids {
            bids.floor = percent(self.bid_floor);
            bids.ceiling = percent(self.bid_ceiling);
        }
        let gain = Duration::from_secs(self.swap_gain_s.into());
        let swap = Swap { gain, ..Swap::default() };
        config.rules.presets.batched.swap = (self.swap_gain_s > 0).then_some(swap);
        config.rules.relief.budget = Duration::from_millis(self.dispatch_budget_ms.into());
        config
    }

    /// How trips are run.
    pub fn trips(&self) -> TripsConfig {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let ahead = Ahead {
            least: seconds(self.scheduled_least_s),
            search: seconds(self.scheduled_search_s),
            early: seconds(self.scheduled_early_s),
            confirm: seconds(self.scheduled_confirm_s),
            ..Ahead::default()
        };
        TripsConfig { ahead, ..TripsConfig::default() }
    }

    /// How accounts are looked at.
    pub fn fraud(&self) -> FraudConfig {
        let mut config = FraudConfig::default();
        config.thresholds = self.fraud.unwrap_or(config.thresholds);
        config.watches_driving = self.conduct == Switch::On;
        config
    }

    /// How the fleet is kept.
    pub fn fleet(&self) -> FleetConfig {
        let seconds = |seconds: u16| Duration::from_secs(seconds.into());
        FleetConfig {
            cooldown: self.cooldown_s.map(|s| Duration::from_secs(s.into())),
            fences: FenceTerms {
                margin_m: self.fence_margin_m.into(),
                leave_after: seconds(self.fence_leave_s),
                dwell: seconds(self.fence_dwell_s),
                refusals: self.airport_refusals,
            },
            ..FleetConfig::default()
        }
    }

    /// Refuses what would be unsafe where it runs.
    pub fn check(&self, secrets: &Secrets) -> anyhow::Result<()> {
        self.gateway.check(self.data.stage, secrets.kashier_api_key.as_ref())?;
        if !(self.scheduled_confirm_s < self.scheduled_early_s
            && self.scheduled_early_s <= self.scheduled_search_s)
        {
            bail!("SMARTLINE_SCHEDULED_SEARCH_S, EARLY_S and CONFIRM_S come in that order");
        }
        if self.data.stage != Stage::Production {
            return Ok(());
        }
        if self.rate_limits == Switch::Off {
            bail!("SMARTLINE_RATE_LIMITS=off is not allowed in production");
        }
        if secrets.database_url.is_none() {
            bail!("production needs DATABASE_URL: a PostgreSQL of its own, with backups");
        }
        if secrets.jwt.is_none() {
            bail!("production needs JWT_SECRET (at least 32 characters)");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn parse(args: &[&str]) -> ServeArgs {
        Probe::parse_from(std::iter::once(&"probe").chain(args)).serve
    }

    #[test]
    fn the_example_lists_every_setting() {
        let example = include_str!("../../.env.example");
        let lines: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#')).collect();
        let command = <Probe as clap::CommandFactory>::command();
        for name in command.get_arguments().filter_map(|argument| argument.get_env()) {
            let name = name.to_str().expect("a plain name");
            let is_listed = lines.iter().any(|line| line.split('=').next() == Some(name));
            assert!(is_listed, "{name}");
        }
    }

    #[test]
    fn the_limits_are_documented_as_they_are() {
        let example = include_str!("../../.env.example");
        let line = example.lines().find_map(|line| line.strip_prefix("#SMARTLINE_RATES="));
        assert_eq!(line, Some(Rates::default().to_string().as_str()));
        let help = <Probe as clap::CommandFactory>::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<String>();
        let names: Vec<_> = ops::Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert!(help.contains(&names.join(",")), "{help}");
        assert_eq!(parse(&["--rates", "login=3/60"]).rates, "login=3/60".parse().ok());
    }

    #[test]
    fn the_thresholds_are_documented_as_they_are() {
        let example = include_str!("../../.env.example");
        let line = example.lines().find_map(|line| line.strip_prefix("#SMARTLINE_FRAUD="));
        assert_eq!(line, Some(Thresholds::default().to_string().as_str()));
        let help = <Probe as clap::CommandFactory>::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<String>();
        let names: Vec<_> =
            fraud::Threshold::ALL.iter().map(|threshold| threshold.name()).collect();
        assert!(help.contains(&names.join(",")), "{help}");
        assert_eq!(parse(&["--fraud", "velocity.hold=3"]).fraud, "velocity.hold=3".parse().ok());
    }

    #[test]
    fn drivers_are_looked_at_unless_it_is_switched_off() {
        assert_eq!(parse(&[]).fraud(), FraudConfig::default());
        assert!(parse(&["--conduct", "on"]).fraud().watches_driving);
        assert!(!parse(&["--conduct", "off"]).fraud().watches_driving);
        let example = include_str!("../../.env.example");
        assert!(example.lines().any(|line| line == "#SMARTLINE_CONDUCT=on"));
    }

    #[test]
    fn bids_go_by_what_is_documented() {
        let bids = |args: &[&str]| {
            let rules = parse(args).dispatch().rules;
            let bids = rules.presets.broadcast_bid.bids.expect("prices are bid");
            (bids.floor.0, bids.ceiling.0)
        };
        assert_eq!(bids(&[]), (8_000, 15_000));
        assert_eq!(parse(&[]).dispatch(), DispatchConfig::default());
        assert_eq!(bids(&["--bid-floor", "95", "--bid-ceiling", "120"]), (9_500, 12_000));
        let example = include_str!("../../.env.example");
        for line in ["#SMARTLINE_BID_FLOOR=80", "#SMARTLINE_BID_CEILING=150"] {
            assert!(example.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn a_citys_tick_may_take_what_is_documented() {
        let budget = |args: &[&str]| parse(args).dispatch().rules.relief.budget;
        assert_eq!(budget(&[]), Duration::from_millis(200));
        assert_eq!(budget(&["--dispatch-budget-ms", "50"]), Duration::from_millis(50));
        let example = include_str!("../../.env.example");
        let line = "#SMARTLINE_DISPATCH_BUDGET_MS=200";
        assert!(example.lines().any(|found| found == line), "{line}");
    }

    #[test]
    fn drivers_are_swapped_as_documented() {
        let swap = |args: &[&str]| parse(args).dispatch().rules.presets.batched.swap;
        let gain = |seconds| Swap { gain: Duration::from_secs(seconds), ..Swap::default() };
        assert_eq!(swap(&["--swap-gain-s", "90"]), Some(gain(90)));
        assert_eq!(swap(&["--swap-gain-s", "0"]), None);
        let example = include_str!("../../.env.example");
        let line = "#SMARTLINE_SWAP_GAIN_S=240";
        assert!(example.lines().any(|found| found == line), "{line}");
    }

    #[test]
    fn trips_ahead_go_by_what_is_documented() {
        assert_eq!(parse(&[]).trips().ahead, Ahead::default());
        let own = ["--scheduled-least-s", "5", "--scheduled-search-s", "4"];
        let more = ["--scheduled-early-s", "3", "--scheduled-confirm-s", "2"];
        let ahead = parse(&[own, more].concat()).trips().ahead;
        let seconds = [ahead.least, ahead.search, ahead.early, ahead.confirm].map(|d| d.as_secs());
        assert_eq!(seconds, [5, 4, 3, 2]);
        let late = parse(&["--scheduled-confirm-s", "600"]);
        assert!(late.check(&Secrets::default()).is_err());
        let example = include_str!("../../.env.example");
        for line in [
            "#SMARTLINE_SCHEDULED_LEAST_S=1800",
            "#SMARTLINE_SCHEDULED_SEARCH_S=900",
            "#SMARTLINE_SCHEDULED_EARLY_S=600",
            "#SMARTLINE_SCHEDULED_CONFIRM_S=300",
        ] {
            assert!(example.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn fences_go_by_what_is_documented() {
        assert_eq!(parse(&[]).fleet().fences, FenceTerms::default());
        let own = ["--fence-margin-m", "10", "--fence-leave-s", "20", "--fence-dwell-s", "30"];
        let terms = parse(&own).fleet().fences;
        assert_eq!(
            (terms.margin_m, terms.leave_after, terms.dwell),
            (10.0, Duration::from_secs(20), Duration::from_secs(30),)
        );
        assert_eq!(parse(&["--airport-refusals", "1"]).fleet().fences.refusals, 1);
        let example = include_str!("../../.env.example");
        for line in [
            "#SMARTLINE_FENCE_MARGIN_M=75",
            "#SMARTLINE_FENCE_LEAVE_S=60",
            "#SMARTLINE_FENCE_DWELL_S=300",
            "#SMARTLINE_AIRPORT_REFUSALS=2",
        ] {
            assert!(example.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn a_laptop_needs_no_configuration_and_production_refuses_defaults() {
        let check = |args: &[&str], secrets: &Secrets| parse(args).check(secrets).is_ok();
        let full = Secrets {
            database_url: Some("postgres://x".to_owned().into()),
            jwt: Some("x".repeat(32).into()),
            ..Secrets::default()
        };
        assert!(check(&[], &Secrets::default()));
        assert!(!check(&["--stage", "production"], &Secrets::default()));
        assert!(check(&["--stage", "production"], &full));
        assert!(!check(&["--stage", "production", "--rate-limits", "off"], &full));
    }
}
