-- The doors through which a trip is made and moved. Nothing else writes its status.
--
-- The functions run as their owner and check what their caller has already checked: who acts, that
-- the trip is where he thinks it is (version), that his node still runs it (epoch), and that the
-- step is legal. Refusals of our own have SQLSTATEs of class SL:
--   SL101 the trip would be booked for someone else, or not begin at its beginning
--   SL102 the trips are run by another node now

-- The city's rules as they were when the trip was booked; trips.cancel_fee is what was charged.
ALTER TABLE trips
  ADD COLUMN free_cancel_s   integer NOT NULL DEFAULT 120,
  ADD COLUMN late_cancel_fee bigint  NOT NULL DEFAULT 1500,
  ADD COLUMN no_show_wait_s  integer NOT NULL DEFAULT 300,
  ADD COLUMN due_limit       bigint  NOT NULL DEFAULT 5000,
  ADD COLUMN debt_limit      bigint  NOT NULL DEFAULT 20000;

-- The operators' list of all trips.
CREATE INDEX trips_by_time ON trips (created_at DESC, id DESC);

-- The lease on all trips, one row: its epoch is written into every trip that is written. Whoever takes
-- the lease counts it up, and older epochs write nothing any more. A lock on its number, shared by
-- writers, makes the taker wait for those under way; it costs a trip no write of its own at boot.
CREATE TABLE trip_lease (
  single boolean PRIMARY KEY DEFAULT true CONSTRAINT one_lease CHECK (single),
  epoch  bigint NOT NULL
);
INSERT INTO trip_lease (epoch) VALUES (0);

-- The epoch of the lease, unchanged until the caller's transaction ends.
CREATE FUNCTION trip_lease_epoch() RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(742003);
  RETURN (SELECT epoch FROM trip_lease);
END $$;

