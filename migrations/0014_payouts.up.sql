-- Money that goes out again, and what operators do with other people's money.
--
-- withdrawals  what drivers take out; its id is the ledger's reference of every step
-- admin_acts   corrections, write-offs, refunds: done by one admin alone, or waiting for a second
-- refunds      deposits that go back to the card they came from; the id is that of the act
-- disputes     trips that a rider or driver complains about
--
-- Refusals of our own have SQLSTATEs of class SL:
--   SL401 a row can not go from where it is to there
--   SL402 a row says that money moved, and the ledger has no such journal
--   SL403 more would go back to a card than was paid with it

CREATE TABLE withdrawals (
  id             uuid PRIMARY KEY,
  driver_id      uuid NOT NULL CONSTRAINT withdrawal_of_an_account REFERENCES users (id),
  amount         bigint NOT NULL CONSTRAINT withdrawal_takes_something CHECK (amount > 0),
  method         text NOT NULL CONSTRAINT withdrawal_method_is_known
                 CHECK (method IN ('bank', 'wallet', 'instapay')),
  -- Where it goes, in the one form of its method. Shown with its last characters only.
  account        text NOT NULL CONSTRAINT account_fits_method CHECK (CASE method
                   WHEN 'bank' THEN account ~ '^EG[0-9]{27}$'
                   WHEN 'wallet' THEN account ~ '^\+201[0125][0-9]{8}$'
                   ELSE account ~ '^[a-z0-9._-]{3,64}@instapay$' END),
  status         text NOT NULL DEFAULT 'requested' CONSTRAINT withdrawal_status_is_known CHECK (status IN
                 ('requested', 'approved', 'sent', 'confirmed', 'failed', 'rejected')),
  -- Who pays it out, once that has begun.
  channel        text CONSTRAINT withdrawal_channel_is_known CHECK (channel IN ('provider', 'hand')),
  -- The provider's name for it.
  provider_id    text,
  -- What the bank calls the transfer.
  bank_reference text,
  -- Why it was rejected, or came back.
  reason         text,
  -- When the provider is asked how it stands; null when nobody asks any more.
  look_at        timestamptz,
  requested_at   timestamptz NOT NULL,
  decided_by     uuid,
  decided_at     timestamptz,
  sent_at        timestamptz,
  ended_at       timestamptz,
  CONSTRAINT decided_by_somebody CHECK
    ((status = 'requested') = (decided_by IS NULL) AND (decided_by IS NULL) = (decided_at IS NULL)),
  CONSTRAINT sent_through_a_channel CHECK
    ((status IN ('sent', 'confirmed', 'failed')) = (channel IS NOT NULL)
      AND (channel IS NULL) = (sent_at IS NULL)),
  CONSTRAINT ended_at_a_time CHECK
    ((status IN ('confirmed', 'failed', 'rejected')) = (ended_at IS NOT NULL)),
  CONSTRAINT rejected_for_a_reason CHECK (status NOT IN ('rejected', 'failed') OR reason IS NOT NULL)
);
-- Nobody asks for a second one while the first is open.
CREATE UNIQUE INDEX one_open_withdrawal_per_driver ON withdrawals (driver_id)
  WHERE status IN ('requested', 'approved', 'sent');
CREATE INDEX withdrawals_by_driver ON withdrawals (driver_id, requested_at DESC, id DESC);
CREATE INDEX withdrawals_by_status ON withdrawals (status, requested_at DESC, id DESC);
CREATE INDEX withdrawals_by_time ON withdrawals (requested_at DESC, id DESC);
CREATE INDEX withdrawals_to_look_up ON withdrawals (look_at) WHERE look_at IS NOT NULL;

CREATE FUNCTION withdrawal_goes_on() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
       ('requested', 'approved'), ('requested', 'rejected'), ('approved', 'sent'),
       ('sent', 'confirmed'), ('sent', 'failed')) THEN
    RAISE EXCEPTION 'withdrawal % is %, it can not become %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'SL401';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER withdrawal_goes_on BEFORE UPDATE ON withdrawals
  FOR EACH ROW EXECUTE FUNCTION withdrawal_goes_on();

