-- The money of trips: promo credit beside the ledger, a city's cash, fees by tier.
--
-- promo_codes    a campaign: what each trip gets off, for whom, and how much of it there is
-- promo_credits  a rider's right to it: a redeemed code, or an amount granted to him
-- promo_uses     what one trip takes of a credit: reserved when it is booked, spent in the commit
--                that settles it, freed when it ends without a fare
--
-- Counters stand in the rows that limit them, so that a constraint refuses what would be too much,
-- whoever asks at the same time. They move through two doors only.

ALTER TABLE cities
  -- Cash is handed over in multiples of this, piasters; 1 where nothing is rounded.
  ADD COLUMN cash_step bigint NOT NULL DEFAULT 50
    CONSTRAINT cash_step_is_a_coin CHECK (cash_step BETWEEN 1 AND 1000),
  -- What a rider may owe and still book.
  ADD COLUMN booking_due_limit bigint NOT NULL DEFAULT 0
    CONSTRAINT booking_due_not_negative CHECK (booking_due_limit >= 0),
  -- Null: as much as a late cancellation.
  ADD COLUMN no_show_fee bigint
    CONSTRAINT no_show_fee_in_range CHECK (no_show_fee BETWEEN 0 AND 1000000);

-- Where a tier cancels otherwise than its city; what is null is the city's.
CREATE TABLE cancel_rules (
  city_id        smallint NOT NULL REFERENCES cities (id),
  tier           text NOT NULL CONSTRAINT cancel_tier_is_known
                 CHECK (tier IN ('economy', 'comfort', 'premium', 'xl')),
  free_cancel_s  integer CONSTRAINT free_cancel_not_negative CHECK (free_cancel_s >= 0),
  cancel_fee     bigint CONSTRAINT tier_cancel_fee_in_range
                 CHECK (cancel_fee BETWEEN 0 AND 1000000),
  no_show_wait_s integer CONSTRAINT no_show_wait_not_negative CHECK (no_show_wait_s >= 0),
  no_show_fee    bigint CONSTRAINT tier_no_show_fee_in_range
                 CHECK (no_show_fee BETWEEN 0 AND 1000000),
  PRIMARY KEY (city_id, tier)
);

-- Frozen into the trip when it is booked. Trips from before have none of it; so have those that
-- the previous program still books.
ALTER TABLE trips
  ADD COLUMN promo bigint NOT NULL DEFAULT 0,
  ADD COLUMN cash_step bigint NOT NULL DEFAULT 1
    CONSTRAINT trip_cash_step_is_a_coin CHECK (cash_step BETWEEN 1 AND 1000),
  ADD COLUMN no_show_fee bigint,
  ADD CONSTRAINT promo_within_price CHECK (promo BETWEEN 0 AND price);

CREATE TABLE promo_codes (
  id          uuid PRIMARY KEY,
  code        text NOT NULL CONSTRAINT one_promo_per_code UNIQUE
              CONSTRAINT promo_code_is_plain CHECK (code ~ '^[A-Z0-9]{3,32}$'),
  reason      text NOT NULL CONSTRAINT promo_reason_is_short CHECK (length(reason) BETWEEN 1 AND 500),
  -- Off each trip: this share of the fare, or the whole of `off_max` where it is null.
  percent_bp  integer CONSTRAINT promo_is_a_share CHECK (percent_bp BETWEEN 1 AND 10000),
  off_max     bigint NOT NULL CONSTRAINT promo_gives_something CHECK (off_max BETWEEN 1 AND 1000000),
  min_fare    bigint NOT NULL DEFAULT 0 CONSTRAINT promo_min_fare_not_negative CHECK (min_fare >= 0),
  -- Empty: all of them.
  tiers       text[] NOT NULL DEFAULT '{}' CONSTRAINT promo_tiers_are_known
              CHECK (tiers <@ ARRAY['economy', 'comfort', 'premium', 'xl']),
  cities      smallint[] NOT NULL DEFAULT '{}',
  per_rider   integer NOT NULL CONSTRAINT promo_per_rider_is_sane CHECK (per_rider BETWEEN 1 AND 1000),
  -- Trips (null: no limit) and piasters; counted from when they are reserved.
  uses_max    integer,
  uses        integer NOT NULL DEFAULT 0,
  budget      bigint NOT NULL,
  given       bigint NOT NULL DEFAULT 0,
  valid_from  timestamptz NOT NULL,
  valid_until timestamptz NOT NULL,
  created_by  uuid NOT NULL,
  created_at  timestamptz NOT NULL,
  -- Null: it waits for a second admin, and nobody can have it yet.
  opened_at   timestamptz,
  disabled_at timestamptz,
  CONSTRAINT promo_ends_after_it_starts CHECK (valid_until > valid_from),
  CONSTRAINT promo_not_overused CHECK (uses >= 0 AND coalesce(uses <= uses_max, true)),
  CONSTRAINT promo_budget_not_overdrawn CHECK (given >= 0 AND given <= budget)
);
CREATE INDEX promo_codes_by_time ON promo_codes (created_at DESC, id DESC);

