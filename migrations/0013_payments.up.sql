-- Money that comes in through the gateway, and trips that are paid late.
--
-- deposits         one row per top-up somebody asked for; its id is the ledger's reference
-- gateway_notices  what the gateway told, as far as it is needed: no card, no name; applied once
-- suspense_captures  money that came and that nobody had asked for, until it is known whose it is
--
-- Refusals of our own have SQLSTATEs of class SL:
--   SL301 a paid deposit never changes; nor does what was in suspense once it is given away
--   SL302 a row says that money waits or was given away, and the ledger has no such journal

CREATE TABLE deposits (
  id            uuid PRIMARY KEY,
  user_id       uuid NOT NULL CONSTRAINT deposit_of_an_account REFERENCES users (id),
  -- Whose account it is: a rider's wallet or a driver's account.
  role          text NOT NULL CONSTRAINT deposit_role_is_known CHECK (role IN ('rider', 'driver')),
  amount        bigint NOT NULL CONSTRAINT deposit_brings_something CHECK (amount > 0),
  currency      text NOT NULL CONSTRAINT deposit_currency_is_known CHECK (currency IN ('EGP')),
  status        text NOT NULL DEFAULT 'pending' CONSTRAINT deposit_status_is_known
                CHECK (status IN ('pending', 'paid', 'failed', 'expired')),
  -- The gateway takes a reference once: an answer that got lost uses it up. The reference is made of
  -- the id and this number, so that money for an older one is still found.
  attempt       smallint NOT NULL DEFAULT 1 CONSTRAINT deposit_is_attempted CHECK (attempt > 0),
  session       text,
  page_url      text,
  gateway_order text,
  -- The payment that made it paid, where the gateway said its name.
  transaction   text,
  method        text,
  -- Why it is not paid.
  failure       text,
  -- When the gateway is asked how it stands; null when nobody asks any more.
  look_at       timestamptz,
  expires_at    timestamptz NOT NULL,
  created_at    timestamptz NOT NULL,
  paid_at       timestamptz,
  CONSTRAINT paid_at_a_time CHECK ((status = 'paid') = (paid_at IS NOT NULL)),
  CONSTRAINT page_has_an_address CHECK (session IS NULL OR page_url IS NOT NULL)
);
CREATE INDEX deposits_by_user ON deposits (user_id, created_at DESC, id DESC);
CREATE INDEX deposits_to_look_up ON deposits (look_at) WHERE look_at IS NOT NULL;

-- A payment makes one deposit paid.
CREATE UNIQUE INDEX one_deposit_per_transaction ON deposits (transaction)
  WHERE transaction IS NOT NULL;

CREATE FUNCTION deposit_stays_paid() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  -- What was paid stays so, by the same payment; its name may become known later.
  IF OLD.status = 'paid' AND (NEW.status, NEW.paid_at, coalesce(OLD.transaction, NEW.transaction))
     IS DISTINCT FROM (OLD.status, OLD.paid_at, NEW.transaction) THEN
    RAISE EXCEPTION 'deposit % is paid', OLD.id USING ERRCODE = 'SL301';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER deposit_stays_paid BEFORE UPDATE ON deposits
  FOR EACH ROW EXECUTE FUNCTION deposit_stays_paid();