-- The graph of legal steps (T4). accepted -> accepted is a reassignment or a queued trip's turn.
CREATE FUNCTION trip_may_become(p_from text, p_to text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (p_from, p_to) IN (
    ('scheduled', 'requested'), ('scheduled', 'cancelled'),
    ('requested', 'accepted'), ('requested', 'no_drivers'), ('requested', 'cancelled'),
    ('accepted', 'accepted'), ('accepted', 'arrived'), ('accepted', 'requested'), ('accepted', 'cancelled'),
    ('arrived', 'started'), ('arrived', 'requested'), ('arrived', 'cancelled'),
    ('started', 'completed'))
$$;

-- Books a trip with its first event. Called by the rider's own transaction: the session says who.
CREATE FUNCTION trip_create(p_trip jsonb, p_event jsonb, p_type text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_uid   uuid := nullif(current_setting('app.uid', true), '')::uuid;
  v_role  text := current_setting('app.role', true);
  v_id    uuid := p_trip->>'id';
  v_at    timestamptz := p_trip->>'created_at';
  v_epoch bigint := p_trip->>'epoch';
  v_mine  boolean := v_role = 'rider' AND v_uid = (p_trip->>'rider_id')::uuid;
BEGIN
  IF NOT coalesce(v_mine OR v_role IN ('admin', 'system'), false) THEN
    RAISE EXCEPTION 'a trip is booked by its rider' USING ERRCODE = 'SL101';
  END IF;
  IF p_trip->>'status' NOT IN ('requested', 'scheduled') THEN
    RAISE EXCEPTION 'a trip begins requested or scheduled' USING ERRCODE = 'SL101';
  END IF;
  IF trip_lease_epoch() IS DISTINCT FROM v_epoch THEN
    RAISE EXCEPTION 'another node runs the trips' USING ERRCODE = 'SL102';
  END IF;

  INSERT INTO trips (
    id, city_id, rider_id, status, payment_method, tier, strategy, version, epoch,
    pickup_lat, pickup_lng, pickup_address, destination_lat, destination_lng, destination_address,
    stops, passenger, price, hold, commission_bp, surge, quote_id, quoted_distance_m, quoted_duration_s,
    pin, scheduled_at, requested_at, created_at,
    free_cancel_s, late_cancel_fee, no_show_wait_s, due_limit, debt_limit)
  SELECT
    v_id, r.city_id, r.rider_id, r.status, r.payment_method, r.tier, r.strategy, 1, v_epoch,
    r.pickup_lat, r.pickup_lng, r.pickup_address, r.destination_lat, r.destination_lng, r.destination_address,
    r.stops, r.passenger, r.price, r.hold, r.commission_bp, r.surge, r.quote_id, r.quoted_distance_m, r.quoted_duration_s,
    r.pin, r.scheduled_at, v_at, v_at,
    r.free_cancel_s, r.late_cancel_fee, r.no_show_wait_s, r.due_limit, r.debt_limit
  FROM jsonb_to_record(p_trip) AS r (
    city_id smallint, rider_id uuid, status text, payment_method text, tier text, strategy text,
    pickup_lat double precision, pickup_lng double precision, pickup_address text,
    destination_lat double precision, destination_lng double precision, destination_address text,
    stops jsonb, passenger jsonb, price bigint, hold bigint, commission_bp integer, surge real, quote_id text,
    quoted_distance_m integer, quoted_duration_s integer, pin text, scheduled_at timestamptz,
    free_cancel_s integer, late_cancel_fee bigint, no_show_wait_s integer, due_limit bigint, debt_limit bigint);

  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', v_id, 1, p_type, p_event, v_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', v_id, 1, p_type, p_event, v_at);
END $$;

-- Moves many trips, each with its event and its outbox row, and says which of them moved. A trip
-- that is not where the item thinks stays as it is. A broken constraint ends the whole batch: the
-- writer splits it. Index scans only: a plan made while the table was empty must not be kept.
CREATE FUNCTION trip_transitions(p_items jsonb) RETURNS TABLE (r_id uuid)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  v_epoch bigint := trip_lease_epoch();
BEGIN
  RETURN QUERY
  WITH x AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(p_items) AS i (
      id uuid, version integer, epoch bigint, side text, actor uuid, event text, payload jsonb, at timestamptz,
      status text, payment_status text, driver_id uuid, queued_behind uuid, final_price bigint, hold bigint,
      distance_m integer, duration_s integer, rounds smallint, excluded uuid[],
      cancelled_by text, cancel_reason text, cancel_fee bigint,
      requested_at timestamptz, accepted_at timestamptz, arrived_at timestamptz,
      started_at timestamptz, ended_at timestamptz)
  ), moved AS (
    UPDATE trips t SET
      version = x.version, epoch = x.epoch, status = x.status, payment_status = x.payment_status, driver_id = x.driver_id,
      queued_behind = x.queued_behind, final_price = x.final_price, hold = x.hold,
      distance_m = x.distance_m, duration_s = x.duration_s, rounds = x.rounds, excluded = x.excluded,
      cancelled_by = x.cancelled_by, cancel_reason = x.cancel_reason, cancel_fee = x.cancel_fee,
      requested_at = x.requested_at, accepted_at = x.accepted_at, arrived_at = x.arrived_at,
      started_at = x.started_at, ended_at = x.ended_at
    FROM x
    WHERE t.id = x.id AND t.version = x.version - 1 AND x.epoch = v_epoch
      AND trip_may_become(t.status, x.status)
      AND CASE x.side
            WHEN 'rider' THEN t.rider_id = x.actor
            WHEN 'driver' THEN coalesce(t.driver_id, x.driver_id) = x.actor AND x.actor <> ALL (t.excluded)
            WHEN 'admin' THEN EXISTS (SELECT FROM users u WHERE u.id = x.actor AND u.role = 'admin')
            WHEN 'system' THEN true
            ELSE false
          END
    RETURNING t.id, x.version, x.event, x.payload, x.at
  ), stored AS (
    INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    SELECT 'trip', m.id, m.version, m.event, m.payload, m.at FROM moved m
  ), queued AS (
    INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    SELECT 'trip', m.id, m.version, m.event, m.payload, m.at FROM moved m ORDER BY m.id
  )
  SELECT m.id FROM moved m;
END $$;

-- Where trips stand. Waits for whoever is still writing them, so that after a commit with an unknown
-- result the answer is final.
CREATE FUNCTION trips_look(p_ids uuid[]) RETURNS SETOF trips
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.* FROM trips t WHERE t.id = ANY (p_ids) ORDER BY t.id FOR NO KEY UPDATE
$$;

-- Takes the lease: whoever had it writes no trip any more. Waits for his writes under way.
CREATE FUNCTION trips_claim() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_epoch bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(742003);
  UPDATE trip_lease SET epoch = epoch + 1 RETURNING epoch INTO v_epoch;
  RETURN v_epoch;
END $$;

-- Offers live in memory: those that were open when the program ended are over.
CREATE FUNCTION trip_offers_expire(p_trips uuid[], p_at timestamptz)
RETURNS TABLE (r_trip uuid, r_driver uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE trip_offers o SET status = 'expired', ended_at = p_at
  WHERE o.trip_id = ANY (p_trips) AND o.status = 'pending'
  RETURNING o.trip_id, o.driver_id
$$;

REVOKE ALL ON FUNCTION trip_create, trip_transitions, trips_look, trips_claim, trip_offers_expire FROM PUBLIC;
