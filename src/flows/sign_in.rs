//! Accounts and logins: thin, because `identity` owns all of it.

use base::{Caller, Problem};
use identity::{SignUp, SignedIn, TokenPair};

use crate::Flows;

impl Flows {
    /// Has this phone an account?
    pub async fn check_phone(&self, phone: &str) -> Result<bool, Problem> {
        Ok(self.identity.check_phone(phone).await?)
    }

    pub async fn sign_up(&self, account: SignUp) -> Result<SignedIn, Problem> {
        Ok(self.identity.sign_up(account).await?)
    }

    pub async fn log_in(&self, phone: &str, password: &str) -> Result<SignedIn, Problem> {
        Ok(self.identity.log_in(phone, password).await?)
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
}
