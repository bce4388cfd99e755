//! Keys for partners: thin, because `identity` owns all of it.

use base::{ApiKeyId, Caller, Cursor, Problem};
use identity::{ApiKeyDay, ApiKeyView, ApiKeysPage, MadeApiKey, NewApiKey, RotateApiKey};

use crate::Flows;

impl Flows {
    /// The answer holds the key, this once.
    pub async fn create_api_key(
        &self,
        admin: &Caller,
        asked: &NewApiKey,
    ) -> Result<MadeApiKey, Problem> {
        self.identity.create_api_key(admin, asked).await
    }

    /// The answer holds the new key, this once.
    pub async fn rotate_api_key(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        asked: RotateApiKey,
    ) -> Result<MadeApiKey, Problem> {
        self.identity.rotate_api_key(admin, id, asked).await
    }

    pub async fn revoke_api_key(
        &self,
        admin: &Caller,
        id: ApiKeyId,
    ) -> Result<ApiKeyView, Problem> {
        self.identity.revoke_api_key(admin, id).await
    }

    pub async fn api_keys(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<ApiKeysPage, Problem> {
        Ok(self.identity.list_api_keys(admin, after, limit).await?)
    }

    pub async fn api_key_usage(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        days: u32,
    ) -> Result<Vec<ApiKeyDay>, Problem> {
        self.identity.api_key_usage(admin, id, days).await
    }
}
