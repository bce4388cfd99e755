-- What happened, what is still to be done, and what was done already: facts, jobs, idempotency keys.

-- Facts ------------------------------------------------------------------------------------------

-- The version of a payload's schema; a reader that knows it reads every fact ever stored.
ALTER TABLE event_store ADD COLUMN version smallint NOT NULL DEFAULT 1
  CONSTRAINT event_version_counts_up CHECK (version > 0);
ALTER TABLE outbox ADD COLUMN version smallint NOT NULL DEFAULT 1;

-- A published row is deleted: the fact stays in event_store.
DELETE FROM outbox WHERE published_at IS NOT NULL;
DROP INDEX outbox_unpublished;
ALTER TABLE outbox DROP COLUMN published_at;
CREATE INDEX outbox_by_aggregate ON outbox (aggregate_type, aggregate_id, seq);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- A fact never changes, not even by its owner's mistake.
CREATE FUNCTION event_store_immutable() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: facts never change', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'SL201';
END $$;
CREATE TRIGGER event_store_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON event_store
  FOR EACH STATEMENT EXECUTE FUNCTION event_store_immutable();

-- T5: each statement adds numbers that follow the ones before them.
CREATE FUNCTION event_store_gapless() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_wrong record;
BEGIN
  SELECT a.aggregate_type, a.aggregate_id, a.seq INTO v_wrong
  FROM added a
  WHERE a.seq > 1 AND NOT EXISTS (
    SELECT FROM event_store e WHERE e.aggregate_type = a.aggregate_type
      AND e.aggregate_id = a.aggregate_id AND e.seq = a.seq - 1)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'fact % of % % has none before it', v_wrong.seq, v_wrong.aggregate_type,
      v_wrong.aggregate_id USING ERRCODE = 'SL202';
  END IF;
  RETURN NULL;
END $$;

