//! How people pay in, from the configuration. A gateway with half of its settings is a mistake and
//! no absence.

use std::time::Duration;

use anyhow::{Context, ensure};
use base::Piasters;
use clap::{Args, ValueEnum};
use ops::BreakerPolicy;
use payments::{CardLimits, DepositLimits, GatewayMode, KashierConfig, PayPage, PaymentsConfig};
use secrecy::SecretString;

use crate::config::{Secrets, Stage};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Test,
    Live,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageKind {
    /// The gateway makes a session for each payment.
    Sessions,
    /// The older page, whose address we sign ourselves.
    Hosted,
}

/// The payment gateway's hosts and names; its keys come from the environment only.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    /// Who we are at Kashier, like MID-123-456.
    #[arg(long, env = "KASHIER_MERCHANT_ID")]
    pub kashier_merchant_id: Option<String>,
    /// Whose money it is: nobody's or everybody's.
    #[arg(long, env = "KASHIER_MODE", value_enum, default_value = "test")]
    pub kashier_mode: Mode,
    /// Sessions, orders and transactions; by mode https://test-api.kashier.io or
    /// https://api.kashier.io.
    #[arg(long, env = "KASHIER_API_URL")]
    pub kashier_api_url: Option<String>,
    /// Refunds and voids; by mode https://test-fep.kashier.io or https://fep.kashier.io.
    #[arg(long, env = "KASHIER_FEP_URL")]
    pub kashier_fep_url: Option<String>,
    /// How people come to the page that they pay on.
    #[arg(long, env = "KASHIER_PAGE", value_enum, default_value = "sessions")]
    pub kashier_page: PageKind,
    /// The older page's host.
    #[arg(long, env = "KASHIER_PAGE_URL", default_value = "https://checkout.kashier.io")]
    pub kashier_page_url: String,
    /// This server as the gateway and browsers reach it, like https://api.example.com.
    #[arg(long, env = "KASHIER_PUBLIC_URL")]
    pub kashier_public_url: Option<String>,
    /// Where the app takes over after the gateway's page; `orderId` is added to it.
    #[arg(long, env = "KASHIER_APP_URL")]
    pub kashier_app_url: Option<String>,
    /// Least that is paid in at once, pounds.
    #[arg(long, env = "KASHIER_DEPOSIT_MIN", value_parser = pounds, default_value = "10")]
    pub kashier_deposit_min: Piasters,
    /// Most that is paid in at once, pounds.
    #[arg(long, env = "KASHIER_DEPOSIT_MAX", value_parser = pounds, default_value = "20000")]
    pub kashier_deposit_max: Piasters,
    /// How long what a rider authorised on a card may be used for a trip, days; banks let it fall
    /// after 7 days, some after 30.
    #[arg(long, env = "KASHIER_HOLD_DAYS", default_value = "6",
          value_parser = clap::value_parser!(u32).range(2..=30))]
    pub kashier_hold_days: u32,
}

fn pounds(text: &str) -> Result<Piasters, base::MoneyError> {
    Piasters::parse(text)
}

impl GatewayArgs {
    pub(crate) fn payments(&self, secrets: &Secrets) -> anyhow::Result<PaymentsConfig> {
        let (least, most) = (self.kashier_deposit_min, self.kashier_deposit_max);
        ensure!(
            Piasters::ZERO < least && least <= most,
            "KASHIER_DEPOSIT_MIN must be more than 0 and at most KASHIER_DEPOSIT_MAX"
        );
        Ok(PaymentsConfig {
            gateway: self.gateway(secrets)?,
            deposits: DepositLimits { least, most },
            cards: CardLimits { good_for: DAY * self.kashier_hold_days },
            calls: BreakerPolicy::DEFAULT,
        })
    }

