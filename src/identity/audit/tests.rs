//! The log against a real PostgreSQL.

use base::{Caller, Clock, Cursor, Millis, Role, SessionId, UserId};
use ops::Tasks;
use serde_json::json;

use super::{Audit, AuditFilter, AuditObject};
use crate::accounts::{Identity, Settings};
use crate::{HashCost, Keys};

const AMAL: UserId = UserId::from_u128(1);
const HANY: UserId = UserId::from_u128(2);

fn admin(user: UserId) -> Caller {
    Caller { user, role: Role::Admin, session: SessionId::from_u128(9), expires: Millis(i64::MAX) }
}

async fn identity() -> Identity {
    let secret = "a-secret-of-enough-characters-for-a-test";
    let settings = Settings {
        keys: Keys { secret: secret.into(), previous: None },
        hash_cost: HashCost::Cheap,
        hash_slots: 1,
    };
    let db = storage::testing::database().await;
    Identity::start(db, &Tasks::new(), Clock::system(), &settings).expect("starts")
}

async fn found(identity: &Identity, filter: &AuditFilter) -> Vec<String> {
    let page = identity.audit_log(&admin(AMAL), filter, None, 100).await.expect("a page");
    let told = page.entries.iter().map(|e| format!("{} {}", e.action, e.object.id));
    told.collect()
}

#[tokio::test]
async fn records_are_found_by_who_what_and_which() {
    let identity = identity().await;
    let driver = |id: &str| AuditObject::new("driver", id);
    let looks = [
        Audit::by(&admin(AMAL), "driver.read", driver("a")),
        Audit::by(&admin(AMAL), "driver.read", driver("b")),
    ];
    identity.audit(&looks).await.expect("recorded");
    let decided = Audit::by(&admin(HANY), "driver.decide", driver("a"));
    let decided = decided.with(json!({ "status": "approved" }));
    identity.audit(&[decided]).await.expect("recorded");
    let made = Audit::by_terminal("account.create", AuditObject::new("account", "c"));
    identity.audit(&[made]).await.expect("recorded");

    let check = async |filter: AuditFilter, expected: &[&str]| {
        let mut told = found(&identity, &filter).await;
        told.sort();
        assert_eq!(told, expected, "{filter:?}");
    };
    let any = AuditFilter::default;
    let word = |text: &str| Some(text.to_owned());
    let all = ["account.create c", "driver.decide a", "driver.read a", "driver.read b"];
    check(any(), &all).await;
    check(AuditFilter { actor: Some(HANY), ..any() }, &["driver.decide a"]).await;
    check(AuditFilter { action: word("driver.read"), ..any() }, &all[2..]).await;
    check(AuditFilter { object_kind: word("account"), ..any() }, &all[..1]).await;
    check(AuditFilter { object_id: word("a"), ..any() }, &all[1..3]).await;
    check(AuditFilter { object_id: word("a"), actor: Some(AMAL), ..any() }, &all[2..3]).await;
}

#[tokio::test]
async fn pages_meet_without_gap_or_repeat_also_within_one_moment() {
    let identity = identity().await;
    // One transaction, so one moment: only the ids tell them apart.
    let looks: Vec<Audit> =
        (0..7).map(|n| Audit::by(&admin(AMAL), "trip.read", AuditObject::new("trip", n))).collect();
    identity.audit(&looks).await.expect("recorded");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = AuditFilter::default();
        let page = identity.audit_log(&admin(AMAL), &filter, after, 3).await.expect("a page");
        seen.extend(page.entries.into_iter().map(|entry| entry.object.id));
        let Some(next) = page.next_cursor else { break };
        after = Some(Cursor::parse(&next).expect("a cursor"));
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
}
