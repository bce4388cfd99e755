DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
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
DROP FUNCTION cards_bound;

-- What only bids know becomes what the program before them knows.
UPDATE trips SET strategy = 'city' WHERE strategy = 'broadcast_bid';
UPDATE trip_offers SET status = 'expired' WHERE status = 'unchosen';
UPDATE city_dispatch SET allowed = array_remove(allowed, 'broadcast_bid'),
  strategy = CASE strategy WHEN 'broadcast_bid' THEN 'first_accept' ELSE strategy END;
SET CONSTRAINTS ALL IMMEDIATE;

DO $$
BEGIN
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;

ALTER TABLE city_dispatch
  DROP CONSTRAINT city_strategy_is_known,
  DROP CONSTRAINT allowed_strategies_are_known,
  ADD CONSTRAINT city_strategy_is_known
    CHECK (strategy IN ('first_accept', 'sequential', 'batched')),
  ADD CONSTRAINT allowed_strategies_are_known
    CHECK (allowed <@ ARRAY['first_accept', 'sequential', 'batched']);
ALTER TABLE trips
  DROP CONSTRAINT trip_strategy_is_known,
  DROP COLUMN quoted_price,
  ADD CONSTRAINT trip_strategy_is_known
    CHECK (strategy IN ('city', 'first_accept', 'sequential', 'batched')) NOT VALID;
ALTER TABLE trip_offers
  DROP CONSTRAINT bid_in_range,
  DROP CONSTRAINT offer_status_is_known,
  ADD CONSTRAINT offer_status_is_known CHECK (status IN
    ('pending', 'accepted', 'declined', 'expired', 'revoked', 'lost')) NOT VALID;
