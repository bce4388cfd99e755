-- Ended trips of a city, twenty live ones, and a day of tracks.
INSERT INTO users (id, phone, name, role, password_hash)
SELECT lpad(to_hex(n), 32, '0')::uuid, '+2010' || lpad(n::text, 8, '0'), 'n',
       CASE WHEN n % 2 = 0 THEN 'driver' ELSE 'rider' END, 'x' FROM generate_series(1, 400) n;
INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_status, payment_method, tier,
  version, pickup_lat, pickup_lng, destination_lat, destination_lng, price, final_price,
  commission_bp, quoted_distance_m, quoted_duration_s, requested_at, created_at)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1, lpad(to_hex(1 + 2 * (n % 200)), 32, '0')::uuid,
  lpad(to_hex(2 + 2 * (n % 199)), 32, '0')::uuid,
  CASE WHEN n <= 20 THEN 'accepted' ELSE 'completed' END, 'paid', 'cash', 'economy', 5,
  30, 31, 30, 31, 1000, CASE WHEN n <= 20 THEN NULL ELSE 1000 END, 1500, 1, 1,
  now() - n * interval '1 minute', now() - n * interval '1 minute'
FROM generate_series(1, 20000) n;
INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s,
  created_at, expires_at)
SELECT id, id, driver_id, 1, 'accepted', 1, 1, 1, created_at, created_at FROM trips;
INSERT INTO driver_history (driver_id, recorded_at, lat, lng)
SELECT lpad(to_hex(2 + 2 * (n % 200)), 32, '0')::uuid, now() - n * interval '2 seconds', 30, 31
FROM generate_series(1, 40000) n;
INSERT INTO deposits (id, user_id, role, amount, currency, status, look_at, expires_at, created_at, paid_at)
SELECT gen_random_uuid(), lpad(to_hex(1 + 2 * (n % 200)), 32, '0')::uuid, 'rider', 5000, 'EGP',
  CASE WHEN n <= 50 THEN 'pending' ELSE 'paid' END, CASE WHEN n <= 50 THEN now() END, now(), now(),
  CASE WHEN n > 50 THEN now() END
FROM generate_series(1, 20000) n;
INSERT INTO card_authorisations (id, rider_id, amount, currency, status, trip_id, captured, look_at,
  page_until, created_at, authorised_at, expires_at, ended_at)
SELECT id, rider_id, 5000, 'EGP', CASE WHEN open THEN 'pending' ELSE 'captured' END,
  CASE WHEN NOT open THEN id END, CASE WHEN NOT open THEN 5000 END, CASE WHEN open THEN now() END,
  now(), now(), CASE WHEN NOT open THEN now() END, CASE WHEN NOT open THEN now() END, now()
FROM (SELECT id, rider_id, status <> 'completed' AS open FROM trips) t;
UPDATE trips SET payment_method = 'wallet', payment_status = 'failed', ended_at = created_at
WHERE status = 'completed' AND price = 1000 AND id < lpad(to_hex(100), 32, '0')::uuid;
ANALYZE;