-- What the row says and what the ledger has are one: looked at when the transaction ends. The list of
-- kinds is there for the index once_per_reference, which is sought only by kinds it knows of.
CREATE FUNCTION withdrawal_is_booked() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NEW.status <> 'approved' AND NOT EXISTS (
       SELECT FROM ledger_journal j WHERE j.reference = NEW.id AND j.kind IN ('withdraw_requested',
         'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed')
       AND j.kind = CASE NEW.status
         WHEN 'requested' THEN 'withdraw_requested' WHEN 'rejected' THEN 'withdraw_rejected'
         WHEN 'sent' THEN 'withdraw_sent' WHEN 'confirmed' THEN 'withdraw_confirmed'
         ELSE 'withdraw_failed' END) THEN
    RAISE EXCEPTION 'withdrawal % is %, and the ledger does not know', NEW.id, NEW.status
      USING ERRCODE = 'SL402';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER withdrawal_is_booked AFTER INSERT OR UPDATE OF status ON withdrawals
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION withdrawal_is_booked();

CREATE TABLE disputes (
  id          uuid PRIMARY KEY,
  trip_id     uuid NOT NULL,
  opened_by   uuid NOT NULL CONSTRAINT dispute_of_an_account REFERENCES users (id),
  role        text NOT NULL CONSTRAINT dispute_role_is_known CHECK (role IN ('rider', 'driver')),
  reason      text NOT NULL CONSTRAINT dispute_reason_is_known CHECK (reason IN
              ('fare', 'route', 'not_taken', 'payment', 'cancellation_fee', 'conduct', 'lost_item',
               'damage', 'other')),
  text        text NOT NULL CONSTRAINT dispute_says_something CHECK (length(text) BETWEEN 1 AND 2000),
  status      text NOT NULL DEFAULT 'open' CONSTRAINT dispute_status_is_known
              CHECK (status IN ('open', 'waiting', 'resolved')),
  resolution  text CONSTRAINT resolution_is_known
              CHECK (resolution IN ('refund', 'clawback', 'rejected')),
  -- What the person is told.
  answer      text,
  -- Of refund and clawback.
  amount      bigint CONSTRAINT dispute_moves_something CHECK (amount > 0),
  act_id      uuid,
  opened_at   timestamptz NOT NULL,
  decided_by  uuid,
  decided_at  timestamptz,
  CONSTRAINT one_dispute_per_trip_and_person UNIQUE (trip_id, opened_by),
  CONSTRAINT resolved_by_somebody CHECK ((status = 'open') = (resolution IS NULL)
    AND (resolution IS NULL) = (decided_by IS NULL) AND (resolution IS NULL) = (decided_at IS NULL)
    AND (resolution IS NULL) = (answer IS NULL)),
  CONSTRAINT money_by_an_act CHECK
    ((coalesce(resolution, 'rejected') <> 'rejected') = (act_id IS NOT NULL)
      AND (act_id IS NULL) = (amount IS NULL))
);
CREATE INDEX disputes_by_status ON disputes (status, opened_at DESC, id DESC);
CREATE INDEX disputes_by_time ON disputes (opened_at DESC, id DESC);
CREATE INDEX disputes_by_person ON disputes (opened_by, opened_at DESC, id DESC);
CREATE INDEX disputes_by_act ON disputes (act_id) WHERE act_id IS NOT NULL;

-- One that waits for a second admin may be opened again; one that is resolved stays so.
CREATE FUNCTION dispute_stays_resolved() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.status = 'resolved' THEN
    RAISE EXCEPTION 'dispute % is resolved', OLD.id USING ERRCODE = 'SL401';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER dispute_stays_resolved BEFORE UPDATE ON disputes
  FOR EACH ROW EXECUTE FUNCTION dispute_stays_resolved();

