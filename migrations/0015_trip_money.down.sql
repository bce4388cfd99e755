DROP TRIGGER trip_promo_stands ON trips;
DROP FUNCTION trip_promo_stands(), promo_reserve, promo_end;
DROP TABLE promo_uses, promo_credits, promo_codes, cancel_rules;

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;
CREATE OR REPLACE FUNCTION trip_create(p_trip jsonb, p_event jsonb, p_type text) RETURNS void
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

DO $$
BEGIN
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;

ALTER TABLE trips
  DROP CONSTRAINT promo_within_price,
  DROP COLUMN promo, DROP COLUMN cash_step, DROP COLUMN no_show_fee;
ALTER TABLE cities
  DROP COLUMN cash_step, DROP COLUMN booking_due_limit, DROP COLUMN no_show_fee;
