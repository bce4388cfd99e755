-- Trips that are booked ahead: searched shortly before their pickup, beside whatever else their rider
-- does meanwhile.
--
-- trips.confirm_by     until then the driver, who accepted early, must say again that he comes
-- trip_offers.standby  the driver was asked to stand by: his answer counts neither for nor against him
--
-- A program that doesn't know of it leaves confirm_by empty, which asks nobody for anything, and asks
-- nobody to stand by.

ALTER TABLE trips ADD COLUMN confirm_by timestamptz;
ALTER TABLE trip_offers ADD COLUMN standby boolean NOT NULL DEFAULT false;

-- The words so far are among these.
ALTER TABLE trips
  DROP CONSTRAINT trip_strategy_is_known,
  ADD CONSTRAINT trip_strategy_is_known CHECK (strategy IN
    ('city', 'first_accept', 'sequential', 'batched', 'broadcast_bid', 'scheduled')) NOT VALID;
-- 'stands_by': the driver is asked first should the one who drives not come.
ALTER TABLE trip_offers
  DROP CONSTRAINT offer_status_is_known,
  ADD CONSTRAINT offer_status_is_known CHECK (status IN ('pending', 'accepted', 'declined', 'expired',
    'revoked', 'lost', 'unchosen', 'stands_by')) NOT VALID;

-- T2 is about immediate trips.
DROP INDEX one_live_trip_per_rider;
CREATE UNIQUE INDEX one_live_trip_per_rider ON trips (rider_id)
  WHERE status IN ('requested', 'accepted', 'arrived', 'started') AND scheduled_at IS NULL;
-- What a rider has ahead of him, looked at when he books another.
CREATE INDEX trips_ahead ON trips (rider_id, scheduled_at)
  WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started')
    AND scheduled_at IS NOT NULL;

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

-- As in 0022, and the wish for a confirmation moves.
CREATE OR REPLACE FUNCTION trip_transitions(p_items jsonb) RETURNS TABLE (r_id uuid)
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
      started_at timestamptz, ended_at timestamptz, price bigint, quoted_price bigint,
      confirm_by timestamptz)
  ), moved AS (
    UPDATE trips t SET
      version = x.version, epoch = x.epoch, status = x.status, payment_status = x.payment_status, driver_id = x.driver_id,
      queued_behind = x.queued_behind, final_price = x.final_price, hold = x.hold,
      distance_m = x.distance_m, duration_s = x.duration_s, rounds = x.rounds, excluded = x.excluded,
      cancelled_by = x.cancelled_by, cancel_reason = x.cancel_reason, cancel_fee = x.cancel_fee,
      requested_at = x.requested_at, accepted_at = x.accepted_at, arrived_at = x.arrived_at,
      started_at = x.started_at, ended_at = x.ended_at,
      price = coalesce(x.price, t.price),
      quoted_price = CASE WHEN x.price IS NULL THEN t.quoted_price ELSE x.quoted_price END,
      confirm_by = x.confirm_by
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
      AND coalesce(x.price = t.price
        OR x.side = 'rider' AND t.status = 'requested' AND x.status = 'accepted'
          AND x.quoted_price = coalesce(t.quoted_price, t.price)
        OR x.status = 'requested' AND x.price = t.quoted_price, x.price IS NULL)
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

DO $$
BEGIN
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