-- Its id names it in the ledger too, and is made of the request's idempotency key where there is one:
-- a key that comes again long after its answer was forgotten finds it.
CREATE TABLE admin_acts (
  id              uuid PRIMARY KEY,
  kind            text NOT NULL CONSTRAINT act_kind_is_known
                  CHECK (kind IN ('adjustment', 'write_off', 'refund', 'deposit_refund', 'promo_grant',
                    'promo_code', 'refund_failed', 'suspense', 'gateway_settled')),
  -- Whose money it is; null: the company's.
  user_id         uuid CONSTRAINT act_on_an_account REFERENCES users (id),
  trip_id         uuid,
  deposit_id      uuid CONSTRAINT act_on_a_deposit REFERENCES deposits (id),
  dispute_id      uuid CONSTRAINT act_for_a_dispute REFERENCES disputes (id),
  -- Who bears a refund.
  fault           text CONSTRAINT act_fault_is_known CHECK (fault IN ('driver', 'company')),
  amount          bigint NOT NULL,
  reason          text NOT NULL CONSTRAINT act_has_a_reason CHECK (length(reason) BETWEEN 1 AND 500),
  -- done: by one admin alone.
  status          text NOT NULL CONSTRAINT act_status_is_known
                  CHECK (status IN ('done', 'pending', 'approved', 'declined')),
  asked_by        uuid NOT NULL CONSTRAINT asked_by_an_account REFERENCES users (id),
  asked_at        timestamptz NOT NULL,
  decided_by      uuid CONSTRAINT act_decided_by_an_account REFERENCES users (id),
  decided_at      timestamptz,
  decision_reason text,
  journal_id      uuid,
  -- What it has to know beside the amount to be done later: JSON of `ActDetails`.
  details         jsonb,
  CONSTRAINT act_has_an_owner CHECK (CASE kind WHEN 'suspense' THEN true
    ELSE (user_id IS NULL) = (kind IN ('promo_code', 'gateway_settled')) END),
  CONSTRAINT act_says_what CHECK
    ((details IS NULL) = (kind IN ('adjustment', 'write_off', 'refund', 'deposit_refund'))),
  CONSTRAINT act_moves_something CHECK (amount <> 0 AND (amount > 0 OR kind = 'adjustment')),
  CONSTRAINT act_names_its_object CHECK (
    (kind = 'refund') = (fault IS NOT NULL) AND (kind <> 'refund' OR trip_id IS NOT NULL)
    AND (kind = 'deposit_refund') = (deposit_id IS NOT NULL)),
  -- Four eyes: nobody says yes to himself.
  CONSTRAINT another_admin_decides CHECK (status <> 'approved' OR decided_by <> asked_by),
  CONSTRAINT act_decided_by_somebody CHECK ((status IN ('approved', 'declined')) = (decided_by IS NOT NULL)
    AND (decided_by IS NULL) = (decided_at IS NULL)),
  -- Promo is booked when a trip takes it.
  CONSTRAINT act_done_is_booked CHECK ((status IN ('done', 'approved')
    AND kind NOT IN ('promo_grant', 'promo_code')) = (journal_id IS NOT NULL))
);
CREATE INDEX acts_by_status ON admin_acts (status, asked_at DESC, id DESC);
CREATE INDEX acts_by_time ON admin_acts (asked_at DESC, id DESC);
-- What an admin did alone lately.
CREATE INDEX acts_alone ON admin_acts (asked_by, asked_at) WHERE status = 'done';
CREATE INDEX acts_by_user ON admin_acts (user_id, asked_at DESC, id DESC);
ALTER TABLE disputes ADD CONSTRAINT dispute_by_an_act FOREIGN KEY (act_id) REFERENCES admin_acts (id);

