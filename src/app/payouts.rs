//! How drivers are paid out, and what an admin may do alone, from the configuration.

use anyhow::{bail, ensure};
use base::Piasters;
use clap::Args;
use ops::BreakerPolicy;
use payments::{ActLimits, PayoutProviderConfig, PayoutsConfig, WithdrawLimits};

use crate::config::Secrets;

/// Withdrawals: their bounds, and the provider that pays them out. Its keys come from the
/// environment only; without it operators pay by hand.
#[derive(Args, Clone, Debug)]
pub struct PayoutArgs {
    /// The payout provider, like https://payouts.example.com.
    #[arg(long, env = "PAYOUT_URL")]
    pub payout_url: Option<String>,
    /// Least that is withdrawn at once, pounds.
    #[arg(long, env = "SMARTLINE_WITHDRAW_MIN", value_parser = Piasters::parse, default_value = "50")]
    pub withdraw_min: Piasters,
    /// Most that is withdrawn at once, pounds.
    #[arg(
        long, env = "SMARTLINE_WITHDRAW_MAX", value_parser = Piasters::parse, default_value = "10000"
    )]
    pub withdraw_max: Piasters,
    /// Withdrawals that a driver may ask for within 24 hours; rejected ones don't count.
    #[arg(long, env = "SMARTLINE_WITHDRAW_PER_DAY", default_value_t = 3)]
    pub withdraw_per_day: u32,
    /// Most that an admin corrects, refunds or writes off alone, pounds: above it a second admin
    /// has to consent.
    #[arg(long, env = "SMARTLINE_ADMIN_ALONE", value_parser = Piasters::parse, default_value = "1000")]
    pub admin_alone: Piasters,
    /// The same for all that an admin does within 24 hours, pounds.
    #[arg(
        long, env = "SMARTLINE_ADMIN_ALONE_PER_DAY", value_parser = Piasters::parse,
        default_value = "5000"
    )]
    pub admin_alone_per_day: Piasters,
}

impl PayoutArgs {
    pub(crate) fn payouts(&self, secrets: &Secrets) -> anyhow::Result<PayoutsConfig> {
        let (least, most) = (self.withdraw_min, self.withdraw_max);
        ensure!(
            Piasters::ZERO < least && least <= most,
            "SMARTLINE_WITHDRAW_MIN must be more than 0 and at most SMARTLINE_WITHDRAW_MAX"
        );
        let provider =
            match (&self.payout_url, &secrets.payout_api_key, &secrets.payout_webhook_key) {
                (None, None, None) => None,
                (Some(url), Some(api_key), Some(webhook_key)) => Some(PayoutProviderConfig {
                    url: url.clone(),
                    api_key: api_key.clone(),
                    webhook_key: webhook_key.clone(),
                }),
                _ => bail!("PAYOUT_URL, PAYOUT_API_KEY and PAYOUT_WEBHOOK_KEY need each other"),
            };
        Ok(PayoutsConfig {
            provider,
            limits: WithdrawLimits { least, most, per_day: self.withdraw_per_day },
            calls: BreakerPolicy::DEFAULT,
        })
    }

    pub(crate) fn act_limits(&self) -> anyhow::Result<ActLimits> {
        let (alone, alone_per_day) = (self.admin_alone, self.admin_alone_per_day);
        ensure!(
            Piasters::ZERO <= alone && alone <= alone_per_day,
            "SMARTLINE_ADMIN_ALONE must be at most SMARTLINE_ADMIN_ALONE_PER_DAY"
        );
        Ok(ActLimits { alone, alone_per_day })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secrecy::SecretString;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        payouts: PayoutArgs,
    }

    #[track_caller]
    fn check(args: &[&str], keys: usize, expected: &str) {
        let probe = Probe::parse_from(std::iter::once(&"probe").chain(args)).payouts;
        let key = |at| (keys >= at).then(|| SecretString::from("x"));
        let (payout_api_key, payout_webhook_key) = (key(1), key(2));
        let secrets = Secrets { payout_api_key, payout_webhook_key, ..Secrets::default() };
        let found = match (probe.payouts(&secrets), probe.act_limits()) {
            (Ok(config), Ok(limits)) => {
                let url = config.provider.map_or_else(|| "by hand".to_owned(), |p| p.url);
                format!("{url} {} {}", config.limits.most, limits.alone)
            }
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        assert!(found.contains(expected), "{args:?}: {found}");
    }

    #[test]
    fn a_provider_is_set_up_whole_or_not_at_all() {
        let url = ["--payout-url", "https://p.example.com"];
        check(&[], 0, "by hand 10000 1000");
        check(&url, 2, "https://p.example.com 10000");
        check(&url, 0, "need each other");
        check(&url, 1, "need each other");
        check(&[], 2, "need each other");
    }

    #[test]
    fn bounds_that_exclude_each_other_are_a_mistake() {
        check(&["--withdraw-max", "5"], 0, "SMARTLINE_WITHDRAW_MIN");
        check(&["--withdraw-min", "0"], 0, "SMARTLINE_WITHDRAW_MIN");
        check(&["--admin-alone", "6000"], 0, "SMARTLINE_ADMIN_ALONE");
        check(&["--admin-alone", "0"], 0, "by hand 10000 0");
    }
}
