//! Attacks on access tokens: each is refused, and the right one is taken.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a-secret-of-enough-characters-for-a-test";
const NEXT_SECRET: &str = "another-secret-of-enough-characters-here";
const NOW: Millis = Millis(1_700_000_000_000);

fn keys(current: &str, previous: Option<&str>) -> Keys {
    Keys { secret: current.into(), previous: previous.map(Into::into) }
}

fn tokens() -> (Tokens, Clock) {
    let clock = Clock::manual(NOW);
    (Tokens::new(&keys(SECRET, None), clock.clone()), clock)
}

fn claims() -> Value {
    json!({
        "sub": UserId::from_u128(1), "role": "rider", "sid": SessionId::from_u128(2),
        "jti": Uuid::from_u128(3), "iat": NOW.0 / 1000, "exp": NOW.0 / 1000 + 900,
        "iss": ISSUER, "aud": AUDIENCE,
    })
}

fn header() -> Value {
    json!({ "alg": "HS256", "typ": KIND, "kid": key_id(&SECRET.into()) })
}

/// A token with any header and claims, signed with `secret` as HS256 would be.
fn forge(header: &str, claims: &str, secret: &[u8]) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(parts.as_bytes());
    format!("{parts}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// `change` is merged into the header and claims of a good token.
fn altered(header_change: Value, claims_change: Value) -> String {
    let merge = |mut good: Value, change: Value| {
        for (key, value) in change.as_object().cloned().unwrap_or_default() {
            good[key] = value;
        }
        good.to_string()
    };
    forge(&merge(header(), header_change), &merge(claims(), claims_change), SECRET.as_bytes())
}

fn check(bearer: &str, expected: &str) {
    let found = match tokens().0.verify(bearer) {
        Ok(caller) => format!("{:?} {}", caller.role, caller.user.as_u128()),
        Err(problem) => problem.code.name().to_owned(),
    };
    assert_eq!(found, expected, "{bearer}");
}

#[test]
fn what_we_issue_we_take_until_it_ends() {
    let (tokens, clock) = tokens();
    let (user, session) = (UserId::from_u128(7), SessionId::from_u128(8));
    let token = tokens.issue(user, Role::Driver, session);
    let caller = tokens.verify(&token).expect("it is ours");
    assert_eq!((caller.user, caller.role, caller.session), (user, Role::Driver, session));
    assert_eq!(caller.expires, NOW + ACCESS_TTL);
    clock.advance(ACCESS_TTL - Duration::from_millis(1));
    assert!(tokens.verify(&token).is_ok());
    clock.advance(Duration::from_millis(1));
    assert_eq!(tokens.verify(&token).expect_err("it has ended").code, Code::TokenExpired);
}

#[test]
fn a_forged_token_is_refused() {
    check(&altered(json!({}), json!({})), "Rider 1");
    check(&forge(&header().to_string(), &claims().to_string(), b"wrong"), "UNAUTHENTICATED");
    for alg in ["none", "None", "NONE", "HS384", "HS512", "RS256", "EdDSA", ""] {
        check(&altered(json!({ "alg": alg }), json!({})), "UNAUTHENTICATED");
    }
    for kid in ["", "../../dev/null", "' OR 1=1 --", "https://evil.example/k", "00"] {
        check(&altered(json!({ "kid": kid }), json!({})), "UNAUTHENTICATED");
    }
    check(&altered(json!({ "kid": null }), json!({})), "UNAUTHENTICATED");
    check(&altered(json!({ "typ": "JWT" }), json!({})), "UNAUTHENTICATED");
    check(&altered(json!({ "typ": "refresh" }), json!({})), "UNAUTHENTICATED");
    check(&altered(json!({ "crit": ["exp"] }), json!({})), "UNAUTHENTICATED");
}

#[test]
fn keys_named_in_a_token_are_never_fetched_or_used() {
    let attacker = b"the-attackers-own-key-the-attackers-own";
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(attacker) });
    for extra in
        [json!({ "jku": "https://evil.example" }), json!({ "x5u": "https://evil.example" })]
    {
        let mut head = header();
        for (key, value) in extra.as_object().expect("an object") {
            head[key] = value.clone();
        }
        check(&forge(&head.to_string(), &claims().to_string(), attacker), "UNAUTHENTICATED");
    }
    let mut head = header();
    head["jwk"] = jwk;
    check(&forge(&head.to_string(), &claims().to_string(), attacker), "UNAUTHENTICATED");
}