CREATE TABLE promo_credits (
  id         uuid PRIMARY KEY,
  rider_id   uuid NOT NULL CONSTRAINT credit_of_an_account REFERENCES users (id),
  code_id    uuid CONSTRAINT credit_of_a_code REFERENCES promo_codes (id),
  -- Of a grant: all there is of it. A code's is counted in trips.
  amount     bigint CONSTRAINT grant_gives_something CHECK (amount BETWEEN 1 AND 1000000),
  used       bigint NOT NULL DEFAULT 0,
  trips_max  integer,
  trips      integer NOT NULL DEFAULT 0,
  reason     text NOT NULL CONSTRAINT credit_reason_is_short CHECK (length(reason) BETWEEN 1 AND 500),
  granted_by uuid,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT one_credit_per_code UNIQUE (rider_id, code_id),
  CONSTRAINT credit_is_a_grant_or_a_code CHECK (
    (code_id IS NULL) = (amount IS NOT NULL) AND (code_id IS NULL) = (trips_max IS NULL)
    AND (code_id IS NULL) = (granted_by IS NOT NULL)),
  CONSTRAINT credit_not_overdrawn CHECK (
    used >= 0 AND trips >= 0 AND coalesce(used <= amount, true) AND coalesce(trips <= trips_max, true))
);
CREATE INDEX promo_credits_by_rider ON promo_credits (rider_id, expires_at);

CREATE TABLE promo_uses (
  trip_id    uuid PRIMARY KEY REFERENCES trips (id),
  credit_id  uuid NOT NULL CONSTRAINT use_of_a_credit REFERENCES promo_credits (id),
  rider_id   uuid NOT NULL,
  amount     bigint NOT NULL CONSTRAINT use_takes_something CHECK (amount > 0),
  state      text NOT NULL DEFAULT 'reserved'
             CONSTRAINT use_state_is_known CHECK (state IN ('reserved', 'spent', 'freed')),
  created_at timestamptz NOT NULL,
  ended_at   timestamptz,
  CONSTRAINT use_ends_once CHECK ((state = 'reserved') = (ended_at IS NULL))
);
CREATE INDEX promo_uses_by_credit ON promo_uses (credit_id);