CREATE FUNCTION act_is_decided_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.status <> 'pending' THEN
    RAISE EXCEPTION 'act % is %', OLD.id, OLD.status USING ERRCODE = 'SL401';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER act_is_decided_once BEFORE UPDATE ON admin_acts
  FOR EACH ROW EXECUTE FUNCTION act_is_decided_once();

CREATE FUNCTION act_is_booked() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NEW.journal_id IS NOT NULL
     AND NOT EXISTS (SELECT FROM ledger_journal j WHERE j.id = NEW.journal_id) THEN
    RAISE EXCEPTION 'act % is done, and the ledger does not know', NEW.id USING ERRCODE = 'SL402';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER act_is_booked AFTER INSERT OR UPDATE OF journal_id ON admin_acts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION act_is_booked();

CREATE TABLE refunds (
  id          uuid PRIMARY KEY CONSTRAINT refund_by_an_act REFERENCES admin_acts (id)
              DEFERRABLE INITIALLY DEFERRED,
  deposit_id  uuid NOT NULL CONSTRAINT refund_of_a_deposit REFERENCES deposits (id),
  user_id     uuid NOT NULL,
  amount      bigint NOT NULL CONSTRAINT refund_gives_something CHECK (amount > 0),
  -- sent: the gateway was asked, once; what became of it may not be known.
  status      text NOT NULL DEFAULT 'pending' CONSTRAINT refund_status_is_known
              CHECK (status IN ('pending', 'sent', 'done', 'failed')),
  -- The gateway's name for it.
  transaction text,
  failure     text,
  -- When the gateway is asked how it stands; null when nobody asks any more.
  look_at     timestamptz,
  asked_at    timestamptz NOT NULL,
  sent_at     timestamptz,
  ended_at    timestamptz,
  CONSTRAINT refund_ended_at_a_time CHECK ((status IN ('done', 'failed')) = (ended_at IS NOT NULL))
);
-- The gateway's words don't say which refund they are about: one at a time.
CREATE UNIQUE INDEX one_open_refund_per_deposit ON refunds (deposit_id)
  WHERE status IN ('pending', 'sent');
CREATE INDEX refunds_by_deposit ON refunds (deposit_id);
CREATE INDEX refunds_by_status ON refunds (status, asked_at DESC, id DESC);
CREATE INDEX refunds_by_time ON refunds (asked_at DESC, id DESC);
CREATE INDEX refunds_to_look_up ON refunds (look_at) WHERE look_at IS NOT NULL;

CREATE FUNCTION refund_goes_on() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN
       (('pending', 'sent'), ('pending', 'failed'), ('sent', 'done'), ('sent', 'failed')) THEN
    RAISE EXCEPTION 'refund % is %, it can not become %', OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'SL401';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refund_goes_on BEFORE UPDATE ON refunds
  FOR EACH ROW EXECUTE FUNCTION refund_goes_on();

-- Refunds of one deposit together give back no more than was paid. One that is open keeps others out
-- (`one_open_refund_per_deposit`), so that what is summed here doesn't change meanwhile.
CREATE FUNCTION refund_fits() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_paid bigint;
  v_back bigint;
BEGIN
  SELECT d.amount INTO v_paid FROM deposits d
  WHERE d.id = NEW.deposit_id AND d.status = 'paid';
  SELECT coalesce(sum(r.amount), 0) INTO v_back FROM refunds r
  WHERE r.deposit_id = NEW.deposit_id AND r.status <> 'failed';
  IF v_back + NEW.amount > coalesce(v_paid, 0) THEN
    RAISE EXCEPTION 'deposit % was %, % would go back', NEW.deposit_id, v_paid, v_back + NEW.amount
      USING ERRCODE = 'SL403';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refund_fits BEFORE INSERT ON refunds FOR EACH ROW EXECUTE FUNCTION refund_fits();

