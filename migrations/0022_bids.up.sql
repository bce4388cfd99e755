-- Trips whose driver is found by bids: the best few are asked at once, each may name a price, and
-- the rider picks one. The price of the trip is then the bid's.
--
-- trips.quoted_price  what the trip was quoted with, while its price is a bid's; else null
-- trip_offers.price   what the driver bid last (the column is as old as the table)
--
-- A program that doesn't know of bids moves such a trip on at the price that it has.

ALTER TABLE city_dispatch
  DROP CONSTRAINT city_strategy_is_known,
  DROP CONSTRAINT allowed_strategies_are_known,
  ADD CONSTRAINT city_strategy_is_known
    CHECK (strategy IN ('first_accept', 'sequential', 'batched', 'broadcast_bid')),
  ADD CONSTRAINT allowed_strategies_are_known
    CHECK (allowed <@ ARRAY['first_accept', 'sequential', 'batched', 'broadcast_bid']);

-- Not validated, as in 0021: the words so far are among these.
ALTER TABLE trips
  DROP CONSTRAINT trip_strategy_is_known,
  ADD CONSTRAINT trip_strategy_is_known
    CHECK (strategy IN ('city', 'first_accept', 'sequential', 'batched', 'broadcast_bid')) NOT VALID;
ALTER TABLE trips ADD COLUMN quoted_price bigint;
ALTER TABLE trips ADD CONSTRAINT quoted_price_in_range
  CHECK (quoted_price BETWEEN 0 AND 1000000) NOT VALID;

-- 'unchosen': the driver bid, and the rider let it pass.
ALTER TABLE trip_offers
  DROP CONSTRAINT offer_status_is_known,
  ADD CONSTRAINT offer_status_is_known CHECK (status IN
    ('pending', 'accepted', 'declined', 'expired', 'revoked', 'lost', 'unchosen')) NOT VALID,
  ADD CONSTRAINT bid_in_range CHECK (price BETWEEN 0 AND 1000000) NOT VALID;

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

-- As in 0003, and the price moves: to that of a bid when its rider picks it, and back to the quote
-- when the trip is searched again.
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

-- What the cards of these trips may be asked for, for who changes their prices.
CREATE FUNCTION cards_bound(p_trips uuid[]) RETURNS TABLE (r_trip uuid, r_amount bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT a.trip_id, a.amount FROM card_authorisations a
  WHERE a.trip_id = ANY (p_trips) AND a.status = 'bound'
$$;
REVOKE ALL ON FUNCTION cards_bound FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cards_bound TO smartline_writer;

DO $$
BEGIN
  ALTER FUNCTION cards_bound OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
