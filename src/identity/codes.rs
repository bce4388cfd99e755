//! Login codes: drawn at random, kept as a hash, good for one login within a minute.

use std::time::Duration;

use base::{Dice, SessionId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::accounts::Identity;
use crate::model::phone_field;
use crate::{IdentityError, SignedIn};

/// How long a code waits for its use.
pub(crate) const CODE_TTL: Duration = Duration::from_secs(60);
/// Too many to guess: 128 bits.
const BYTES: usize = 16;

impl Identity {
    /// A code that logs this account in once, within [`CODE_TTL`]: for the command line, never for
    /// a route. An unknown phone is `InvalidCredentials`.
    pub async fn login_code(&self, phone: &str) -> Result<String, IdentityError> {
        let phone = phone_field(phone).map_err(IdentityError::Invalid)?;
        let account = self.store().credentials(phone.as_str()).await?;
        let account = account.ok_or(IdentityError::InvalidCredentials)?;
        let code = URL_SAFE_NO_PAD.encode(Dice::secret::<BYTES>());
        self.store().code_insert(&hash(&code), account.user, CODE_TTL).await?;
        Ok(code)
    }

    /// Logs in with a code; the code is gone then, whoever comes second.
    pub async fn exchange(&self, code: &str) -> Result<SignedIn, IdentityError> {
        let session = SessionId::new();
        let user = self.store().code_use(&hash(code), session).await?;
        let user = user.ok_or(IdentityError::InvalidCode)?;
        Ok(self.signed_in(user, session))
    }
}

fn hash(code: &str) -> [u8; 32] {
    Sha256::digest(code).into()
}
