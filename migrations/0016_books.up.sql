-- The books: what reconciliation looked at and found, and reports by business day (Africa/Cairo).
--
-- reconciliation_runs      a row per look at a day
-- reconciliation_findings  a row per fault: found again it is the same row
-- report_trip_days         a closed day's trips and their money, by city, tier and method
-- report_company_days      a closed day's money that belongs to no trip, and balances at its end

-- Days are ranges of these. Entries and journals lie on disk as time goes: a summary is enough, and
-- costs a posting nothing.
CREATE INDEX ledger_journal_by_day ON ledger_journal USING brin (created_at)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX ledger_entry_by_day ON ledger_entry USING brin (created_at)
  WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX trips_by_end ON trips (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX deposits_by_payment ON deposits (paid_at) WHERE paid_at IS NOT NULL;
CREATE INDEX withdrawals_by_sending ON withdrawals (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX withdrawals_by_end ON withdrawals (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE reconciliation_runs (
  id         uuid PRIMARY KEY,
  day        date NOT NULL,
  asked_by   text NOT NULL CONSTRAINT run_is_asked_for CHECK (asked_by IN ('schedule', 'terminal')),
  started_at timestamptz NOT NULL,
  -- Null while it runs, and for ever when the program died meanwhile.
  ended_at   timestamptz,
  -- Could the gateway's list be compared?
  gateway    text CONSTRAINT run_gateway_is_known
             CHECK (gateway IN ('compared', 'not_set_up', 'unreadable')),
  -- Faults that were seen, and those of them that opened a finding.
  faults     integer,
  opened     integer,
  -- Why some of it could not be looked at.
  failure    text,
  CONSTRAINT run_ends_with_a_result CHECK
    ((ended_at IS NULL) = (faults IS NULL) AND (ended_at IS NULL) = (opened IS NULL)
      AND (ended_at IS NULL) = (gateway IS NULL))
);
CREATE INDEX runs_by_time ON reconciliation_runs (started_at DESC, id DESC);
CREATE INDEX runs_done_by_day ON reconciliation_runs (day)
  WHERE ended_at IS NOT NULL AND failure IS NULL;

CREATE TABLE reconciliation_findings (
  id           uuid PRIMARY KEY,
  kind         text NOT NULL CONSTRAINT finding_kind_is_known CHECK (kind IN
               ('unbalanced_journal', 'changed_journal', 'broken_chain', 'altered_balance',
                'forbidden_balance', 'missing_settlement', 'unbacked_settlement', 'wrong_settlement',
                'wrong_hold', 'excess_refund', 'missing_deposit', 'unbacked_deposit',
                'missing_withdrawal', 'unbacked_withdrawal', 'foreign_capture', 'missing_capture',
                'wrong_capture', 'wrong_rollup', 'changed_day', 'unguarded_ledger')),
  -- What it is about: `trip:<id>`, `rider_wallet:<user>`, `capture:<transaction>` …
  subject      text NOT NULL CONSTRAINT finding_names_its_subject CHECK (length(subject) BETWEEN 1 AND 200),
  -- The business day whose look found it last.
  day          date NOT NULL,
  expected     text NOT NULL,
  actual       text NOT NULL,
  first_seen   timestamptz NOT NULL,
  last_seen    timestamptz NOT NULL,
  times        integer NOT NULL DEFAULT 1 CONSTRAINT finding_was_seen CHECK (times > 0),
  -- When it was opened, or opened again.
  opened_at    timestamptz NOT NULL,
  status       text NOT NULL DEFAULT 'open' CONSTRAINT finding_status_is_known
               CHECK (status IN ('open', 'resolved')),
  -- fixed: seen again it is opened again; accepted: only when it has become another one.
  resolution   text CONSTRAINT finding_resolution_is_known CHECK (resolution IN ('fixed', 'accepted')),
  reason       text CONSTRAINT finding_has_a_reason CHECK (length(reason) BETWEEN 1 AND 500),
  resolved_by  uuid,
  resolved_at  timestamptz,
  CONSTRAINT one_finding_per_fault UNIQUE (kind, subject),
  CONSTRAINT finding_resolved_by_somebody CHECK ((status = 'open') = (resolution IS NULL)
    AND (resolution IS NULL) = (reason IS NULL) AND (resolution IS NULL) = (resolved_by IS NULL)
    AND (resolution IS NULL) = (resolved_at IS NULL))
);
CREATE INDEX findings_by_time ON reconciliation_findings (opened_at DESC, id DESC);
CREATE INDEX findings_open ON reconciliation_findings (kind) WHERE status = 'open';

-- Money in piasters. A trip counts on the day on which it ended, its money on the day on which it
-- was posted.
CREATE TABLE report_trip_days (
  day         date NOT NULL,
  city_id     smallint NOT NULL,
  tier        text NOT NULL,
  method      text NOT NULL,
  completed   bigint NOT NULL,
  cancelled   bigint NOT NULL,
  no_drivers  bigint NOT NULL,
  fares       bigint NOT NULL,
  -- Of the fares, what could not be paid so far.
  unpaid      bigint NOT NULL,
  commission  bigint NOT NULL,
  vat         bigint NOT NULL,
  promo       bigint NOT NULL,
  tips        bigint NOT NULL,
  cancel_fees bigint NOT NULL,
  refunds     bigint NOT NULL,
  PRIMARY KEY (day, city_id, tier, method)
);

CREATE TABLE report_company_days (
  day               date PRIMARY KEY,
  computed_at       timestamptz NOT NULL,
  deposits          bigint NOT NULL,
  deposits_paid     bigint NOT NULL,
  withdrawals       bigint NOT NULL,
  withdrawals_paid  bigint NOT NULL,
  withdrawals_back  bigint NOT NULL,
  gateway_fees      bigint NOT NULL,
  adjustments       bigint NOT NULL,
  written_off       bigint NOT NULL,
  -- At the end of the day; what is owed is positive.
  riders_wallets    bigint NOT NULL,
  riders_held       bigint NOT NULL,
  riders_due        bigint NOT NULL,
  drivers_credit    bigint NOT NULL,
  drivers_debt      bigint NOT NULL,
  drivers_held      bigint NOT NULL
);

-- Who may what: admins read and resolve, under their own names; the program writes.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['reconciliation_runs', 'reconciliation_findings', 'report_trip_days',
    'report_company_days'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
    EXECUTE format('CREATE POLICY staff_read ON %I FOR SELECT TO smartline_app '
                   'USING ((SELECT app_is_staff()))', name);
    EXECUTE format('CREATE POLICY system_write ON %I TO smartline_app '
                   'USING ((SELECT app_is_system()))', name);
  END LOOP;
END
$$;
CREATE POLICY findings_resolve ON reconciliation_findings FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin')
  WITH CHECK (resolved_by = (SELECT app_uid()));
GRANT SELECT, INSERT (id, day, asked_by, started_at),
  UPDATE (ended_at, gateway, faults, opened, failure) ON reconciliation_runs TO smartline_app;
GRANT SELECT, INSERT (id, kind, subject, day, expected, actual, first_seen, last_seen, opened_at),
  UPDATE (day, expected, actual, last_seen, times, opened_at, status, resolution, reason, resolved_by,
          resolved_at)
  ON reconciliation_findings TO smartline_app;
GRANT SELECT, INSERT, DELETE ON report_trip_days TO smartline_app;
GRANT SELECT, INSERT,
  UPDATE (computed_at, deposits, deposits_paid, withdrawals, withdrawals_paid, withdrawals_back,
          gateway_fees, adjustments, written_off)
  ON report_company_days TO smartline_app;
