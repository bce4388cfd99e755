-- Who moves money in a way that somebody should look at.
--
-- fraud_counters  what an account did, by buckets of five minutes; two days are kept
-- fraud_history   all that an account moved, by kind of movement: its own average
-- fraud_devices   which accounts were seen on which phone; no token, its hash
-- fraud_cases     rules that accounts met, and what operators decided
--
-- Everything about one account is written under an advisory lock of its own (`account_lock_in_tx`).
--
-- Refusals of our own have SQLSTATEs of class SL:
--   SL701 a case can not go from where it is to there

CREATE TABLE fraud_counters (
  account uuid NOT NULL,
  bucket  timestamptz NOT NULL,
  what    text NOT NULL CONSTRAINT counted_is_known CHECK (what IN
          ('moved', 'deposited', 'withdrawn', 'payment_failed', 'login_failed', 'refused', 'circular')),
  -- With whom; nil where it is with nobody.
  other   uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  times   integer NOT NULL CONSTRAINT counted_at_least_once CHECK (times > 0),
  amount  bigint NOT NULL DEFAULT 0 CONSTRAINT counted_amount_not_negative CHECK (amount >= 0),
  CONSTRAINT one_counter_per_bucket PRIMARY KEY (account, bucket, what, other)
);
CREATE INDEX fraud_counters_by_time ON fraud_counters (bucket);

CREATE TABLE fraud_history (
  account  uuid NOT NULL,
  movement text NOT NULL CONSTRAINT movement_is_known
           CHECK (movement IN ('deposit', 'withdrawal', 'wallet_booking')),
  times    bigint NOT NULL CONSTRAINT moved_at_least_once CHECK (times > 0),
  amount   bigint NOT NULL CONSTRAINT moved_amount_not_negative CHECK (amount >= 0),
  CONSTRAINT one_history_per_movement PRIMARY KEY (account, movement)
);

CREATE TABLE fraud_devices (
  device  bytea NOT NULL CONSTRAINT device_is_sha256 CHECK (octet_length(device) = 32),
  account uuid NOT NULL,
  seen_at timestamptz NOT NULL,
  CONSTRAINT one_sight_per_device_and_account PRIMARY KEY (device, account)
);
CREATE INDEX fraud_devices_by_time ON fraud_devices (seen_at);

CREATE TABLE fraud_cases (
  id              uuid PRIMARY KEY,
  account         uuid NOT NULL CONSTRAINT case_about_an_account REFERENCES users (id),
  rule            text NOT NULL CONSTRAINT case_rule_is_known CHECK (rule IN
                  ('velocity', 'amount_anomaly', 'deposit_withdraw', 'circular_trips', 'shared_device',
                   'repeated_failures', 'refused_postings', 'unchecked')),
  action          text NOT NULL CONSTRAINT case_action_is_known
                  CHECK (action IN ('flag', 'hold', 'block')),
  status          text NOT NULL DEFAULT 'open' CONSTRAINT case_status_is_known
                  CHECK (status IN ('open', 'cleared', 'confirmed')),
  -- How much evidence there is, in the rule's own measure.
  weight          bigint NOT NULL CONSTRAINT case_has_a_weight CHECK (weight >= 0),
  reasons         jsonb NOT NULL
                  CONSTRAINT reasons_are_an_object CHECK (jsonb_typeof(reasons) = 'object'),
  times           integer NOT NULL DEFAULT 1,
  opened_at       timestamptz NOT NULL,
  seen_at         timestamptz NOT NULL,
  decided_by      uuid,
  decided_at      timestamptz,
  decision_reason text CONSTRAINT decision_has_a_reason CHECK (length(decision_reason) BETWEEN 1 AND 500),
  CONSTRAINT case_decided_by_somebody CHECK ((status = 'open') = (decided_by IS NULL)
    AND (decided_by IS NULL) = (decided_at IS NULL)
    AND (decided_by IS NULL) = (decision_reason IS NULL)),
  CONSTRAINT confirmed_is_blocked CHECK (status <> 'confirmed' OR action = 'block')
);
-- Open or confirmed: in force.
CREATE UNIQUE INDEX one_case_in_force_per_account_and_rule ON fraud_cases (account, rule)
  WHERE status <> 'cleared';
CREATE INDEX fraud_cases_by_account ON fraud_cases (account, rule, opened_at DESC);
CREATE INDEX fraud_cases_by_status ON fraud_cases (status, opened_at DESC, id DESC);
CREATE INDEX fraud_cases_by_time ON fraud_cases (opened_at DESC, id DESC);
CREATE INDEX fraud_cases_by_rule ON fraud_cases (rule, opened_at DESC, id DESC);
CREATE INDEX fraud_cases_by_rule_and_status ON fraud_cases (rule, status, opened_at DESC, id DESC);

CREATE FUNCTION fraud_case_goes_on() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.status = 'cleared' OR (NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN
       (('open', 'cleared'), ('open', 'confirmed'), ('confirmed', 'cleared'))) THEN
    RAISE EXCEPTION 'case % is %, it can not become %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'SL701';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fraud_case_goes_on BEFORE UPDATE ON fraud_cases
  FOR EACH ROW EXECUTE FUNCTION fraud_case_goes_on();

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['fraud_counters', 'fraud_history', 'fraud_devices', 'fraud_cases'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- The program counts; nobody reads it but the program.
CREATE POLICY counters_system ON fraud_counters TO smartline_app USING ((SELECT app_is_system()));
CREATE POLICY history_system ON fraud_history TO smartline_app USING ((SELECT app_is_system()));
CREATE POLICY devices_system ON fraud_devices TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (times, amount), DELETE ON fraud_counters TO smartline_app;
GRANT SELECT, INSERT, UPDATE (times, amount) ON fraud_history TO smartline_app;
GRANT SELECT, INSERT, UPDATE (seen_at), DELETE ON fraud_devices TO smartline_app;

-- Nobody sees a case of his own. The program opens them; an admin decides, in his own name.
CREATE POLICY cases_read ON fraud_cases FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY cases_open ON fraud_cases FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY cases_grow ON fraud_cases FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
CREATE POLICY cases_decide ON fraud_cases FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin')
  WITH CHECK ((SELECT app_role()) = 'admin' AND decided_by = (SELECT app_uid()));
GRANT SELECT, INSERT (id, account, rule, action, weight, reasons, opened_at, seen_at),
  UPDATE (action, status, weight, reasons, times, seen_at, decided_by, decided_at, decision_reason)
  ON fraud_cases TO smartline_app;
