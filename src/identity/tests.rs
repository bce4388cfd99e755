//! Accounts and sessions against a real PostgreSQL.

use std::time::Duration;

use base::{Caller, Clock, Code, Millis, Problem, Role, SessionId};
use ops::Tasks;

use crate::accounts::{Identity, Settings};
use crate::{HashCost, IdentityError, Keys, SignUp, SignedIn};

const START: Millis = Millis(1_700_000_000_000);

struct Fixture {
    identity: Identity,
    clock: Clock,
    db: storage::Db,
    tasks: Tasks,
}

async fn fixture() -> Fixture {
    let (db, clock, tasks) =
        (storage::testing::database().await, Clock::manual(START), Tasks::new());
    let identity = node(&db, &clock, &tasks);
    Fixture { identity, clock, db, tasks }
}

/// Another node on the same database.
fn node(db: &storage::Db, clock: &Clock, tasks: &Tasks) -> Identity {
    let secret = "a-secret-of-enough-characters-for-a-test";
    let settings = Settings {
        keys: Keys { secret: secret.into(), previous: None },
        hash_cost: HashCost::Cheap,
        hash_slots: 4,
    };
    Identity::start(db.clone(), tasks, clock.clone(), &settings).expect("starts")
}

fn account(phone: &str) -> SignUp {
    SignUp {
        phone: phone.into(),
        password: "tahrir99".into(),
        name: " Ali ".into(),
        role: Role::Rider,
    }
}

async fn signed_up(fixture: &Fixture) -> SignedIn {
    fixture.identity.sign_up(account("01012345678")).await.expect("signs up")
}

fn code(error: IdentityError) -> Code {
    Problem::from(error).code
}

fn caller(fixture: &Fixture, signed_in: &SignedIn) -> Caller {
    fixture.identity.verify(&signed_in.tokens.token).expect("a good token")
}

#[tokio::test]
async fn a_phone_signs_up_once_and_logs_in_with_its_password() {
    let fixture = fixture().await;
    let identity = &fixture.identity;
    assert!(!identity.check_phone("01012345678").await.expect("answers"));
    let first = signed_up(&fixture).await;
    assert_eq!((first.user.name.as_str(), first.user.phone.as_str()), ("Ali", "+201012345678"));
    assert!(identity.check_phone("+20 010 1234 5678").await.expect("answers"));
    let again = identity.sign_up(account("+201012345678")).await;
    assert_eq!(code(again.expect_err("taken")), Code::PhoneTaken);

    let login = identity.log_in("٠١٠١٢٣٤٥٦٧٨", "tahrir99").await.expect("logs in");
    assert_eq!(login.user.id, first.user.id);
    assert_ne!(caller(&fixture, &login).session, caller(&fixture, &first).session);
    for (phone, password) in [("01012345678", "tahrir98"), ("01112345678", "tahrir99")] {
        let refused = identity.log_in(phone, password).await;
        assert_eq!(code(refused.expect_err("refused")), Code::InvalidCredentials, "{phone}");
    }
    assert_eq!(identity.role_of(first.user.id).await.expect("answers"), Some(Role::Rider));
}

#[tokio::test]
async fn of_two_sign_ups_at_once_one_wins() {
    let fixture = fixture().await;
    let (one, two) = tokio::join!(
        fixture.identity.sign_up(account("01012345678")),
        fixture.identity.sign_up(account("01012345678")),
    );
    assert_eq!([&one, &two].iter().filter(|r| r.is_ok()).count(), 1);
    let lost = one.err().or(two.err()).expect("one lost");
    assert_eq!(code(lost), Code::PhoneTaken);
}

#[tokio::test]
async fn nobody_signs_up_as_admin_but_one_can_be_made() {
    let fixture = fixture().await;
    let asked = SignUp { role: Role::Admin, ..account("01012345678") };
    let refused = fixture.identity.sign_up(asked).await;
    assert_eq!(code(refused.expect_err("refused")), Code::ValidationFailed);
    fixture.identity.create_admin("01012345678", "Root", "tahrir99").await.expect("makes one");
    let admin = fixture.identity.log_in("01012345678", "tahrir99").await.expect("logs in");
    assert_eq!(admin.user.role, Role::Admin);
}

#[tokio::test]
async fn a_refresh_token_is_used_once() {
    let fixture = fixture().await;
    let identity = &fixture.identity;
    let first = signed_up(&fixture).await.tokens.refresh_token;
    let second = identity.refresh(&first).await.expect("rotates").refresh_token;
    assert_ne!(first, second);
    // The answer was lost: within ten seconds the same successor.
    fixture.clock.advance(Duration::from_secs(10));
    assert_eq!(identity.refresh(&first).await.expect("again").refresh_token, second);
    // Later it is somebody else's copy: the family ends.
    fixture.clock.advance(Duration::from_millis(1));
    let reused = identity.refresh(&first).await;
    assert_eq!(code(reused.expect_err("reused")), Code::InvalidRefreshToken);
    let ended = identity.refresh(&second).await;
    assert_eq!(code(ended.expect_err("family ended")), Code::InvalidRefreshToken);
}

