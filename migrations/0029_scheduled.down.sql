DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

-- The program before knows one live trip per rider. Where somebody has more, those that were booked
-- ahead end first: by their riders or by an operator, with what that means for their money.
DO $$
BEGIN
  IF EXISTS (SELECT FROM trips WHERE status IN ('requested', 'accepted', 'arrived', 'started')
      GROUP BY rider_id HAVING count(*) > 1) THEN
    RAISE EXCEPTION 'riders have trips that were booked ahead beside another: end those first';
  END IF;
  -- The program before searches none of these, and nobody would come. While the program after still
  -- runs, an operator lists them (GET /trips?status=scheduled) and cancels each, which tells its
  -- rider and lets go of what it reserved; then the program is stopped.
  IF EXISTS (SELECT FROM trips WHERE status = 'scheduled') THEN
    RAISE EXCEPTION 'trips that are booked ahead wait for their search: let them end or cancel them first';
  END IF;
END $$;

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
      started_at timestamptz, ended_at timestamptz, price bigint, quoted_price bigint)
  ), moved AS (
    UPDATE trips t SET
      version = x.version, epoch = x.epoch, status = x.status, payment_status = x.payment_status, driver_id = x.driver_id,
      queued_behind = x.queued_behind, final_price = x.final_price, hold = x.hold,
      distance_m = x.distance_m, duration_s = x.duration_s, rounds = x.rounds, excluded = x.excluded,
      cancelled_by = x.cancelled_by, cancel_reason = x.cancel_reason, cancel_fee = x.cancel_fee,
      requested_at = x.requested_at, accepted_at = x.accepted_at, arrived_at = x.arrived_at,
      started_at = x.started_at, ended_at = x.ended_at,
      price = coalesce(x.price, t.price),
      quoted_price = CASE WHEN x.price IS NULL THEN t.quoted_price ELSE x.quoted_price END
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

-- What only the program after knows becomes what this one knows.
UPDATE trips SET strategy = 'city' WHERE strategy = 'scheduled';
UPDATE trip_offers SET status = 'revoked' WHERE status = 'stands_by';
SET CONSTRAINTS ALL IMMEDIATE;

DO $$
BEGIN
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;

DROP INDEX trips_ahead;
DROP INDEX one_live_trip_per_rider;
CREATE UNIQUE INDEX one_live_trip_per_rider ON trips (rider_id)
  WHERE status IN ('requested', 'accepted', 'arrived', 'started');
ALTER TABLE trip_offers
  DROP COLUMN standby,
  DROP CONSTRAINT offer_status_is_known,
  ADD CONSTRAINT offer_status_is_known CHECK (status IN
    ('pending', 'accepted', 'declined', 'expired', 'revoked', 'lost', 'unchosen')) NOT VALID;
ALTER TABLE trips
  DROP COLUMN confirm_by,
  DROP CONSTRAINT trip_strategy_is_known,
  ADD CONSTRAINT trip_strategy_is_known
    CHECK (strategy IN ('city', 'first_accept', 'sequential', 'batched', 'broadcast_bid')) NOT VALID;