-- Takes a trip's promo from its rider's credit, in the transaction that books the trip. False when
-- there is not enough of it (any more): then the booking is not to be committed. Called last in
-- that transaction, since the code's row is everybody's.
CREATE FUNCTION promo_reserve(p_trip uuid, p_credit uuid, p_amount bigint, p_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_rider uuid;
  v_code  uuid;
BEGIN
  UPDATE promo_credits c SET used = c.used + p_amount, trips = c.trips + 1
  FROM trips t
  WHERE c.id = p_credit AND t.id = p_trip AND t.rider_id = c.rider_id AND t.promo = p_amount
    AND (c.rider_id = app_uid() OR app_is_staff()) AND c.expires_at > p_at
    AND coalesce(c.used + p_amount <= c.amount, true) AND coalesce(c.trips < c.trips_max, true)
  RETURNING c.rider_id, c.code_id INTO v_rider, v_code;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO promo_uses (trip_id, credit_id, rider_id, amount, created_at)
  VALUES (p_trip, p_credit, v_rider, p_amount, p_at);
  IF v_code IS NULL THEN
    RETURN true;
  END IF;
  UPDATE promo_codes k SET uses = k.uses + 1, given = k.given + p_amount
  WHERE k.id = v_code AND k.disabled_at IS NULL AND k.valid_from <= p_at AND p_at < k.valid_until
    AND k.opened_at IS NOT NULL
    AND coalesce(k.uses < k.uses_max, true) AND k.given + p_amount <= k.budget;
  RETURN FOUND;
END $$;

-- Ends what trips reserved: spent, or given back. In the transaction that moves the trips. Rows
-- that others may want too are locked in the order of their ids.
CREATE FUNCTION promo_end(p_trips uuid[], p_spent boolean[], p_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_freed uuid[];
BEGIN
  WITH ended AS (
    UPDATE promo_uses u
    SET state = CASE WHEN x.spent THEN 'spent' ELSE 'freed' END, ended_at = p_at
    FROM unnest(p_trips, p_spent) AS x (trip, spent)
    WHERE u.trip_id = x.trip AND u.state = 'reserved'
    RETURNING u.trip_id, x.spent
  )
  SELECT array_agg(e.trip_id) INTO v_freed FROM ended e WHERE NOT e.spent;
  IF v_freed IS NULL THEN
    RETURN;
  END IF;

  PERFORM 1 FROM promo_credits c
  WHERE c.id IN (SELECT u.credit_id FROM promo_uses u WHERE u.trip_id = ANY (v_freed))
  ORDER BY c.id FOR NO KEY UPDATE;
  UPDATE promo_credits c SET used = c.used - f.amount, trips = c.trips - f.trips
  FROM (SELECT u.credit_id, sum(u.amount)::bigint AS amount, count(*)::integer AS trips
        FROM promo_uses u WHERE u.trip_id = ANY (v_freed) GROUP BY u.credit_id) f
  WHERE c.id = f.credit_id;

  PERFORM 1 FROM promo_codes k
  WHERE k.id IN (SELECT c.code_id FROM promo_uses u JOIN promo_credits c ON c.id = u.credit_id
                 WHERE u.trip_id = ANY (v_freed))
  ORDER BY k.id FOR NO KEY UPDATE;
  UPDATE promo_codes k SET uses = k.uses - f.uses, given = k.given - f.amount
  FROM (SELECT c.code_id, sum(u.amount)::bigint AS amount, count(*)::integer AS uses
        FROM promo_uses u JOIN promo_credits c ON c.id = u.credit_id
        WHERE u.trip_id = ANY (v_freed) AND c.code_id IS NOT NULL GROUP BY c.code_id) f
  WHERE k.id = f.code_id;
END $$;

-- A trip's promo is reserved while it lives or waits for its payment, spent once it is paid, and
-- free when it ended without a fare. Looked at when the transaction commits: whoever moves the trip
-- and forgets its promo, or the other way round, moves nothing.
CREATE FUNCTION trip_promo_stands() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_wanted text;
BEGIN
  SELECT CASE WHEN t.status IN ('cancelled', 'no_drivers') THEN 'freed'
              WHEN t.status = 'completed' AND t.payment_status = 'paid' THEN 'spent'
              ELSE 'reserved' END
    INTO v_wanted FROM trips t WHERE t.id = NEW.id;
  IF NOT EXISTS (SELECT FROM promo_uses u
                 WHERE u.trip_id = NEW.id AND u.amount = NEW.promo AND u.state = v_wanted) THEN
    RAISE EXCEPTION 'the promo of trip % is not %', NEW.id, v_wanted
      USING ERRCODE = 'check_violation', CONSTRAINT = 'trip_promo_stands';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER trip_promo_stands AFTER INSERT OR UPDATE ON trips
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.promo > 0)
  EXECUTE FUNCTION trip_promo_stands();

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

-- As in 0003, with what is frozen since. A program that doesn't know of it sends nothing of it.
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
    free_cancel_s, late_cancel_fee, no_show_wait_s, due_limit, debt_limit,
    promo, cash_step, no_show_fee)
  SELECT
    v_id, r.city_id, r.rider_id, r.status, r.payment_method, r.tier, r.strategy, 1, v_epoch,
    r.pickup_lat, r.pickup_lng, r.pickup_address, r.destination_lat, r.destination_lng, r.destination_address,
    r.stops, r.passenger, r.price, r.hold, r.commission_bp, r.surge, r.quote_id, r.quoted_distance_m, r.quoted_duration_s,
    r.pin, r.scheduled_at, v_at, v_at,
    r.free_cancel_s, r.late_cancel_fee, r.no_show_wait_s, r.due_limit, r.debt_limit,
    coalesce(r.promo, 0), coalesce(r.cash_step, 1), r.no_show_fee
  FROM jsonb_to_record(p_trip) AS r (
    city_id smallint, rider_id uuid, status text, payment_method text, tier text, strategy text,
    pickup_lat double precision, pickup_lng double precision, pickup_address text,
    destination_lat double precision, destination_lng double precision, destination_address text,
    stops jsonb, passenger jsonb, price bigint, hold bigint, commission_bp integer, surge real, quote_id text,
    quoted_distance_m integer, quoted_duration_s integer, pin text, scheduled_at timestamptz,
    free_cancel_s integer, late_cancel_fee bigint, no_show_wait_s integer, due_limit bigint, debt_limit bigint,
    promo bigint, cash_step bigint, no_show_fee bigint);

  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', v_id, 1, p_type, p_event, v_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', v_id, 1, p_type, p_event, v_at);
