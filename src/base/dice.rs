//! Chance as a value: a seeded generator that is passed in, so a run can be repeated.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// A shared source of chance. Not for secrets: those come from [`Dice::secret`].
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    /// The same seed gives the same throws.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    pub fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// Uniform in [0, 1).
    pub fn unit(&self) -> f64 {
        self.0.lock().random::<f64>()
    }

    /// Uniform in [0, end); 0 when `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.lock().random_range(0..end) }
    }

    /// `N` bytes from the operating system's generator, fit for keys and tokens.
    pub fn secret<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_throws() {
        let (one, two) = (Dice::seeded(7), Dice::seeded(7));
        assert_eq!((one.next_u64(), one.below(6)), (two.next_u64(), two.below(6)));
        assert_ne!(Dice::secret::<16>(), Dice::secret::<16>());
    }
}
