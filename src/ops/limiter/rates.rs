//! How often each thing may be asked: the defaults of the product, and a deployment's own.
//!
//! Limits hang on what is asked and not on its path, so that the aliases of a version and the
//! command of a socket share one bucket.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The caller's address (IPv6: its /64): there is no account yet, or too many of them.
    Address,
    User,
    /// The account; the address of who has none.
    Caller,
    /// The phone that is asked about, whoever asks.
    Phone,
}

/// What happens to who passed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Penalty {
    /// The next request is taken as soon as there is room for it.
    None,
    /// Nothing is taken for this long.
    Block(Duration),
}

/// How often something may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub name: &'static str,
    /// This many within `window`.
    pub count: u32,
    pub window: Duration,
    /// At once.
    pub burst: u32,
    pub penalty: Penalty,
}

impl Rate {
    /// `count` within `window`, all of them at once if need be.
    pub const fn new(name: &'static str, count: u32, window: Duration) -> Self {
        Self { name, count, window, burst: count, penalty: Penalty::None }
    }

    /// What `RateLimit-Policy` says of it.
    pub fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.count, self.window.as_secs())
    }

    /// Time after which there is room for one more.
    pub fn gap(&self) -> Duration {
        self.window / self.count.max(1)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const AUTH_BLOCK: Penalty = Penalty::Block(Duration::from_secs(60));

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $by:ident, $count:literal, $burst:literal,
       $penalty:expr;)*) => {
        /// Every limit of the product, each once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[$doc])* $name,)*
        }

        impl Limit {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub const fn by(self) -> By {
                match self { $(Self::$name => By::$by,)* }
            }
        }

        const DEFAULTS: [Rate; Limit::ALL.len()] = [$(Rate {
            name: $text, count: $count, window: MINUTE, burst: $burst, penalty: $penalty,
        }),*];
    };
}

limits! {
    // Whose, how many a minute, how many at once, and then.
    Login = "login", Address, 10, 10, AUTH_BLOCK;
    /// Guesses at one account from many addresses. Nobody is blocked: it would be a way to lock
    /// somebody else out.
    LoginPhone = "login-phone", Phone, 20, 20, Penalty::None;
    Signup = "signup", Address, 5, 5, AUTH_BLOCK;
    CheckPhone = "check-phone", Address, 20, 20, AUTH_BLOCK;
    /// Questions about one phone from many addresses.
    CheckPhonePhone = "check-phone-phone", Phone, 20, 20, Penalty::None;
    Refresh = "refresh", Address, 30, 30, AUTH_BLOCK;
    TripRequest = "trip-request", User, 5, 5, Penalty::None;
    DriverResponse = "driver-response", User, 30, 30, Penalty::None;
    /// A bid that can't be paid undoes the commit it shares with others.
    BidPick = "bid-pick", User, 30, 30, Penalty::None;
    TripStatus = "trip-status", User, 20, 20, Penalty::None;
    /// Positions over REST; the socket has its own measure.
    Location = "location", User, 30, 5, Penalty::None;
    LocationBatch = "location-batch", User, 6, 6, Penalty::None;
    Nearby = "nearby", User, 60, 60, Penalty::None;
    Estimate = "estimate", User, 30, 30, Penalty::None;
    /// Guesses at codes.
    PromoRedeem = "promo-redeem", User, 10, 10, Penalty::None;
    /// Reports and statements: each reads much.
    Report = "report", User, 10, 10, Penalty::None;
    /// Sockets opened: an app needs one, and another after each loss of its network.
    Socket = "socket", User, 30, 30, Penalty::None;
    /// Top-ups begun: each asks the payment gateway for a page.
    Deposit = "deposit", User, 10, 10, Penalty::None;
    /// Withdrawals asked for.
    Withdrawal = "withdrawal", User, 5, 5, Penalty::None;
    /// Complaints about trips.
    Dispute = "dispute", User, 5, 5, Penalty::None;
    /// What the payment gateway tells, from few addresses for everybody.
    GatewayNotice = "gateway-notice", Address, 6000, 1000, Penalty::None;
    /// Every other request: far above what an app asks.
    Other = "other", Caller, 600, 120, Penalty::None;
    /// Whatever comes from one address, connections too, before anything else of it is looked at.
    /// A carrier puts a thousand phones behind one address; each asks every few seconds at most.
    Address = "address", Address, 30_000, 2_000, Penalty::None;
}