    fn gateway(&self, secrets: &Secrets) -> anyhow::Result<Option<KashierConfig>> {
        let (api_key, secret_key) = match (&secrets.kashier_api_key, &secrets.kashier_secret_key) {
            (None, None) => return Ok(None),
            (Some(api_key), Some(secret_key)) => (api_key.clone(), secret_key.clone()),
            _ => anyhow::bail!("KASHIER_API_KEY and KASHIER_SECRET_KEY need each other"),
        };
        let needed = |value: &Option<String>, name: &str| {
            value.clone().with_context(|| format!("KASHIER_API_KEY needs {name}"))
        };
        let host = |given: &Option<String>, test: &str, live: &str| {
            let usual = match self.kashier_mode {
                Mode::Test => test,
                Mode::Live => live,
            };
            given.clone().unwrap_or_else(|| usual.to_owned())
        };
        let (api, fep) = (&self.kashier_api_url, &self.kashier_fep_url);
        Ok(Some(KashierConfig {
            merchant: needed(&self.kashier_merchant_id, "KASHIER_MERCHANT_ID")?,
            api_key,
            secret_key,
            mode: match self.kashier_mode {
                Mode::Test => GatewayMode::Test,
                Mode::Live => GatewayMode::Live,
            },
            page: match self.kashier_page {
                PageKind::Sessions => PayPage::Sessions,
                PageKind::Hosted => PayPage::Hosted,
            },
            api_url: host(api, "https://test-api.kashier.io", "https://api.kashier.io"),
            fep_url: host(fep, "https://test-fep.kashier.io", "https://fep.kashier.io"),
            page_url: self.kashier_page_url.clone(),
            public_url: needed(&self.kashier_public_url, "KASHIER_PUBLIC_URL")?,
            app_url: needed(&self.kashier_app_url, "KASHIER_APP_URL")?,
        }))
    }

    /// Refuses what would give money away: a test gateway takes no money and says that it did.
    pub(crate) fn check(&self, stage: Stage, key: Option<&SecretString>) -> anyhow::Result<()> {
        ensure!(
            stage != Stage::Production || key.is_none() || self.kashier_mode == Mode::Live,
            "production needs KASHIER_MODE=live"
        );
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
        gateway: GatewayArgs,
    }

    #[track_caller]
    fn check(args: &[&str], keys: usize, expected: &str) {
        let probe = Probe::parse_from(std::iter::once(&"probe").chain(args));
        let key = |at| (keys >= at).then(|| SecretString::from("x"));
        let (kashier_api_key, kashier_secret_key) = (key(1), key(2));
        let secrets = Secrets { kashier_api_key, kashier_secret_key, ..Secrets::default() };
        let found = match probe.gateway.payments(&secrets) {
            Ok(PaymentsConfig { gateway: None, .. }) => "none".to_owned(),
            Ok(PaymentsConfig { gateway: Some(config), deposits, .. }) => {
                format!("{} {} {}", config.api_url, config.fep_url, deposits.most)
            }
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{args:?}: {found}");
    }

    #[test]
    fn a_gateway_is_set_up_whole_or_not_at_all() {
        let merchant = ["--kashier-merchant-id", "MID-1-2"];
        let urls = ["--kashier-public-url", "https://a.b", "--kashier-app-url", "https://c.d"];
        let whole = [merchant.as_slice(), urls.as_slice()].concat();
        let with = |more: &[&'static str]| [whole.as_slice(), more].concat();
        check(&[], 0, "none");
        check(&whole, 0, "none");
        check(&whole, 1, "need each other");
        check(&[], 2, "KASHIER_MERCHANT_ID");
        check(&merchant, 2, "KASHIER_PUBLIC_URL");
        check(&whole, 2, "https://test-api.kashier.io https://test-fep.kashier.io 20000");
        check(&with(&["--kashier-mode", "live"]), 2, "https://api.kashier.io https://fep.kashier");
        check(&with(&["--kashier-api-url", "http://127.0.0.1:1"]), 2, "http://127.0.0.1:1 ");
        check(&with(&["--kashier-deposit-max", "5"]), 2, "KASHIER_DEPOSIT_MIN");
    }

    #[test]
    fn production_takes_no_play_money() {
        let probe = |mode| Probe::parse_from(["probe", "--kashier-mode", mode]).gateway;
        let key = SecretString::from("x");
        assert!(probe("test").check(Stage::Production, Some(&key)).is_err());
        assert!(probe("test").check(Stage::Staging, Some(&key)).is_ok());
        assert!(probe("test").check(Stage::Production, None).is_ok());
        assert!(probe("live").check(Stage::Production, Some(&key)).is_ok());
    }
}
