-- Tables of accounts, fleet, trips, events, ledger and positions.
-- Ids are UUIDv7 made by the program (PostgreSQL 15 can't). Money is bigint piasters. Times are UTC.
-- A constraint's name is part of the design: the program matches on it.

CREATE TABLE cities (
  id            smallint PRIMARY KEY,
  name          text NOT NULL CONSTRAINT one_city_per_name UNIQUE,
  time_zone     text NOT NULL,
  center_lat    double precision NOT NULL,
  center_lng    double precision NOT NULL,
  radius_m      integer NOT NULL CONSTRAINT city_has_a_size CHECK (radius_m > 0),
  -- Search radius of the first dispatch ring; later rings are 1.5 and 2 times as wide.
  search_radius_m  integer NOT NULL DEFAULT 5000,
  cooldown_s       integer NOT NULL DEFAULT 60,
  start_pin        boolean NOT NULL DEFAULT false,
  no_show_wait_s   integer NOT NULL DEFAULT 300,
  free_cancel_s    integer NOT NULL DEFAULT 120,
  cancel_fee       bigint NOT NULL DEFAULT 1500,
  rider_due_limit  bigint NOT NULL DEFAULT 5000,
  driver_debt_limit bigint NOT NULL DEFAULT 20000
);

INSERT INTO cities (id, name, time_zone, center_lat, center_lng, radius_m) VALUES
  (1, 'Cairo', 'Africa/Cairo', 30.0444, 31.2357, 80000),
  (2, 'Manhattan (demo)', 'America/New_York', 40.7580, -73.9855, 40000);

CREATE TABLE users (
  id            uuid PRIMARY KEY,
  phone         text NOT NULL CONSTRAINT one_account_per_phone UNIQUE
                CONSTRAINT phone_is_e164 CHECK (phone ~ '^\+[1-9][0-9]{7,14}$'),
  name          text NOT NULL CONSTRAINT name_has_letters CHECK (length(name) BETWEEN 1 AND 100),
  role          text NOT NULL CONSTRAINT role_is_known CHECK (role IN ('rider', 'driver', 'admin')),
  password_hash text NOT NULL,
  rating_sum    integer NOT NULL DEFAULT 0,
  rating_count  integer NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  deleted_at    timestamptz
);

-- A login: a family of refresh tokens. Only the newest generation is live; its predecessor is
-- answered with the same successor for ten seconds (the successor is derived, never stored).
CREATE TABLE sessions (
  id          uuid PRIMARY KEY,
  user_id     uuid NOT NULL REFERENCES users (id),
  generation  integer NOT NULL DEFAULT 0 CONSTRAINT generation_counts_up CHECK (generation >= 0),
  rotated_at  timestamptz NOT NULL DEFAULT now(),
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  revoked_at  timestamptz,
  revoked_why text
);
CREATE INDEX sessions_by_user ON sessions (user_id) WHERE revoked_at IS NULL;
-- Every node asks for the newest of these every two seconds.
CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE drivers (
  id            uuid PRIMARY KEY REFERENCES users (id),
  city_id       smallint NOT NULL DEFAULT 1 REFERENCES cities (id),
  status        text NOT NULL DEFAULT 'pending'
                CONSTRAINT driver_status_is_known CHECK (status IN ('pending', 'approved', 'rejected', 'suspended')),
  status_reason text,
  wants_online  boolean NOT NULL DEFAULT false,
  fraud_flag    boolean NOT NULL DEFAULT false,
  offers_made     integer NOT NULL DEFAULT 0,
  offers_accepted integer NOT NULL DEFAULT 0,
  trips_taken     integer NOT NULL DEFAULT 0,
  trips_completed integer NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL DEFAULT now(),
  decided_at    timestamptz,
  decided_by    uuid REFERENCES users (id)
);
CREATE INDEX drivers_pending ON drivers (created_at, id) WHERE status = 'pending';

CREATE TABLE vehicles (
  driver_id uuid PRIMARY KEY REFERENCES drivers (id),
  tier      text NOT NULL CONSTRAINT vehicle_tier_is_known CHECK (tier IN ('economy', 'comfort', 'premium', 'xl')),
  make      text NOT NULL,
  model     text NOT NULL,
  plate     text NOT NULL CONSTRAINT one_vehicle_per_plate UNIQUE,
  color     text NOT NULL,
  year      smallint NOT NULL CONSTRAINT vehicle_year_is_sane CHECK (year BETWEEN 1980 AND 2100)
);

CREATE TABLE driver_documents (
  driver_id  uuid NOT NULL REFERENCES drivers (id),
  kind       text NOT NULL,
  number     text NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT one_document_per_kind PRIMARY KEY (driver_id, kind)
);

CREATE TABLE trips (
  id              uuid PRIMARY KEY,
  city_id         smallint NOT NULL REFERENCES cities (id),
  rider_id        uuid NOT NULL REFERENCES users (id),
  driver_id       uuid REFERENCES users (id),
  -- The trip the same driver is still ending when this one was accepted ("next"); null once active.
  queued_behind   uuid REFERENCES trips (id),
  status          text NOT NULL CONSTRAINT trip_status_is_known CHECK (status IN
                  ('scheduled', 'requested', 'accepted', 'arrived', 'started', 'completed', 'cancelled', 'no_drivers')),
  payment_status  text NOT NULL DEFAULT 'pending'
                  CONSTRAINT payment_status_is_known CHECK (payment_status IN ('pending', 'paid', 'failed')),
  payment_method  text NOT NULL CONSTRAINT payment_method_is_known CHECK (payment_method IN ('cash', 'wallet', 'card')),
  tier            text NOT NULL CONSTRAINT trip_tier_is_known CHECK (tier IN ('economy', 'comfort', 'premium', 'xl')),
  strategy        text NOT NULL DEFAULT 'first_accept',
  -- The number of the trip's last event: every write checks and advances it.
  version         integer NOT NULL CONSTRAINT version_counts_up CHECK (version > 0),
  -- Fencing: the lease of the node that runs the trip; a write with an older one is refused.
  epoch           bigint NOT NULL DEFAULT 1,
  pickup_lat      double precision NOT NULL,
  pickup_lng      double precision NOT NULL,
  pickup_address  text,
  destination_lat double precision NOT NULL,
  destination_lng double precision NOT NULL,
  destination_address text,
  stops           jsonb NOT NULL DEFAULT '[]',
  passenger       jsonb,
  price           bigint NOT NULL CONSTRAINT price_in_range CHECK (price BETWEEN 0 AND 1000000),
  final_price     bigint CONSTRAINT final_price_in_range CHECK (final_price BETWEEN 0 AND 1000000),
  hold            bigint NOT NULL DEFAULT 0 CONSTRAINT hold_not_negative CHECK (hold >= 0),
  commission_bp   integer NOT NULL CONSTRAINT commission_is_a_share CHECK (commission_bp BETWEEN 0 AND 10000),
  surge           real NOT NULL DEFAULT 1,
  quote_id        text,
  quoted_distance_m integer NOT NULL,
  quoted_duration_s integer NOT NULL,
  distance_m      integer,
  duration_s      integer,
  pin             text,
  rounds          smallint NOT NULL DEFAULT 0,
  -- Drivers who gave the trip back: not asked again.
  excluded        uuid[] NOT NULL DEFAULT '{}',
  cancelled_by    text,
  cancel_reason   text,
  cancel_fee      bigint NOT NULL DEFAULT 0,
  scheduled_at    timestamptz,
  requested_at    timestamptz NOT NULL,
  accepted_at     timestamptz,
  arrived_at      timestamptz,
  started_at      timestamptz,
  ended_at        timestamptz,
  created_at      timestamptz NOT NULL,
  CONSTRAINT driver_once_accepted CHECK (driver_id IS NOT NULL OR status NOT IN ('accepted', 'arrived', 'started', 'completed')),
  CONSTRAINT final_price_once_completed CHECK ((status = 'completed') = (final_price IS NOT NULL))
);
-- T1, T2: the database's word against double booking; memory is only the fast path.
CREATE UNIQUE INDEX one_live_trip_per_driver ON trips (driver_id)
  WHERE status IN ('accepted', 'arrived', 'started') AND queued_behind IS NULL;
CREATE UNIQUE INDEX one_queued_trip_per_driver ON trips (driver_id)
  WHERE status = 'accepted' AND queued_behind IS NOT NULL;
CREATE UNIQUE INDEX one_live_trip_per_rider ON trips (rider_id)
  WHERE status IN ('requested', 'accepted', 'arrived', 'started');
CREATE INDEX trips_live ON trips (id)
  WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started');
CREATE INDEX trips_by_rider ON trips (rider_id, created_at DESC, id DESC);
CREATE INDEX trips_by_driver ON trips (driver_id, created_at DESC, id DESC) WHERE driver_id IS NOT NULL;
CREATE INDEX trips_to_settle ON trips (ended_at) WHERE status = 'completed' AND payment_status <> 'paid';

CREATE TABLE trip_offers (
  id         uuid PRIMARY KEY,
  trip_id    uuid NOT NULL REFERENCES trips (id),
  driver_id  uuid NOT NULL REFERENCES users (id),
  round      smallint NOT NULL,
  status     text NOT NULL DEFAULT 'pending' CONSTRAINT offer_status_is_known CHECK (status IN
             ('pending', 'accepted', 'declined', 'expired', 'revoked', 'lost')),
  reason     text,
  score      real NOT NULL,
  distance_m integer NOT NULL,
  eta_s      integer NOT NULL,
  price      bigint,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at   timestamptz
);
CREATE INDEX offers_by_trip ON trip_offers (trip_id, created_at);
CREATE INDEX offers_by_driver ON trip_offers (driver_id, created_at DESC, id DESC);

CREATE TABLE dispatch_trace (
  trip_id    uuid NOT NULL,
  at         timestamptz NOT NULL,
  round      smallint NOT NULL,
  driver_id  uuid NOT NULL,
  -- 'offered', 'ranked' (eligible, not in this round) or the gate that kept the driver out.
  verdict    text NOT NULL,
  score      real,
  distance_m integer NOT NULL,
  eta_s      integer,
  parts      jsonb
);
CREATE INDEX dispatch_trace_by_trip ON dispatch_trace (trip_id, at);

CREATE TABLE event_store (
  aggregate_type text NOT NULL,
  aggregate_id   uuid NOT NULL,
  seq            integer NOT NULL CONSTRAINT event_seq_counts_up CHECK (seq > 0),
  event_type     text NOT NULL,
  payload        jsonb NOT NULL,
  created_at     timestamptz NOT NULL,
  CONSTRAINT one_event_per_number PRIMARY KEY (aggregate_type, aggregate_id, seq)
);

CREATE TABLE outbox (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  aggregate_type text NOT NULL,
  aggregate_id   uuid NOT NULL,
  seq            integer NOT NULL,
  event_type     text NOT NULL,
  payload        jsonb NOT NULL,
  created_at     timestamptz NOT NULL,
  attempts       smallint NOT NULL DEFAULT 0,
  next_at        timestamptz NOT NULL DEFAULT now(),
  published_at   timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (next_at, id) WHERE published_at IS NULL;

-- Newest position per driver, written every few seconds: no secondary index, room for HOT updates.
CREATE TABLE driver_latest (
  driver_id   uuid PRIMARY KEY,
  lat         double precision NOT NULL,
  lng         double precision NOT NULL,
  heading     real,
  speed_kmh   real,
  accuracy_m  real,
  recorded_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- The full track. Daily partitions, made ahead and dropped whole; no id, no DEFAULT partition.
CREATE TABLE driver_history (
  driver_id   uuid NOT NULL,
  recorded_at timestamptz NOT NULL,
  lat         double precision NOT NULL,
  lng         double precision NOT NULL,
  heading     real,
  speed_kmh   real,
  accuracy_m  real,
  trip_id     uuid,
  suspect     boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (recorded_at);
CREATE INDEX driver_history_by_driver ON driver_history (driver_id, recorded_at);

-- The simplified track of an ended trip (at most 1000 points, endpoints kept).
CREATE TABLE trip_tracks (
  trip_id    uuid PRIMARY KEY REFERENCES trips (id),
  points     jsonb NOT NULL,
  distance_m integer NOT NULL,
  stored_at  timestamptz NOT NULL
);

CREATE TABLE geofences (
  id         uuid PRIMARY KEY,
  city_id    smallint NOT NULL REFERENCES cities (id),
  kind       text NOT NULL CONSTRAINT fence_kind_is_known CHECK (kind IN
             ('service_area', 'restricted', 'airport', 'surge')),
  name       text NOT NULL,
  -- [[lat, lng], …], at least three corners, not closed.
  corners    jsonb NOT NULL CONSTRAINT fence_has_corners CHECK (jsonb_array_length(corners) >= 3),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tariffs (
  city_id       smallint NOT NULL REFERENCES cities (id),
  tier          text NOT NULL CONSTRAINT tariff_tier_is_known CHECK (tier IN ('economy', 'comfort', 'premium', 'xl')),
  base_fare     bigint NOT NULL,
  per_km        bigint NOT NULL,
  per_minute    bigint NOT NULL,
  minimum_fare  bigint NOT NULL,
  booking_fee   bigint NOT NULL DEFAULT 0,
  commission_bp integer NOT NULL,
  valid         tstzrange NOT NULL DEFAULT tstzrange(now(), NULL)
);

CREATE TABLE time_multipliers (
  city_id     smallint NOT NULL REFERENCES cities (id),
  -- 0 = Sunday … 6 = Saturday; null = every day. The day is that of the window's start.
  day_of_week smallint CONSTRAINT day_is_known CHECK (day_of_week BETWEEN 0 AND 6),
  start_hour  smallint NOT NULL CONSTRAINT start_is_an_hour CHECK (start_hour BETWEEN 0 AND 23),
  end_hour    smallint NOT NULL CONSTRAINT end_is_an_hour CHECK (end_hour BETWEEN 0 AND 23),
  multiplier_bp integer NOT NULL CONSTRAINT multiplier_is_sane CHECK (multiplier_bp BETWEEN 5000 AND 30000),
  description text NOT NULL
);

CREATE TABLE event_multipliers (
  id            uuid PRIMARY KEY,
  city_id       smallint NOT NULL REFERENCES cities (id),
  name          text NOT NULL,
  center_lat    double precision NOT NULL,
  center_lng    double precision NOT NULL,
  radius_m      integer NOT NULL CONSTRAINT event_has_a_size CHECK (radius_m > 0),
  starts_at     timestamptz NOT NULL,
  ends_at       timestamptz NOT NULL,
  multiplier_bp integer NOT NULL CONSTRAINT event_multiplier_is_sane CHECK (multiplier_bp BETWEEN 5000 AND 30000),
  CONSTRAINT event_ends_after_it_starts CHECK (ends_at > starts_at)
);

INSERT INTO tariffs (city_id, tier, base_fare, per_km, per_minute, minimum_fare, commission_bp, valid)
SELECT c.id, t.tier, t.base_fare, t.per_km, t.per_minute, t.minimum_fare, t.commission_bp,
       tstzrange('2020-01-01', NULL)
FROM cities c CROSS JOIN (VALUES
  ('economy', 1000, 350,  50, 1500, 1500),
  ('comfort', 1500, 500,  75, 2500, 1800),
  ('premium', 2500, 800, 100, 4000, 2000),
  ('xl',      2000, 600,  80, 3500, 1700)
) AS t (tier, base_fare, per_km, per_minute, minimum_fare, commission_bp);

INSERT INTO time_multipliers (city_id, day_of_week, start_hour, end_hour, multiplier_bp, description)
SELECT c.id, t.day_of_week, t.start_hour, t.end_hour, t.multiplier_bp, t.description
FROM cities c CROSS JOIN (VALUES
  (NULL::smallint,  7,  9, 12000, 'Morning rush hour'),
  (NULL,           17, 20, 13000, 'Evening rush hour'),
  (NULL,           23,  5, 11000, 'Late night'),
  (5::smallint,    20, 23, 14000, 'Friday night')
) AS t (day_of_week, start_hour, end_hour, multiplier_bp, description);
