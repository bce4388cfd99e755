-- Trips paid by card: authorised on the gateway's page before booking, captured at completion.
--
-- card_authorisations  one row per amount that a rider lets the gateway reserve on his card; no card
--                      and no token of one. Bound to one trip at most, captured once at most.
--
-- Refusals of our own have SQLSTATEs of class SL:
--   SL801 an authorisation can not go from where it is to there
--   SL802 only the program settles a trip that is paid by card

CREATE TABLE card_authorisations (
  id            uuid PRIMARY KEY,
  rider_id      uuid NOT NULL CONSTRAINT card_of_an_account REFERENCES users (id),
  amount        bigint NOT NULL CONSTRAINT card_authorises_something CHECK (amount > 0),
  currency      text NOT NULL CONSTRAINT card_currency_is_known CHECK (currency IN ('EGP')),
  status        text NOT NULL DEFAULT 'pending' CONSTRAINT card_status_is_known CHECK (status IN
                ('pending', 'failed', 'expired', 'authorised', 'bound', 'capturing', 'captured',
                 'releasing', 'voiding', 'voided', 'charged')),
  -- As of deposits: the gateway takes a name once.
  attempt       smallint NOT NULL DEFAULT 1 CONSTRAINT card_is_attempted CHECK (attempt > 0),
  session       text,
  page_url      text,
  gateway_order text,
  -- The authorisation's, and the capture's.
  transaction   text,
  capture       text,
  trip_id       uuid CONSTRAINT one_trip_per_card UNIQUE REFERENCES trips (id),
  -- What the gateway was asked for, and what it took.
  to_capture    bigint,
  captured      bigint,
  failure       text,
  -- When it is looked at next; null when nobody looks any more.
  look_at       timestamptz,
  page_until    timestamptz NOT NULL,
  -- Once authorised: how long it is good.
  expires_at    timestamptz,
  -- When the gateway was asked to take it or to let it go; what became of that may not be known.
  asked_at      timestamptz,
  created_at    timestamptz NOT NULL,
  authorised_at timestamptz,
  ended_at      timestamptz,
  CONSTRAINT card_page_has_an_address CHECK (session IS NULL OR page_url IS NOT NULL),
  CONSTRAINT card_good_once_authorised CHECK ((authorised_at IS NULL) = (expires_at IS NULL)),
  CONSTRAINT card_of_a_trip CHECK
    (status NOT IN ('bound', 'capturing', 'captured') OR trip_id IS NOT NULL),
  CONSTRAINT card_taken_is_said CHECK ((status IN ('captured', 'charged')) = (captured IS NOT NULL)),
  CONSTRAINT card_taken_within CHECK
    (captured BETWEEN 1 AND amount AND coalesce(to_capture BETWEEN 1 AND amount, true)),
  CONSTRAINT card_asked_for_something CHECK
    (status NOT IN ('capturing', 'voiding') OR asked_at IS NOT NULL)
);
CREATE INDEX cards_by_rider ON card_authorisations (rider_id, created_at DESC, id DESC);
CREATE INDEX cards_to_look_up ON card_authorisations (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX cards_by_capture ON card_authorisations (ended_at) WHERE captured IS NOT NULL;
CREATE UNIQUE INDEX one_card_per_transaction ON card_authorisations (transaction)
  WHERE transaction IS NOT NULL;
CREATE UNIQUE INDEX one_card_per_capture ON card_authorisations (capture)
  WHERE capture IS NOT NULL;

CREATE FUNCTION card_goes_on() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
      ('pending', 'authorised'), ('pending', 'failed'), ('pending', 'expired'), ('pending', 'charged'),
      ('failed', 'pending'), ('failed', 'authorised'), ('failed', 'expired'), ('failed', 'charged'),
      ('expired', 'pending'), ('expired', 'authorised'), ('expired', 'charged'),
      ('authorised', 'bound'), ('authorised', 'releasing'), ('authorised', 'voided'),
      ('authorised', 'charged'),
      ('bound', 'capturing'), ('bound', 'releasing'),
      ('capturing', 'captured'), ('capturing', 'bound'), ('capturing', 'releasing'),
      ('capturing', 'voided'), ('capturing', 'charged'),
      ('releasing', 'voiding'), ('releasing', 'expired'),
      ('voiding', 'releasing'), ('voiding', 'voided'), ('voiding', 'expired'), ('voiding', 'charged'))
     OR (OLD.trip_id IS NOT NULL AND NEW.trip_id IS DISTINCT FROM OLD.trip_id)
     OR (OLD.captured IS NOT NULL AND NEW.captured IS DISTINCT FROM OLD.captured) THEN
    RAISE EXCEPTION 'card authorisation % is %, it can not become %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'SL801';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER card_goes_on BEFORE UPDATE ON card_authorisations
  FOR EACH ROW EXECUTE FUNCTION card_goes_on();