CREATE TABLE gateway_notices (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  transaction   text NOT NULL,
  status        text NOT NULL,
  event         text NOT NULL,
  reference     text NOT NULL,
  gateway_order text,
  -- Null for one that is no whole number of piasters.
  amount        bigint,
  currency      text,
  -- Amount and currency in the gateway's own words.
  stated        text NOT NULL,
  merchant      text,
  method        text,
  response_code text,
  received_at   timestamptz NOT NULL,
  applied_at    timestamptz,
  -- What it changed, or why nothing.
  outcome       text,
  CONSTRAINT one_notice_per_transaction_and_status UNIQUE (transaction, status),
  CONSTRAINT applied_with_an_outcome CHECK ((applied_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX notices_by_time ON gateway_notices (received_at DESC, id DESC);

CREATE TABLE suspense_captures (
  -- The ledger's name of it.
  id            uuid PRIMARY KEY,
  -- The gateway's, as far as it said them.
  transaction   text,
  gateway_order text,
  -- What it was paid for, where that is known.
  deposit_id    uuid CONSTRAINT suspense_of_a_deposit REFERENCES deposits (id),
  why           text NOT NULL CONSTRAINT suspense_has_a_reason CHECK (length(why) BETWEEN 1 AND 100),
  amount        bigint NOT NULL CONSTRAINT suspense_holds_something CHECK (amount > 0),
  kept_at       timestamptz NOT NULL,
  resolved_at   timestamptz,
  -- Whose it became; null of one that is resolved: it goes back through the gateway.
  given_to      uuid CONSTRAINT suspense_given_to_an_account REFERENCES users (id),
  CONSTRAINT given_away_at_a_time CHECK (given_to IS NULL OR resolved_at IS NOT NULL)
);
CREATE INDEX suspense_open_by_time ON suspense_captures (kept_at DESC, id DESC)
  WHERE resolved_at IS NULL;

CREATE FUNCTION suspense_stays_resolved() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.resolved_at IS NOT NULL THEN
    RAISE EXCEPTION 'capture % is resolved', OLD.id USING ERRCODE = 'SL301';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER suspense_stays_resolved BEFORE UPDATE ON suspense_captures
  FOR EACH ROW EXECUTE FUNCTION suspense_stays_resolved();

-- The list of kinds is there for the index once_per_reference, which is sought only by kinds it
-- knows of.
CREATE FUNCTION suspense_is_booked() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM ledger_journal j WHERE j.reference = NEW.id
       AND j.kind IN ('suspense', 'suspense_resolved') AND j.kind =
       CASE WHEN NEW.resolved_at IS NULL THEN 'suspense' ELSE 'suspense_resolved' END) THEN
    RAISE EXCEPTION 'capture % is not in the ledger as it is here', NEW.id USING ERRCODE = 'SL302';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER suspense_is_booked AFTER INSERT OR UPDATE ON suspense_captures
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION suspense_is_booked();

-- Completed trips that could not be paid, by who owes for them.
CREATE INDEX trips_unpaid ON trips (rider_id, ended_at, id) WHERE payment_status = 'failed';

-- Marks a completed trip as paid after all, with its fact. The caller posts the settlement in the
-- same transaction. False when it is not where the caller thinks, or paid already.
CREATE FUNCTION trip_pay_late(
  p_id uuid, p_version integer, p_type text, p_event jsonb, p_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE trips SET version = p_version, payment_status = 'paid'
  WHERE id = p_id AND version = p_version - 1 AND status = 'completed' AND payment_status = 'failed';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION trip_pay_late FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trip_pay_late TO smartline_writer;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['deposits', 'gateway_notices', 'suspense_captures'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- Everybody sees his own; only the program makes and moves them, with the facts beside them.
CREATE POLICY deposits_read ON deposits FOR SELECT TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY deposits_add ON deposits FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY deposits_move ON deposits FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT (id, user_id, role, amount, currency, look_at, expires_at, created_at),
  UPDATE (status, attempt, session, page_url, gateway_order, transaction, method, failure, look_at,
          expires_at, paid_at)
  ON deposits TO smartline_app;

CREATE POLICY notices_read ON gateway_notices FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY notices_add ON gateway_notices FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY notices_apply ON gateway_notices FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (applied_at, outcome) ON gateway_notices TO smartline_app;

-- The program finds it, an admin gives it away.
CREATE POLICY suspense_read ON suspense_captures FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY suspense_keep ON suspense_captures FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY suspense_resolve ON suspense_captures FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');
GRANT SELECT, INSERT (id, transaction, gateway_order, deposit_id, why, amount, kept_at),
  UPDATE (resolved_at, given_to) ON suspense_captures TO smartline_app;

-- Handed over as in 0005.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  ALTER FUNCTION trip_pay_late OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
