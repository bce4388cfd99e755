-- Two riders, three drivers, an admin; a trip of rider 11 with driver 21, offered to 22 too.
INSERT INTO users (id, phone, name, role, password_hash)
SELECT lpad(n, 32, '0')::uuid, '+2010000000' || n, 'n', r, 'x' FROM (VALUES
  ('11', 'rider'), ('12', 'rider'), ('21', 'driver'), ('22', 'driver'), ('23', 'driver'),
  ('31', 'admin')) AS u (n, r);
INSERT INTO sessions (id, user_id, expires_at)
SELECT id, id, now() + interval '1 day' FROM users;
INSERT INTO drivers (id, status) SELECT id, 'approved' FROM users WHERE role = 'driver';
INSERT INTO vehicles SELECT id, 'economy', 'm', 'm', 'plate ' || id, 'c', 2020 FROM drivers;
INSERT INTO driver_documents SELECT id, 'insurance', 'x', now() FROM drivers;
INSERT INTO driver_latest (driver_id, lat, lng, recorded_at) SELECT id, 30, 31, now() FROM drivers;
INSERT INTO driver_history (driver_id, lat, lng, recorded_at) SELECT id, 30, 31, now() FROM drivers;
INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_method, tier, version,
  pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
  quoted_distance_m, quoted_duration_s, requested_at, created_at)
VALUES (lpad('41', 32, '0')::uuid, 1, lpad('11', 32, '0')::uuid, lpad('21', 32, '0')::uuid,
  'accepted', 'cash', 'economy', 2, 30, 31, 30, 31, 1000, 1500, 1, 1, now(), now());
INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s,
  created_at, expires_at)
SELECT id, lpad('41', 32, '0')::uuid, id, 1, 'declined', 1, 1, 1, now(), now()
FROM drivers WHERE id <> lpad('23', 32, '0')::uuid;
INSERT INTO trip_tracks SELECT id, '[]', 0, now() FROM trips;
INSERT INTO dispatch_trace (trip_id, at, round, driver_id, verdict, distance_m)
SELECT trip_id, now(), 1, driver_id, 'offered', 1 FROM trip_offers;
INSERT INTO dispatch_snapshots SELECT now(), id, '{}', '' FROM trips;
INSERT INTO dispatch_rounds SELECT id, now(), id FROM trips;
INSERT INTO city_dispatch (city_id, strategy, changed_at, changed_by)
SELECT 1, 'batched', now(), id FROM users WHERE role = 'admin';
INSERT INTO city_shadows (city_id, strategy, changed_at, changed_by)
SELECT 1, 'batched', now(), id FROM users WHERE role = 'admin';
INSERT INTO geofences (id, city_id, kind, name, corners)
VALUES (gen_random_uuid(), 1, 'airport', 'Airport', '[[30, 31], [30, 32], [31, 31]]');
INSERT INTO airport_queue (driver_id, fence_id, since)
SELECT d.id, g.id, now() FROM (SELECT id FROM drivers LIMIT 1) d, geofences g;
INSERT INTO driver_conduct (driver_id, reason, penalty, since, until)
SELECT id, 'teleports', 30, now(), now() + interval '1 day' FROM drivers;
INSERT INTO fraud_tracks (trip_id, driver_id, ended_at) SELECT id, driver_id, now() FROM trips;
INSERT INTO fraud_prints (print, trip_id, ended_at) SELECT 1, id, now() FROM trips;
INSERT INTO event_store SELECT 'trip', id, 1, 'TRIP_REQUESTED', '{}', now() FROM trips;
INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
SELECT aggregate_type, aggregate_id, seq, event_type, payload, created_at FROM event_store;
SELECT ledger_post(gen_random_uuid(), id::text, 'adjustment', id, 'authorising', NULL,
  ARRAY[1, 27]::smallint[], ARRAY[id, '00000000-0000-0000-0000-000000000000'],
  ARRAY[500, -500]::bigint[], ARRAY[NULL, NULL]::bigint[])
FROM users WHERE role = 'rider';
INSERT INTO jobs (queue, kind, version, payload, priority, run_at, rank_at, max_attempts, on_dead)
VALUES ('cleanup', 'x', 1, '{}', 0, now(), now(), 1, 'support');
INSERT INTO dead_letters (queue, kind, version, payload, priority, max_attempts, rule, attempts,
  errors, recoveries, made_at)
VALUES ('cleanup', 'x', 1, '{}', 0, 1, 'support', 1, '[]', 0, now());
INSERT INTO job_schedules VALUES ('x', '* * * * * UTC', now());
INSERT INTO sagas (id, kind, subject, state) SELECT id, 'x', id, '{}' FROM trips;
INSERT INTO idempotency (scope, route, key, fingerprint, token, lease_until, expires_at)
SELECT id, 'POST /x', 'k', '', gen_random_uuid(), now(), now() FROM users WHERE role = 'rider';
INSERT INTO audit_log (id, actor_id, action, object_kind, object_id)
SELECT id, id, 'driver.read', 'driver', '21' FROM users WHERE role = 'admin';
INSERT INTO api_keys (id, name, key_hash, hint, scopes, per_minute, created_by, created_at)
SELECT id, 'n', sha256('key'), 'abcd', ARRAY['pricing:estimate'], 60, id, now()
FROM users WHERE role = 'admin';
INSERT INTO api_key_usage SELECT id, current_date, 1, 0 FROM api_keys;
INSERT INTO devices (id, user_id, platform, token, locale, registered_at)
SELECT id, id, 'android', 'token-' || id, 'ar', now() FROM users;
INSERT INTO notification_preferences (user_id, changed_at) SELECT id, now() FROM users;
INSERT INTO notifications (id, user_id, kind, facts, once, created_at, expires_at)
SELECT id, id, 'trip_started', '{}', 'x', now(), now() FROM users;
INSERT INTO notification_deliveries (id, notification_id, channel, state, changed_at)
SELECT id, id, 'push', 'accepted', now() FROM notifications;
INSERT INTO deposits (id, user_id, role, amount, currency, status, transaction, expires_at, created_at, paid_at)
SELECT id, id, role, 5000, 'EGP', 'paid', 'TX-' || id, now(), now(), now() FROM users WHERE role <> 'admin';
INSERT INTO gateway_notices (transaction, status, event, reference, stated, received_at)
VALUES ('TX-1', 'SUCCESS', 'pay', 'dep-1', '50 EGP', now());
INSERT INTO card_authorisations (id, rider_id, amount, currency, status, transaction, page_until, created_at,
  authorised_at, expires_at)
SELECT id, id, 5000, 'EGP', 'authorised', 'TX-C-' || id, now(), now(), now(), now() FROM users
WHERE role = 'rider';
