//! How much one socket may ask: messages per second, and mistakes before it is shown the door.
//!
//! Times are milliseconds of the node's own tick, passed in.

/// Malformed messages within [`STRIKE_WINDOW_MS`] that end a socket.
pub(crate) const STRIKES: usize = 10;
const STRIKE_WINDOW_MS: u64 = 10_000;
/// Messages over the rate within [`STRIKE_WINDOW_MS`] that end a socket: each is answered, and a
/// client that doesn't listen to that would be refused forever.
pub(crate) const EXCESS: u32 = 200;

/// How many messages a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRate {
    /// Load tests and demos.
    Off,
    On {
        per_second: u32,
        /// May come at once after a pause.
        burst: u32,
    },
}

impl Default for MessageRate {
    /// Ten times what a driver's app sends.
    fn default() -> Self {
        Self::On { per_second: 20, burst: 60 }
    }
}

/// A token bucket of thousandths of a message.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: MessageRate,
    left_milli: u64,
    at_ms: u64,
}

impl Allowance {
    pub(crate) fn new(rate: MessageRate, now_ms: u64) -> Self {
        let left_milli = match rate {
            MessageRate::Off => 0,
            MessageRate::On { burst, .. } => u64::from(burst) * 1000,
        };
        Self { rate, left_milli, at_ms: now_ms }
    }

    /// Takes one message; false when there is none left.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        let MessageRate::On { per_second, burst } = self.rate else { return true };
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(per_second));
        self.left_milli = self.left_milli.saturating_add(earned).min(u64::from(burst) * 1000);
        self.at_ms = now_ms.max(self.at_ms);
        match self.left_milli.checked_sub(1000) {
            Some(left) => {
                self.left_milli = left;
                true
            }
            None => false,
        }
    }
}

/// Malformed messages of one socket, newest last. Empty for the well-behaved.
#[derive(Debug, Default)]
pub(crate) struct Strikes(Vec<u64>);

impl Strikes {
    /// Notes a malformed message; true when it was one too many.
    pub(crate) fn out(&mut self, now_ms: u64) -> bool {
        self.0.retain(|at| now_ms.saturating_sub(*at) < STRIKE_WINDOW_MS);
        self.0.push(now_ms);
        self.0.len() >= STRIKES
    }
}

/// Messages of one socket that came over the rate.
#[derive(Debug, Default)]
pub(crate) struct Excess {
    since_ms: u64,
    count: u32,
}

impl Excess {
    /// Notes one; true when it was one too many.
    pub(crate) fn out(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= STRIKE_WINDOW_MS {
            *self = Self { since_ms: now_ms, count: 0 };
        }
        self.count += 1;
        self.count >= EXCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_when_told_to_slow_down_is_shown_the_door() {
        let check = |gap_ms: u64, expected: Option<u64>| {
            let mut excess = Excess::default();
            let out = (1..=1000).find(|n| excess.out(20_000 + n * gap_ms));
            assert_eq!(out, expected, "every {gap_ms} ms");
        };
        check(0, Some(200));
        check(50, Some(200));
        check(51, None);
    }

    #[test]
    fn the_tenth_malformed_message_in_ten_seconds_is_one_too_many() {
        let check = |gap_ms: u64, expected: Option<u64>| {
            let mut strikes = Strikes::default();
            assert_eq!((1..=30).find(|n| strikes.out(n * gap_ms)), expected, "every {gap_ms} ms");
        };
        check(0, Some(10));
        check(1000, Some(10));
        check(1111, Some(10));
        check(1112, None);
        check(5000, None);
    }

    #[test]
    fn messages_are_limited_by_rate_and_burst() {
        let rate = MessageRate::On { per_second: 10, burst: 3 };
        let mut allowance = Allowance::new(rate, 0);
        let mut taken = |now| (0..100).take_while(|_| allowance.take(now)).count();
        assert_eq!([taken(0), taken(50), taken(100), taken(300), taken(60_000)], [3, 0, 1, 2, 3]);
        let mut free = Allowance::new(MessageRate::Off, 0);
        assert!((0..10_000).all(|_| free.take(0)));
    }
}