END $$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['cancel_rules', 'promo_codes', 'promo_credits', 'promo_uses'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

CREATE POLICY all_read ON cancel_rules FOR SELECT TO smartline_app USING (true);
CREATE POLICY staff_write ON cancel_rules TO smartline_app USING ((SELECT app_is_staff()));
GRANT SELECT, INSERT, UPDATE, DELETE ON cancel_rules TO smartline_app;

-- Whoever redeemed a code sees what it gives. An admin makes codes in his own name and ends them;
-- what was made stays as it was made.
CREATE POLICY codes_read ON promo_codes FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()) OR EXISTS (SELECT FROM promo_credits c
    WHERE c.code_id = promo_codes.id AND c.rider_id = (SELECT app_uid())));
CREATE POLICY codes_add ON promo_codes FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND created_by = (SELECT app_uid()));
CREATE POLICY codes_end ON promo_codes FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');
GRANT SELECT, INSERT (id, code, reason, percent_bp, off_max, min_fare, tiers, cities, per_rider,
    uses_max, budget, valid_from, valid_until, created_by, created_at),
  UPDATE (opened_at, disabled_at) ON promo_codes TO smartline_app;

-- Codes are redeemed by the program, amounts are granted by an admin in his own name.
CREATE POLICY credits_read ON promo_credits FOR SELECT TO smartline_app
  USING (rider_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY credits_redeem ON promo_credits FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()) AND code_id IS NOT NULL);
CREATE POLICY credits_grant ON promo_credits FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND code_id IS NULL AND granted_by = (SELECT app_uid()));
GRANT SELECT, INSERT (id, rider_id, code_id, amount, trips_max, reason, granted_by, expires_at,
    created_at) ON promo_credits TO smartline_app;

CREATE POLICY uses_read ON promo_uses FOR SELECT TO smartline_app
  USING (rider_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
GRANT SELECT ON promo_uses TO smartline_app;

GRANT SELECT, UPDATE ON promo_codes, promo_credits TO smartline_core;
GRANT SELECT, INSERT, UPDATE ON promo_uses TO smartline_core;
REVOKE ALL ON FUNCTION promo_reserve, promo_end, trip_promo_stands FROM PUBLIC;
GRANT EXECUTE ON FUNCTION promo_reserve TO smartline_app;
GRANT EXECUTE ON FUNCTION promo_end TO smartline_writer;

DO $$
BEGIN
  ALTER FUNCTION promo_reserve OWNER TO smartline_core;
  ALTER FUNCTION promo_end OWNER TO smartline_core;
  ALTER FUNCTION trip_promo_stands OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
