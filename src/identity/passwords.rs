//! Password hashes: Argon2id, on blocking threads, a bounded number at once.
//!
//! Each hash takes 19 MiB and tens of milliseconds, so the slots bound memory and leave the cores
//! to the sockets; who finds none free within [`SLOT_WAIT`] is asked to come back.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base::{Dice, Fault};
use tokio::sync::Semaphore;

/// Longest wait for a free slot.
const SLOT_WAIT: Duration = Duration::from_secs(5);

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCost {
    /// OWASP's first choice for Argon2id: 19 MiB, two passes.
    Standard,
    /// For tests and load tests, where thousands sign up at once. Never in production.
    Cheap,
}

impl HashCost {
    /// Memory in KiB, passes, lanes.
    fn params(self) -> Result<Params, Fault> {
        let params = match self {
            Self::Standard => Params::new(19_456, 2, 1, None),
            Self::Cheap => Params::new(64, 1, 1, None),
        };
        params.map_err(broken)
    }
}

/// Whether a password fits its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Right,
    Wrong,
}

#[derive(Clone)]
pub(crate) struct Passwords {
    cost: HashCost,
    slots: Arc<Semaphore>,
    /// The hash of nobody's password: checked for unknown phones, so that they take as long.
    dummy: Arc<str>,
}

impl Passwords {
    /// Hashes once right away, for the dummy.
    pub(crate) fn new(cost: HashCost, slots: usize) -> Result<Self, Fault> {
        let nobody = Dice::secret::<32>();
        let dummy = hash_now(&nobody, cost)?;
        Ok(Self { cost, slots: Arc::new(Semaphore::new(slots.max(1))), dummy: dummy.into() })
    }

    /// A PHC string with a salt of its own.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Fault> {
        let cost = self.cost;
        self.run(move || hash_now(password.as_bytes(), cost)).await
    }

    /// `None`: there is no such account; takes as long as if there were and is always wrong.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<Fit, Fault> {
        let dummy = Arc::clone(&self.dummy);
        self.run(move || match hash {
            Some(hash) => verify_now(password.as_bytes(), &hash),
            None => verify_now(password.as_bytes(), &dummy).map(|_| Fit::Wrong),
        })
        .await
    }

    /// The permit travels with the work: a caller who hangs up frees no slot that still works.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let slot = tokio::time::timeout(SLOT_WAIT, Arc::clone(&self.slots).acquire_owned());
        let permit = slot
            .await
            .map_err(|_| Fault::unavailable("all password slots are taken"))?
            .map_err(|_| Fault::internal("the password slots are closed"))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        done.await.map_err(|end| Fault::internal(format!("password task ended: {end}")))?
    }
}

fn hash_now(password: &[u8], cost: HashCost) -> Result<String, Fault> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
    let salt = Dice::secret::<16>();
    argon.hash_password_with_salt(password, &salt).map(|hash| hash.to_string()).map_err(broken)
}

/// The cost is read from the hash itself, so older hashes stay good when the cost changes.
fn verify_now(password: &[u8], hash: &str) -> Result<Fit, Fault> {
    let parsed = PasswordHash::new(hash).map_err(broken)?;
    match Argon2::default().verify_password(password, &parsed) {
        Ok(()) => Ok(Fit::Right),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Fit::Wrong),
        Err(other) => Err(broken(other)),
    }
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::internal(format!("password hash: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(HashCost::Cheap, 2).expect("the cost is valid");
        let hash = passwords.hash("tahrir99".into()).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let check = async |password: &str, hash: Option<String>, expected: Fit| {
            let fit = passwords.verify(password.into(), hash).await.expect("verifies");
            assert_eq!(fit, expected, "{password}");
        };
        check("tahrir99", Some(hash.clone()), Fit::Right).await;
        check("tahrir98", Some(hash.clone()), Fit::Wrong).await;
        check("tahrir99", None, Fit::Wrong).await;
        let again = passwords.hash("tahrir99".into()).await.expect("hashes");
        assert_ne!(hash, again, "each hash has a salt of its own");
    }

    #[test]
    fn the_standard_cost_is_the_documented_one() {
        let hash = hash_now(b"tahrir99", HashCost::Standard).expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(verify_now(b"tahrir99", &hash).ok(), Some(Fit::Right));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_slot_in_time_is_asked_to_come_back() {
        let passwords = Passwords::new(HashCost::Cheap, 1).expect("the cost is valid");
        let held = Arc::clone(&passwords.slots).acquire_owned().await.expect("a slot");
        let refused = passwords.hash("tahrir99".into()).await;
        assert!(matches!(refused, Err(Fault::Unavailable(_))), "{refused:?}");
        drop(held);
        assert!(passwords.hash("tahrir99".into()).await.is_ok());
    }
}