#[test]
fn claims_must_be_whole_and_for_us() {
    check(&altered(json!({}), json!({ "iss": "other" })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "aud": "other" })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "role": "root" })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "sub": "1" })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "exp": "soon" })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "exp": NOW.0 / 1000 })), "TOKEN_EXPIRED");
    check(&altered(json!({}), json!({ "exp": NOW.0 / 1000 - 30 })), "TOKEN_EXPIRED");
    check(&altered(json!({}), json!({ "exp": 0 })), "TOKEN_EXPIRED");
    check(&altered(json!({}), json!({ "exp": i64::MIN })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "exp": 1e300 })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "nbf": NOW.0 / 1000 })), "Rider 1");
    check(&altered(json!({}), json!({ "nbf": NOW.0 / 1000 + 1 })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "nbf": i64::MAX })), "UNAUTHENTICATED");
    check(&altered(json!({}), json!({ "nbf": "now" })), "UNAUTHENTICATED");
    for claim in ["sub", "role", "sid", "jti", "iat", "exp", "iss", "aud"] {
        let mut less = claims();
        less.as_object_mut().expect("an object").remove(claim);
        let token = forge(&header().to_string(), &less.to_string(), SECRET.as_bytes());
        check(&token, "UNAUTHENTICATED");
    }
    let twice = claims().to_string().replacen('{', "{\"role\":\"admin\",", 1);
    check(&forge(&header().to_string(), &twice, SECRET.as_bytes()), "UNAUTHENTICATED");
}

#[test]
fn an_edited_or_endless_token_is_refused() {
    let (tokens, _) = tokens();
    let good = tokens.issue(UserId::from_u128(1), Role::Rider, SessionId::from_u128(2));
    let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
    parts[1] = URL_SAFE_NO_PAD.encode(claims().to_string().replace("rider", "admin"));
    check(&parts.join("."), "UNAUTHENTICATED");
    check(&format!("{good}{}", "A".repeat(64 * 1024)), "UNAUTHENTICATED");
    for junk in ["", ".", "..", "a.b.c", "Bearer", &good[..good.len() - 1]] {
        check(junk, "UNAUTHENTICATED");
    }
}

#[test]
fn a_change_of_secret_logs_nobody_out() {
    let clock = Clock::manual(NOW);
    let before = Tokens::new(&keys(SECRET, None), clock.clone());
    let after = Tokens::new(&keys(NEXT_SECRET, Some(SECRET)), clock.clone());
    let later = Tokens::new(&keys(NEXT_SECRET, None), clock);
    let token = before.issue(UserId::from_u128(1), Role::Rider, SessionId::from_u128(2));
    let refresh = RefreshToken { session: SessionId::from_u128(2), generation: 4 };
    assert!(after.verify(&token).is_ok());
    assert_eq!(after.read_refresh(&before.write_refresh(refresh)), Some(refresh));
    assert!(later.verify(&token).is_err());
    let fresh = after.issue(UserId::from_u128(1), Role::Rider, SessionId::from_u128(2));
    assert!(before.verify(&fresh).is_err() && later.verify(&fresh).is_ok());
}

#[test]
fn a_revoked_session_is_refused_at_once() {
    let (tokens, _) = tokens();
    let session = SessionId::from_u128(2);
    let token = tokens.issue(UserId::from_u128(1), Role::Rider, session);
    tokens.revoked().add(session, NOW);
    assert_eq!(tokens.verify(&token).expect_err("revoked").code, Code::SessionRevoked);
    assert!(tokens.is_revoked(session));
}

#[test]
fn a_short_secret_is_no_secret() {
    assert_eq!(keys(SECRET, Some(NEXT_SECRET)).check(), Ok(()));
    assert_eq!(keys("short", None).check(), Err(WeakSecret));
    assert_eq!(keys(SECRET, Some("short")).check(), Err(WeakSecret));
}

#[test]
fn a_derived_key_differs_by_purpose_and_hides_the_secret() {
    let keys = keys(SECRET, None);
    assert_ne!(keys.derive("quote"), keys.derive("refresh token"));
    assert_eq!(format!("{keys:?}"), "Keys(…)");
}