-- Binds an authorisation to a trip, in the transaction that books the trip; why it can't be bound,
-- or null. Then the booking is not to be committed.
CREATE FUNCTION card_bind(p_card uuid, p_trip uuid, p_good_until timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_card card_authorisations;
  v_due  bigint;
BEGIN
  SELECT * INTO v_card FROM card_authorisations a WHERE a.id = p_card FOR NO KEY UPDATE;
  SELECT t.price - t.promo INTO v_due FROM trips t
  WHERE t.id = p_trip AND t.rider_id = v_card.rider_id AND t.payment_method = 'card'
    AND (t.rider_id = app_uid() OR app_is_staff());
  IF v_due IS NULL THEN
    RETURN 'unknown';
  END IF;
  IF v_card.trip_id IS NOT NULL THEN
    RETURN 'used';
  END IF;
  IF v_card.status <> 'authorised' THEN
    RETURN v_card.status;
  END IF;
  IF v_card.expires_at < p_good_until THEN
    RETURN 'expired';
  END IF;
  IF v_card.amount < v_due THEN
    RETURN 'too_little';
  END IF;
  -- Whoever ends the trip takes it up; looked at by itself only when it runs out.
  UPDATE card_authorisations SET status = 'bound', trip_id = p_trip, look_at = expires_at
  WHERE id = p_card;
  RETURN NULL;
END $$;

-- Marks a completed trip as paid by its card, or as not paid, with its fact. The caller posts the
-- settlement in the same transaction. False when the trip is not where the caller thinks.
CREATE FUNCTION trip_card_settle(
  p_id uuid, p_version integer, p_type text, p_event jsonb, p_at timestamptz, p_to text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF NOT app_is_system() THEN
    RAISE EXCEPTION 'only the program settles a trip' USING ERRCODE = 'SL802';
  END IF;
  UPDATE trips SET version = p_version, payment_status = p_to
  WHERE id = p_id AND version = p_version - 1 AND status = 'completed' AND payment_method = 'card'
    AND (payment_status, p_to) IN (('pending', 'paid'), ('pending', 'failed'), ('failed', 'paid'));
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  IF p_to = 'paid' THEN
    PERFORM promo_end(ARRAY[p_id], ARRAY[true], p_at);
  END IF;
  RETURN true;
END $$;

ALTER TABLE card_authorisations ENABLE ROW LEVEL SECURITY;
ALTER TABLE card_authorisations FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON card_authorisations TO smartline_core USING (true);

-- A rider sees his own; only the program makes and moves them.
CREATE POLICY cards_read ON card_authorisations FOR SELECT TO smartline_app
  USING (rider_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY cards_add ON card_authorisations FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY cards_move ON card_authorisations FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT (id, rider_id, amount, currency, look_at, page_until, created_at),
  UPDATE (status, attempt, session, page_url, gateway_order, transaction, capture, to_capture,
          captured, failure, look_at, page_until, expires_at, asked_at, authorised_at, ended_at)
  ON card_authorisations TO smartline_app;
GRANT SELECT, UPDATE ON card_authorisations TO smartline_core;
REVOKE ALL ON FUNCTION card_bind, trip_card_settle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION card_bind, trip_card_settle TO smartline_app;

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

-- As in 0013, and no wallet pays for a trip whose card may just have paid.
CREATE OR REPLACE FUNCTION trip_pay_late(
  p_id uuid, p_version integer, p_type text, p_event jsonb, p_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE trips SET version = p_version, payment_status = 'paid'
  WHERE id = p_id AND version = p_version - 1 AND status = 'completed' AND payment_status = 'failed'
    AND NOT EXISTS (SELECT FROM card_authorisations a
                    WHERE a.trip_id = p_id AND a.status = 'capturing');
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  RETURN true;
END $$;

DO $$
BEGIN
  ALTER FUNCTION card_bind OWNER TO smartline_core;
  ALTER FUNCTION trip_card_settle OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