#[tokio::test]
async fn refreshes_at_once_get_the_same_successor() {
    let fixture = fixture().await;
    let identity = &fixture.identity;
    let first = signed_up(&fixture).await.tokens.refresh_token;
    let (a, b, c) =
        tokio::join!(identity.refresh(&first), identity.refresh(&first), identity.refresh(&first));
    let successors = [a, b, c].map(|pair| pair.expect("answered").refresh_token);
    assert!(successors.iter().all(|token| *token == successors[0]), "{successors:?}");
    assert_ne!(successors[0], first);
}

#[tokio::test]
async fn reuse_ends_the_access_tokens_of_the_family_and_tells_sockets() {
    let fixture = fixture().await;
    let first = signed_up(&fixture).await;
    let session = caller(&fixture, &first).session;
    let mut ended = fixture.identity.revocations();
    let refresh = &first.tokens.refresh_token;
    let second = fixture.identity.refresh(refresh).await.expect("rotates");
    fixture.identity.refresh(&second.refresh_token).await.expect("rotates");
    fixture.identity.refresh(refresh).await.expect_err("reused");
    assert_eq!(ended.recv().await, Ok(session));
    let refused = fixture.identity.verify(&second.token).expect_err("revoked");
    assert_eq!(refused.code, Code::SessionRevoked);
}

#[tokio::test]
async fn a_logout_here_is_known_on_another_node_and_after_a_restart() {
    let fixture = fixture().await;
    let signed_in = signed_up(&fixture).await;
    let token = &signed_in.tokens.token;
    let other = node(&fixture.db, &fixture.clock, &fixture.tasks);
    assert!(other.verify(token).is_ok());
    let caller = caller(&fixture, &signed_in);
    fixture.identity.log_out(&caller, None).await.expect("logs out");
    let here = fixture.identity.verify(token).expect_err("revoked here");
    assert_eq!(here.code, Code::SessionRevoked);
    other.look_for_ended(Duration::from_secs(30)).await.expect("looks");
    assert!(other.verify(token).is_err());
    fixture.clock.advance(Duration::from_secs(600));
    let restarted = node(&fixture.db, &fixture.clock, &fixture.tasks);
    restarted.load_revocations().await.expect("loads");
    assert!(restarted.verify(token).is_err());
    let refresh = fixture.identity.refresh(&signed_in.tokens.refresh_token).await;
    assert_eq!(code(refresh.expect_err("ended")), Code::InvalidRefreshToken);
}

#[tokio::test]
async fn a_logout_ends_no_session_of_someone_else() {
    let fixture = fixture().await;
    let identity = &fixture.identity;
    let (ali, mona) = (signed_up(&fixture).await, account("01112345678"));
    let mona = identity.sign_up(mona).await.expect("signs up");
    let at = caller(&fixture, &ali);
    identity.log_out(&at, Some(&mona.tokens.refresh_token)).await.expect("logs out");
    identity.log_out(&at, Some("junk")).await.expect("logs out twice");
    assert!(identity.verify(&mona.tokens.token).is_ok());
    assert!(identity.refresh(&mona.tokens.refresh_token).await.is_ok());
}

#[tokio::test]
async fn a_blocked_user_loses_every_session() {
    let fixture = fixture().await;
    let identity = &fixture.identity;
    let first = signed_up(&fixture).await;
    let second = identity.log_in("01012345678", "tahrir99").await.expect("logs in");
    identity.end_sessions(first.user.id, "blocked").await.expect("ends");
    for signed_in in [&first, &second] {
        assert!(identity.verify(&signed_in.tokens.token).is_err());
        assert!(identity.refresh(&signed_in.tokens.refresh_token).await.is_err());
    }
}

#[tokio::test]
async fn a_refresh_token_of_no_session_is_refused() {
    let fixture = fixture().await;
    let stray = crate::refresh::RefreshToken { session: SessionId::new(), generation: 0 };
    let stray = fixture.identity.tokens().write_refresh(stray);
    for text in [stray.as_str(), "", "junk"] {
        let refused = fixture.identity.refresh(text).await;
        assert_eq!(code(refused.expect_err("refused")), Code::InvalidRefreshToken);
    }
}

#[tokio::test]
async fn a_code_logs_in_once_within_a_minute() {
    let f = fixture().await;
    let ali = signed_up(&f).await;
    let first = f.identity.login_code("01012345678").await.expect("a code");
    let (one, other) = tokio::join!(f.identity.exchange(&first), f.identity.exchange(&first));
    let mut done = [one, other].into_iter().flatten();
    assert_eq!(done.next().expect("one of the two").user.id, ali.user.id);
    assert!(done.next().is_none(), "a code is good for one login");

    let late = f.identity.login_code("01012345678").await.expect("a code");
    f.clock.advance(crate::codes::CODE_TTL);
    let error = f.identity.exchange(&late).await.expect_err("too late");
    assert_eq!(code(error), Code::InvalidCode);
    let error = f.identity.exchange("").await.expect_err("no code");
    assert_eq!(code(error), Code::InvalidCode);
    let error = f.identity.login_code("01099999999").await.expect_err("no account");
    assert_eq!(code(error), Code::InvalidCredentials);
}
