//! Where pickups are allowed: service areas and restricted zones, as operators draw them.

use serde_json::json;

use crate::harness::{CAIRO, Person, Server, far_from};

/// Draws a square of about four kilometres around `at`.
async fn draw(server: &Server, kind: &str, name: &str, at: (f64, f64)) {
    let corner = |up: f64, right: f64| json!([at.0 + up, at.1 + right]);
    let corners =
        json!(
            [corner(0.02, 0.02), corner(0.02, -0.02), corner(-0.02, -0.02), corner(-0.02, 0.02),]
        );
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query(
        "INSERT INTO geofences (id, city_id, kind, name, corners) \
         VALUES (gen_random_uuid(), 1, $1, $2, $3)",
    )
    .bind(kind)
    .bind(name)
    .bind(sqlx::types::Json(corners))
    .execute(&mut owner)
    .await
    .expect("the fence is drawn");
    server.running().flows().fleet.reload_map().await.expect("the map is read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pickup_needs_the_service_area_and_no_restricted_zone() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let outside = far_from(CAIRO, 8000.0);
    draw(&server, "service_area", "Downtown", CAIRO).await;
    rider.request_trip(outside).await.refused(409, "OUTSIDE_SERVICE_AREA");

    draw(&server, "restricted", "Parliament", CAIRO).await;
    let refused = rider.request_trip(CAIRO).await;
    refused.refused(409, "RESTRICTED_ZONE");
    assert_eq!(refused.body["error"]["details"]["zone"], "Parliament");
    assert_eq!(rider.get("/trips").await.data()["trips"], json!([]));
}