/// Most that a setting may allow within one window.
const COUNT_MAX: u32 = 1_000_000;
/// Longest window of a setting, seconds.
const WINDOW_MAX_S: u64 = 86_400;

/// Every limit's rate on this deployment. As text: `name=count/seconds[:burst]`, comma separated;
/// without a burst all of the count may come at once. Limits that are not named keep their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates([Rate; Limit::ALL.len()]);

impl Default for Rates {
    fn default() -> Self {
        Self(DEFAULTS)
    }
}

impl Rates {
    pub const fn of(&self, limit: Limit) -> &Rate {
        &self.0[limit as usize]
    }
}

/// What is wrong with a setting of rates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongRates {
    #[error("{0}: expected name=count/seconds or name=count/seconds:burst")]
    Form(String),
    #[error("{0} is no limit; there are: {names}", names = names())]
    Unknown(String),
    #[error("{0} is set twice")]
    Twice(&'static str),
}

fn names() -> String {
    Limit::ALL.iter().map(|limit| limit.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Rates {
    type Err = WrongRates;

    fn from_str(text: &str) -> Result<Self, WrongRates> {
        let (mut rates, mut set) = (Self::default(), Vec::new());
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let form = || WrongRates::Form(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            let name = name.trim();
            let limit = Limit::ALL.iter().find(|limit| limit.name() == name);
            let limit = *limit.ok_or_else(|| WrongRates::Unknown(name.to_owned()))?;
            if set.contains(&limit) {
                return Err(WrongRates::Twice(limit.name()));
            }
            set.push(limit);
            let (count, window, burst) = numbers(value.trim()).ok_or_else(form)?;
            let rate = &mut rates.0[limit as usize];
            *rate = Rate { count, window, burst, ..*rate };
        }
        Ok(rates)
    }
}

/// Reads `count/seconds[:burst]`.
fn numbers(text: &str) -> Option<(u32, Duration, u32)> {
    let (count, rest) = text.split_once('/')?;
    let (seconds, burst) = match rest.split_once(':') {
        Some((seconds, burst)) => (seconds, burst),
        None => (rest, count),
    };
    let number = |text: &str| text.parse().ok().filter(|n| (1..=COUNT_MAX).contains(n));
    let seconds = seconds.parse().ok().filter(|s| (1..=WINDOW_MAX_S).contains(s))?;
    Some((number(count)?, Duration::from_secs(seconds), number(burst)?))
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rate) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}/{}", rate.name, rate.count, rate.window.as_secs())?;
            if rate.burst != rate.count {
                write!(f, ":{}", rate.burst)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_changes_what_it_names_and_nothing_else() {
        let rates: Rates = "login=3/3600, location=60/60:10,".parse().expect("rates");
        let login = rates.of(Limit::Login);
        assert_eq!((login.count, login.window.as_secs(), login.burst), (3, 3600, 3));
        assert_eq!(login.penalty, AUTH_BLOCK, "a deployment sets numbers, not manners");
        assert_eq!((rates.of(Limit::Location).count, rates.of(Limit::Location).burst), (60, 10));
        assert_eq!(rates.of(Limit::Signup), Rates::default().of(Limit::Signup));
        assert_eq!("".parse(), Ok(Rates::default()));
        assert_eq!(Rates::default().to_string().parse(), Ok(Rates::default()));
    }

    #[test]
    fn a_wrong_setting_says_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Rates>().expect_err("wrong").to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("login", "login: expected name=count/seconds");
        check("login=10", "expected name=count/seconds");
        check("login=0/60", "expected name=count/seconds");
        check("login=10/0", "expected name=count/seconds");
        check("login=10/60:0", "expected name=count/seconds");
        check("login=-1/60", "expected name=count/seconds");
        check("logins=10/60", "logins is no limit; there are: login, login-phone");
        check("login=1/60,login=2/60", "login is set twice");
    }

    #[test]
    fn every_limit_stands_in_its_own_place() {
        for limit in Limit::ALL {
            assert_eq!(Rates::default().of(*limit).name, limit.name());
        }
    }
}
