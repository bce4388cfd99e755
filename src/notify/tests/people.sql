-- Mona rides with Ali in Cairo; Omar is another rider.
INSERT INTO users (id, phone, name, role, password_hash)
SELECT lpad(n, 32, '0')::uuid, '+2010000000' || n, name, role, 'x' FROM (VALUES
  ('11', 'Mona', 'rider'), ('12', 'Omar', 'rider'), ('21', 'Ali', 'driver')) AS u (n, name, role);
INSERT INTO drivers (id, status) SELECT id, 'approved' FROM users WHERE role = 'driver';
INSERT INTO vehicles SELECT id, 'economy', 'Lada', '2107', 'ABC 123', 'white', 2020 FROM drivers;
INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_method, tier, version,
  pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
  quoted_distance_m, quoted_duration_s, requested_at, created_at)
VALUES (lpad('41', 32, '0')::uuid, 1, lpad('11', 32, '0')::uuid, lpad('21', 32, '0')::uuid,
  'accepted', 'cash', 'economy', 2, 30, 31, 30, 31, 1000, 1500, 1, 1, now(), now());
