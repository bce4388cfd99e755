//! SQL, markup and formulas in every text that a person may write: kept as it is, run by nobody.

use serde_json::json;

use crate::harness::{CAIRO, Person, Reply, Server, next_phone, point, send};

const ATTACKS: [&str; 10] = [
    "'; DROP TABLE trips; --",
    "\" OR 1=1 --",
    "\\'; SELECT pg_sleep(60); --",
    "$1 $$ {0} %s %n",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}} ${7*7} #{7*7}",
    "=HYPERLINK(\"http://evil.example\")",
    "../../etc/passwd",
    "\u{202E}gnp.exe مرحبا \u{200F}",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_kept_as_it_is() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    for attack in ATTACKS {
        let person = json!({"phone": next_phone(), "password": "tahrir99", "name": attack,
            "role": "rider"});
        let url = server.url("/api/v1/auth/signup");
        let made = send(&server.http, &url, None, Some(person)).await;
        assert_eq!(made.data()["user"]["name"], attack);

        let rider = Person::rider(&server).await;
        let place = json!({"lat": CAIRO.0, "lng": CAIRO.1, "address": attack});
        let ask = json!({"pickup": place, "destination": place, "stops": [place],
            "vehicleType": "economy", "passenger": {"name": attack, "phone": "01099999999"}});
        let trip = rider.post("/trips/request", ask).await;
        let seen = rider.trip(trip.data()["tripId"].as_str().expect("an id")).await;
        for part in
            ["/pickup/address", "/destination/address", "/stops/0/address", "/passenger/name"]
        {
            assert_eq!(seen.pointer(part), Some(&json!(attack)), "{part}");
        }
        let gift = json!({"amount": 5, "reason": attack});
        admin.post(&format!("/admin/wallets/{}/adjust", rider.id), gift).await.data();
        rider.get("/wallet/transactions").await.data();
    }
    server.check_invariants().await;
}

/// Words of papers have narrower rules: what is taken is kept as it is, the rest names its field.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_papers_is_kept_or_refused_by_its_field() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = Person::driver(&server).await;
    let paper = |kind: &str, number: &str| {
        json!({"kind": kind, "number": number,
        "expiresAt": "2099-01-01T00:00:00Z"})
    };
    for attack in ATTACKS {
        for field in ["make", "model", "plate", "color", "number"] {
            let number = if field == "number" { attack } else { "1" };
            let mut profile = json!({
                "vehicle": {"type": "economy", "make": "Lada", "model": "2107", "plate": "A 1",
                    "color": "white", "year": 2019},
                "documents": [paper("driving_licence", number), paper("vehicle_licence", "2"),
                    paper("insurance", "3")],
            });
            if field != "number" {
                profile["vehicle"][field] = json!(attack);
            }
            let reply = driver.post("/drivers/profile", profile).await;
            if reply.status == 400 {
                assert!(names(&reply, field), "{attack} in {field}: {reply:?}");
                continue;
            }
            let text = driver.get("/drivers/profile").await.data().to_string();
            assert!(text.contains(&json!(attack).to_string()), "{attack} in {field}: {text}");
        }
        let decision = json!({"decision": "reject", "reason": attack});
        let path = format!("/admin/drivers/{}/decision", driver.id);
        admin.post(&path, decision).await.data();
    }
}

/// Is this field named among the wrong ones?
fn names(reply: &Reply, field: &str) -> bool {
    let fields = reply.body["error"]["details"]["fields"].as_array().expect("fields");
    fields.iter().any(|wrong| wrong["field"].as_str().is_some_and(|name| name.ends_with(field)))
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_headers_carry_nothing_inside() {
    let server = Server::start().await;
    let (rider, admin) = (Person::rider(&server).await, Person::admin(&server).await);
    for attack in
        ["'%20OR%20'1'='1", "%00", "..%2F..%2Fwallet", "%3Cscript%3E", "1;DROP%20TABLE%20trips"]
    {
        rider.get(&format!("/trips/{attack}")).await.refused(404, "NOT_FOUND");
        rider.get(&format!("/trips/{attack}/track")).await.refused(404, "NOT_FOUND");
        let body = json!({"amount": 5, "reason": "a gift"});
        let path = format!("/admin/wallets/{attack}/adjust");
        admin.post(&path, body).await.refused(404, "NOT_FOUND");
        for query in ["status", "cursor", "limit"] {
            let reply = rider.get(&format!("/trips?{query}={attack}")).await;
            reply.refused(400, "VALIDATION_FAILED");
        }
    }
    let request = server.http.get(server.url("/api/v1/wallet")).bearer_auth(&rider.token);
    let answer = request.header("x-request-id", "<script>alert(1)</script>").send().await;
    let answer = answer.expect("the server answers");
    let id = answer.headers()["x-request-id"].to_str().expect("plain text");
    assert!(!id.contains('<'), "{id}");
    for word in ["tables", "DROP"] {
        let reply = rider.get(&format!("/{word}'--")).await;
        reply.refused(404, "NOT_FOUND");
    }
}

/// Text of people that a browser is shown by mistake does not run.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_run_by_a_browser() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let place = json!({"lat": CAIRO.0, "lng": CAIRO.1, "address": ATTACKS[4]});
    let ask = json!({"pickup": place, "destination": point((30.06, 31.24)),
        "vehicleType": "economy"});
    rider.post("/trips/request", ask).await.data();
    for path in ["/api/v1/trips", "/api/v1/nowhere<script>", "/api/docs/", "/live", "/ws"] {
        let request = server.http.get(server.url(path)).bearer_auth(&rider.token);
        let answer = request.header("accept", "text/html").send().await.expect("it answers");
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        if !header("content-type").starts_with("text/html") {
            assert_eq!(header("content-type"), "application/json", "{path}");
            continue;
        }
        let policy = header("content-security-policy").to_owned();
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src"));
        let scripts =
            scripts.or_else(|| policy.split(';').find(|part| part.contains("default-src")));
        let scripts = scripts.unwrap_or_else(|| panic!("{path} has no policy"));
        assert!(!scripts.contains("unsafe-inline") && !scripts.contains('*'), "{path}: {policy}");
    }
}
