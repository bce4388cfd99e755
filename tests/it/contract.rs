//! The contract with client authors: `schema/` is what the code says.
//!
//! `UPDATE=1 cargo test -p tests --test it contract` writes it anew; the diff is then reviewed like
//! code, because each line of it may break somebody's app.

use std::path::Path;

use app::Document;
use serde_json::Value;

use crate::harness::{Server, send};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("below the root").join("schema")
}

#[test]
fn the_documents_are_fresh() {
    let documents = [
        ("openapi.json", Document::Openapi),
        ("asyncapi.json", Document::Asyncapi),
        ("facts.json", Document::Facts),
        ("refusals.json", Document::Refusals),
    ];
    for (name, document) in documents {
        let path = folder().join(name);
        let fresh = document.text().expect("it prints");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &fresh).expect("schema/ can be written");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == fresh, "{name} is stale: UPDATE=1 cargo test -p tests --test it contract");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_serves_its_documents_and_pages() {
    let server = Server::start().await;
    let get = async |path: &str| send(&server.http, &server.url(path), None, None).await;
    let openapi = get("/api/openapi.json").await;
    assert_eq!(openapi.body["openapi"], "3.1.0");
    let paths = openapi.body["paths"].as_object().expect("paths");
    for path in ["/trips/request", "/location/nearby", "/wallet"] {
        assert!(paths.contains_key(path), "{path} is missing: {:?}", paths.keys());
    }
    let page = get("/api/docs/").await;
    assert_eq!(page.status, 200);
    assert!(matches!(&page.body, Value::String(html) if html.contains("swagger")));
    assert_eq!(get("/health/live").await.status, 200);
    assert_eq!(get("/health/ready?strict=1").await.status, 200);
    assert_eq!(get("/health/startup").await.status, 200);
}