-- What a wallet holds changes by ledger entries, and each is a fact of the wallet, under the same
-- number. Entries from before this migration get theirs here, without being published.
CREATE FUNCTION wallet_fact(p_entry ledger_entry) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object(
    'userId', p_entry.owner, 'account', k.name, 'seq', p_entry.account_seq,
    'amount', abs(p_entry.amount), 'balance', p_entry.balance_after, 'reason', j.kind,
    'journalId', p_entry.journal_id, 'reference', j.reference,
    'at', to_char(p_entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
  FROM ledger_journal j, ledger_account_kind k
  WHERE j.id = p_entry.journal_id AND k.id = p_entry.account
$$;

-- Until the trigger below stands, no entry may come that neither of the two would see.
LOCK TABLE ledger_entry IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
SELECT 'wallet', e.owner, e.account_seq::integer,
       CASE WHEN e.amount > 0 THEN 'WALLET_CREDITED' ELSE 'WALLET_DEBITED' END,
       wallet_fact(e), e.created_at
FROM ledger_entry e WHERE e.account IN (1, 10)
ORDER BY e.owner, e.account_seq;

CREATE TRIGGER event_store_gapless AFTER INSERT ON event_store
  REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION event_store_gapless();

-- Only who has one wallet has this aggregate: a rider's wallet (1) or a driver's account (10).
CREATE FUNCTION wallet_facts() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  WITH facts AS (
    SELECT e.owner, e.account_seq::integer AS seq,
           CASE WHEN e.amount > 0 THEN 'WALLET_CREDITED' ELSE 'WALLET_DEBITED' END AS name,
           wallet_fact(e) AS payload, e.created_at
    FROM added e WHERE e.account IN (1, 10)
  ), stored AS (
    INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    SELECT 'wallet', f.owner, f.seq, f.name, f.payload, f.created_at FROM facts f
    ORDER BY f.owner, f.seq
  )
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  SELECT 'wallet', f.owner, f.seq, f.name, f.payload, f.created_at FROM facts f
  ORDER BY f.owner, f.seq;
  RETURN NULL;
END $$;
CREATE TRIGGER ledger_entry_facts AFTER INSERT ON ledger_entry
  REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION wallet_facts();

-- Whoever waits for facts is woken at the commit that brings them; once, however many they are.
CREATE FUNCTION outbox_wakes() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('smartline_outbox', '');
  RETURN NULL;
END $$;
CREATE TRIGGER outbox_wakes AFTER INSERT ON outbox
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wakes();

-- Adds the next fact of an aggregate that has no writer of its own (trips and wallets have): its
-- number. The caller's transaction holds the aggregate until it ends.
CREATE FUNCTION event_append(
  p_aggregate text, p_id uuid, p_type text, p_version smallint, p_payload jsonb, p_at timestamptz
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_seq integer;
BEGIN
  IF p_aggregate IN ('trip', 'wallet') OR NOT app_is_staff() THEN
    RAISE insufficient_privilege USING MESSAGE = 'this fact is not told by whoever asks';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(p_aggregate || p_id::text, 742008));
  SELECT coalesce(max(seq), 0) + 1 INTO v_seq FROM event_store
  WHERE aggregate_type = p_aggregate AND aggregate_id = p_id;
  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, version, payload, created_at)
  VALUES (p_aggregate, p_id, v_seq, p_type, p_version, p_payload, p_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, version, payload, created_at)
  VALUES (p_aggregate, p_id, v_seq, p_type, p_version, p_payload, p_at);
  RETURN v_seq;
END $$;

-- Jobs -------------------------------------------------------------------------------------------

CREATE TABLE jobs (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue        text NOT NULL,
  kind         text NOT NULL,
  version      smallint NOT NULL,
  payload      jsonb NOT NULL,
  priority     smallint NOT NULL CONSTRAINT job_priority_is_known CHECK (priority BETWEEN 0 AND 3),
  -- Of jobs with the same key at most one waits or runs.
  key          text,
  -- Jobs of a lane run one at a time, oldest first.
  lane         uuid,
  -- Not before this moment. A job that runs stands at the end of its lease: when its worker dies
  -- it becomes due again by itself.
  run_at       timestamptz NOT NULL,
  -- Who comes first: when it became due, plus the patience of its priority, so that the least
  -- urgent one is the most urgent one some day.
  rank_at      timestamptz NOT NULL,
  -- Counted when it is taken, so that a job that kills its worker ends some day too.
  attempts     smallint NOT NULL DEFAULT 0,
  max_attempts smallint NOT NULL CONSTRAINT job_is_tried CHECK (max_attempts > 0),
  on_dead      text NOT NULL CONSTRAINT job_rule_is_known
               CHECK (on_dead IN ('support', 'by_hand', 'recover')),
  -- The worker that runs it, with `attempts` the fence against one that only seemed dead.
  holder       uuid,
  -- What went wrong so far, newest last.
  errors       jsonb NOT NULL DEFAULT '[]',
  -- How often it was a dead letter that the program brought back by itself.
  recoveries   smallint NOT NULL DEFAULT 0,
  trace        text,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE UNIQUE INDEX one_job_per_key ON jobs (kind, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_by_rank ON jobs (queue, rank_at, id);
CREATE INDEX jobs_by_lane ON jobs (lane, id) WHERE lane IS NOT NULL;

-- Puts jobs down in the caller's transaction; how many were new. They are seen when it commits.
CREATE FUNCTION jobs_add(p_jobs jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_count integer := 0;
  v_queue record;
BEGIN
  FOR v_queue IN
    WITH added AS (
      INSERT INTO jobs (queue, kind, version, payload, priority, key, lane, run_at, rank_at,
                        max_attempts, on_dead, recoveries, trace)
      SELECT j.queue, j.kind, j.version, j.payload, j.priority, j.key, j.lane,
             coalesce(j.run_at, now()),
             coalesce(j.run_at, now()) + make_interval(secs => j.patience_s),
             j.max_attempts, j.on_dead, coalesce(j.recoveries, 0), j.trace
      FROM jsonb_to_recordset(p_jobs) AS j (
        queue text, kind text, version smallint, payload jsonb, priority smallint, key text,
        lane uuid, run_at timestamptz, patience_s double precision, max_attempts smallint,
        on_dead text, recoveries smallint, trace text)
      ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING
      RETURNING queue
    )
    SELECT a.queue, count(*)::integer AS jobs FROM added a GROUP BY a.queue
  LOOP
    v_count := v_count + v_queue.jobs;
    PERFORM pg_notify('smartline_jobs', v_queue.queue);
  END LOOP;
  RETURN v_count;
END $$;

-- Jobs and facts that nobody tries any more, whole, until somebody decides.
CREATE TABLE dead_letters (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  queue      text NOT NULL,
  kind       text NOT NULL,
  version    smallint NOT NULL,
  payload    jsonb NOT NULL,
  priority   smallint NOT NULL,
  key        text,
  lane       uuid,
  max_attempts smallint NOT NULL,
  rule       text NOT NULL CONSTRAINT letter_rule_is_known
             CHECK (rule IN ('support', 'by_hand', 'recover')),
  attempts   integer NOT NULL,
  errors     jsonb NOT NULL,
  trace      text,
  recoveries smallint NOT NULL,
  made_at    timestamptz NOT NULL,
  -- To the millisecond, as cursors are.
  died_at    timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
  status     text NOT NULL DEFAULT 'open' CONSTRAINT letter_status_is_known
             CHECK (status IN ('open', 'retried', 'discarded')),
  decided_at timestamptz,
  decided_by uuid,
  reason     text,
  CONSTRAINT letter_is_decided CHECK ((status = 'open') = (decided_at IS NULL))
);
CREATE INDEX dead_letters_open ON dead_letters (died_at DESC, id DESC) WHERE status = 'open';
CREATE INDEX dead_letters_by_time ON dead_letters (died_at DESC, id DESC);

-- When a schedule is due next. Whoever moves `next_at` on makes the job, in the same transaction:
-- of many workers exactly one.
CREATE TABLE job_schedules (
  name    text PRIMARY KEY,
  cron    text NOT NULL,
  next_at timestamptz NOT NULL
);

-- Sagas: several steps that belong together, and how far they came.
CREATE TABLE sagas (
  id         uuid PRIMARY KEY,
  kind       text NOT NULL,
  -- What it is about: one saga of a kind per subject.
  subject    uuid NOT NULL,
  status     text NOT NULL DEFAULT 'running' CONSTRAINT saga_status_is_known
             CHECK (status IN ('running', 'undoing', 'done', 'undone')),
  -- The step that is next: forwards while it runs, backwards while it is undone.
  step       smallint NOT NULL DEFAULT 0,
  -- What the steps remember.
  state      jsonb NOT NULL,
  failure    text,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT one_saga_per_subject UNIQUE (kind, subject)
);

-- What a driver did, by the days of his trips' cities; added up as trips end.
CREATE TABLE driver_days (
  driver_id  uuid NOT NULL REFERENCES drivers (id),
  day        date NOT NULL,
  trips      integer NOT NULL,
  distance_m bigint NOT NULL,
  duration_s bigint NOT NULL,
  fares      bigint NOT NULL,
  PRIMARY KEY (driver_id, day)
);

-- Idempotency keys -------------------------------------------------------------------------------

CREATE TABLE idempotency (
  scope       uuid NOT NULL,
  -- Method and path: the same over REST and over the socket.
  route       text NOT NULL,
  key         text NOT NULL,
  fingerprint bytea NOT NULL,
  -- This attempt; who has another one lost the key to a later attempt and must not have an effect.
  token       uuid NOT NULL CONSTRAINT one_attempt_per_token UNIQUE,
  state       text NOT NULL DEFAULT 'running' CONSTRAINT attempt_state_is_known
              -- applied: the effect is committed, its answer is not stored (yet).
              CHECK (state IN ('running', 'applied', 'answered')),
  -- What the effect was about: a trip, a journal.
  subject     uuid,
  status      smallint,
  answer      text,
  lease_until timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL,
  CONSTRAINT one_attempt_per_key PRIMARY KEY (scope, route, key),
  CONSTRAINT answered_with_an_answer CHECK ((state = 'answered') = (answer IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX idempotency_by_end ON idempotency (expires_at);

-- Who may what ------------------------------------------------------------------------------------

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['jobs', 'dead_letters', 'job_schedules', 'sagas', 'idempotency',
    'driver_days'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;
CREATE POLICY outbox_publish ON outbox TO smartline_app USING ((SELECT app_is_system()));
GRANT DELETE, UPDATE (attempts, next_at) ON outbox TO smartline_app;

CREATE POLICY jobs_system ON jobs TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, DELETE, UPDATE (run_at, rank_at, attempts, holder, errors) ON jobs TO smartline_app;
CREATE POLICY letters_staff ON dead_letters TO smartline_app USING ((SELECT app_is_staff()));
GRANT SELECT, INSERT, UPDATE (status, decided_at, decided_by, reason, recoveries) ON dead_letters
  TO smartline_app;
CREATE POLICY schedules_system ON job_schedules TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (cron, next_at) ON job_schedules TO smartline_app;
CREATE POLICY sagas_system ON sagas TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (status, step, state, failure, changed_at) ON sagas TO smartline_app;
CREATE POLICY days_read ON driver_days FOR SELECT TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY days_system ON driver_days TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (trips, distance_m, duration_s, fares) ON driver_days TO smartline_app;
-- Everybody keeps his own keys; the program sweeps the old ones.
CREATE POLICY keys_own ON idempotency TO smartline_app
  USING (scope = (SELECT app_uid()) OR (SELECT app_is_system()));
GRANT SELECT, INSERT, DELETE,
  UPDATE (fingerprint, token, state, subject, status, answer, lease_until, expires_at) ON idempotency
  TO smartline_app;
-- The group writer marks keys as applied, with the effects it commits.
CREATE POLICY keys_writer ON idempotency TO smartline_writer USING (true);
GRANT SELECT (token, state), UPDATE (state, subject) ON idempotency TO smartline_writer;

GRANT SELECT, INSERT ON jobs TO smartline_core;
REVOKE ALL ON FUNCTION event_append, jobs_add FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_append, jobs_add TO smartline_app;
GRANT EXECUTE ON FUNCTION jobs_add TO smartline_writer;
GRANT EXECUTE ON FUNCTION wallet_fact TO smartline_core;

DO $$
DECLARE
  door regprocedure;
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  FOR door IN
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname IN ('event_append', 'jobs_add')
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO smartline_core', door);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
