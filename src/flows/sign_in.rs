//! Accounts and logins: thin, because `identity` owns all of it. Only how often one phone may be
//! tried is asked for here, from wherever the tries come.

use base::{Caller, Problem};
use identity::{IdentityError, Phone, SignUp, SignedIn, TokenPair};
use ops::{Counted, Limit};

use crate::Flows;

impl Flows {
    /// Has this phone an account?
    pub async fn check_phone(&self, phone: &str) -> Result<bool, Problem> {
        self.admit_phone(Limit::CheckPhonePhone, phone).await?;
        Ok(self.identity.check_phone(phone).await?)
    }

    pub async fn sign_up(&self, account: SignUp) -> Result<SignedIn, Problem> {
        Ok(self.identity.sign_up(account).await?)
    }

    pub async fn log_in(&self, phone: &str, password: &str) -> Result<SignedIn, Problem> {
        self.admit_phone(Limit::LoginPhone, phone).await?;
        let signed_in = self.identity.log_in(phone, password).await;
        if matches!(signed_in, Err(IdentityError::InvalidCredentials)) {
            self.note_failed_login(phone);
        }
        Ok(signed_in?)
    }

    /// Logs in with a one-use code.
    pub async fn exchange(&self, code: &str) -> Result<SignedIn, Problem> {
        Ok(self.identity.exchange(code).await?)
    }

    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, Problem> {
        Ok(self.identity.refresh(refresh_token).await?)
    }

    /// Ends the caller's session, or the one that `refresh_token` belongs to.
    pub async fn log_out(
        &self,
        caller: &Caller,
        refresh_token: Option<&str>,
    ) -> Result<(), Problem> {
        Ok(self.identity.log_out(caller, refresh_token).await?)
    }

    /// However the number is written; what is no number is refused by who reads it.
    async fn admit_phone(&self, limit: Limit, phone: &str) -> Result<(), Problem> {
        match Phone::parse(phone) {
            Ok(phone) => self.limiter.admit(limit, Counted::phone(phone.as_str())).await,
            Err(_) => Ok(()),
        }
    }
}