CREATE FUNCTION refund_is_booked() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM ledger_journal j WHERE j.reference = NEW.id
       AND j.kind IN ('deposit_refund', 'deposit_refund_failed') AND j.kind =
       CASE NEW.status WHEN 'failed' THEN 'deposit_refund_failed' ELSE 'deposit_refund' END) THEN
    RAISE EXCEPTION 'refund % is %, and the ledger does not know', NEW.id, NEW.status
      USING ERRCODE = 'SL402';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refund_is_booked AFTER INSERT OR UPDATE OF status ON refunds
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refund_is_booked();

-- Two more kinds of journals, each once per refund.
ALTER TABLE ledger_journal
  DROP CONSTRAINT journal_kind_is_known,
  ADD CONSTRAINT journal_kind_is_known CHECK (kind IN (
  'hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
  'due_paid', 'deposit', 'deposit_refund', 'deposit_refund_failed', 'gateway_settled', 'suspense',
  'suspense_resolved', 'withdraw_requested', 'withdraw_rejected', 'withdraw_sent',
  'withdraw_confirmed', 'withdraw_failed', 'write_off', 'adjustment'));
DROP INDEX once_per_reference;
CREATE UNIQUE INDEX once_per_reference ON ledger_journal (kind, reference)
  WHERE kind IN ('hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
    'deposit', 'deposit_refund', 'deposit_refund_failed', 'gateway_settled', 'suspense',
    'suspense_resolved', 'withdraw_requested', 'withdraw_rejected', 'withdraw_sent',
    'withdraw_confirmed', 'withdraw_failed');

-- Who may what ------------------------------------------------------------------------------------

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['withdrawals', 'admin_acts', 'refunds', 'disputes'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- Everybody sees his own. The program takes requests, with their facts and postings beside them;
-- admins decide, under their own names.
CREATE POLICY withdrawals_read ON withdrawals FOR SELECT TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY withdrawals_add ON withdrawals FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY withdrawals_move ON withdrawals FOR UPDATE TO smartline_app
  USING ((SELECT app_is_staff()));
GRANT SELECT, INSERT (id, driver_id, amount, method, account, requested_at),
  UPDATE (status, channel, provider_id, bank_reference, reason, look_at, decided_by, decided_at,
          sent_at, ended_at)
  ON withdrawals TO smartline_app;

CREATE POLICY acts_read ON admin_acts FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY acts_ask ON admin_acts FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND asked_by = (SELECT app_uid())
    AND status IN ('done', 'pending'));
CREATE POLICY acts_decide ON admin_acts FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin') WITH CHECK (decided_by = (SELECT app_uid()));
GRANT SELECT, INSERT, UPDATE (status, decided_by, decided_at, decision_reason, journal_id)
  ON admin_acts TO smartline_app;

CREATE POLICY refunds_read ON refunds FOR SELECT TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY refunds_add ON refunds FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_staff()));
CREATE POLICY refunds_move ON refunds FOR UPDATE TO smartline_app USING ((SELECT app_is_staff()));
GRANT SELECT, INSERT (id, deposit_id, user_id, amount, asked_at),
  UPDATE (status, transaction, failure, look_at, sent_at, ended_at) ON refunds TO smartline_app;

CREATE POLICY disputes_read ON disputes FOR SELECT TO smartline_app
  USING (opened_by = (SELECT app_uid()) OR (SELECT app_is_staff()));
-- About one's own trips only.
CREATE POLICY disputes_open ON disputes FOR INSERT TO smartline_app
  WITH CHECK (opened_by = (SELECT app_uid()) AND role = (SELECT app_role())
    AND EXISTS (SELECT FROM trips t WHERE t.id = trip_id AND opened_by IN (t.rider_id, t.driver_id)));
CREATE POLICY disputes_decide ON disputes FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');
GRANT SELECT, INSERT (id, trip_id, opened_by, role, reason, text, opened_at),
  UPDATE (status, resolution, answer, amount, act_id, decided_by, decided_at)
  ON disputes TO smartline_app;
