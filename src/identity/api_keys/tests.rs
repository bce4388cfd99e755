//! Partners' keys against a real PostgreSQL.

use std::time::Duration;

use base::{Caller, Clock, Code, Millis, Role, SessionId, UserId};
use ops::Tasks;

use super::{MadeApiKey, NewApiKey, RotateApiKey, Scope};
use crate::accounts::{Identity, Settings};
use crate::{HashCost, Keys};

const START: Millis = Millis(1_700_000_000_000);
const ADMIN: Caller = Caller {
    user: UserId::from_u128(1),
    role: Role::Admin,
    session: SessionId::from_u128(9),
    expires: Millis(i64::MAX),
};

fn node(db: &storage::Db, clock: &Clock) -> Identity {
    let secret = "a-secret-of-enough-characters-for-a-test";
    let settings = Settings {
        keys: Keys { secret: secret.into(), previous: None },
        hash_cost: HashCost::Cheap,
        hash_slots: 1,
    };
    Identity::start(db.clone(), &Tasks::new(), clock.clone(), &settings).expect("starts")
}

async fn stand() -> (Identity, Clock, storage::Db) {
    let (db, clock) = (storage::testing::database().await, Clock::manual(START));
    (node(&db, &clock), clock, db)
}

fn asked(expires_at: Option<Millis>) -> NewApiKey {
    let scopes = vec![Scope::PricingEstimate];
    NewApiKey { name: "Nile Hotels".to_owned(), scopes, per_minute: Some(60), expires_at }
}

async fn made(identity: &Identity) -> MadeApiKey {
    identity.create_api_key(&ADMIN, &asked(None)).await.expect("a key")
}

fn is_good(identity: &Identity, made: &MadeApiKey) -> bool {
    identity.api_keys().verify(&made.key).is_some()
}

#[tokio::test]
async fn a_key_is_kept_as_a_hash_and_shown_once() {
    let (identity, _, db) = stand().await;
    let made = made(&identity).await;
    assert!(made.key.starts_with("sl_") && made.key.len() == 46, "{}", made.key);
    assert!(made.key.ends_with(&made.api_key.hint));
    let partner = identity.api_keys().verify(&made.key).expect("a good key");
    assert_eq!((partner.key, partner.per_minute), (made.api_key.id, 60));
    let mut owner = storage::testing::owner(&db).await;
    let stored: Vec<String> = sqlx::query_scalar(
        "SELECT k::text FROM api_keys k UNION ALL SELECT a::text FROM audit_log a",
    )
    .fetch_all(&mut owner)
    .await
    .expect("rows");
    assert_eq!(stored.len(), 2, "the key, and who made it");
    assert!(stored.iter().all(|row| !row.contains(&made.key[3..])), "{stored:?}");
    let page = identity.list_api_keys(&ADMIN, None, 10).await.expect("a page");
    assert_eq!(page.api_keys, [made.api_key]);
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_its_grace_and_no_longer() {
    let (identity, clock, _) = stand().await;
    let first = made(&identity).await;
    let rotate = RotateApiKey { grace_seconds: Some(3600) };
    let second = identity.rotate_api_key(&ADMIN, first.api_key.id, rotate).await.expect("rotates");
    assert_ne!(first.key, second.key);
    assert!(is_good(&identity, &first) && is_good(&identity, &second));
    clock.advance(Duration::from_secs(3600));
    assert!(!is_good(&identity, &first) && is_good(&identity, &second));
    let at_once = RotateApiKey { grace_seconds: Some(0) };
    let third = identity.rotate_api_key(&ADMIN, first.api_key.id, at_once).await.expect("rotates");
    assert!(!is_good(&identity, &second) && is_good(&identity, &third));
}

#[tokio::test]
async fn a_revoked_key_is_refused_here_at_once_and_elsewhere_at_the_next_look() {
    let (identity, clock, db) = stand().await;
    let other = node(&db, &clock);
    let first = made(&identity).await;
    let rotate = RotateApiKey { grace_seconds: None };
    let second = identity.rotate_api_key(&ADMIN, first.api_key.id, rotate).await.expect("rotates");
    other.load_api_keys().await.expect("looks");
    assert!(is_good(&other, &first) && is_good(&other, &second));
    let ended = identity.revoke_api_key(&ADMIN, first.api_key.id).await.expect("ends");
    assert_eq!(ended.revoked_at, Some(START));
    assert!(!is_good(&identity, &first) && !is_good(&identity, &second));
    other.load_api_keys().await.expect("looks");
    assert!(!is_good(&other, &first) && !is_good(&other, &second));
    // For good: it is not brought back by a rotation, and its end stays where it was.
    let refused = identity.rotate_api_key(&ADMIN, first.api_key.id, rotate).await;
    assert_eq!(refused.err().map(|problem| problem.code), Some(Code::NotFound));
    clock.advance(Duration::from_secs(9));
    let again = identity.revoke_api_key(&ADMIN, first.api_key.id).await.expect("ended already");
    assert_eq!(again.revoked_at, Some(START));
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let (identity, clock, _) = stand().await;
    let refused = identity.create_api_key(&ADMIN, &asked(Some(START))).await;
    assert_eq!(refused.err().map(|problem| problem.code), Some(Code::ValidationFailed));
    let soon = asked(Some(START + Duration::from_secs(60)));
    let made = identity.create_api_key(&ADMIN, &soon).await.expect("a key");
    // A rotation doesn't make it live longer.
    let rotate = RotateApiKey { grace_seconds: Some(3600) };
    let next = identity.rotate_api_key(&ADMIN, made.api_key.id, rotate).await.expect("rotates");
    assert!(is_good(&identity, &made) && is_good(&identity, &next));
    clock.advance(Duration::from_secs(60));
    assert!(!is_good(&identity, &made) && !is_good(&identity, &next));
}

#[tokio::test]
async fn uses_are_added_up_by_day() {
    let (identity, clock, _) = stand().await;
    let key = made(&identity).await.api_key.id;
    let keys = identity.api_keys();
    keys.served(key);
    keys.refused(key);
    identity.store_key_usage().await.expect("stored");
    keys.served(key);
    identity.store_key_usage().await.expect("stored");
    clock.advance(Duration::from_secs(86_400));
    keys.served(key);
    let days = identity.api_key_usage(&ADMIN, key, 30).await.expect("days");
    let told: Vec<_> = days.iter().map(|d| (d.day.as_str(), d.requests, d.refused)).collect();
    assert_eq!(told, [("2023-11-15", 1, 0), ("2023-11-14", 3, 1)]);
    assert_eq!(identity.api_key_usage(&ADMIN, key, 1).await.expect("days").len(), 1);
    let nobody = identity.api_key_usage(&ADMIN, base::ApiKeyId::new(), 30).await;
    assert_eq!(nobody.err().map(|problem| problem.code), Some(Code::NotFound));
}
