-- How each city finds drivers, and what each decision was made from.
--
-- city_dispatch       what operators chose; a city without a row has FIRST_ACCEPT
-- dispatch_snapshots  everything that a decision looked at, so that it can be made again; a week
-- dispatch_rounds     which of them are about a trip
--
-- The program's words for strategies and verdicts are checked here too (a test compares them).

CREATE TABLE city_dispatch (
  city_id    smallint CONSTRAINT one_choice_per_city PRIMARY KEY
             CONSTRAINT choice_of_a_city REFERENCES cities (id),
  strategy   text NOT NULL CONSTRAINT city_strategy_is_known
             CHECK (strategy IN ('first_accept', 'sequential', 'batched')),
  -- What a request may name beside it.
  allowed    text[] NOT NULL DEFAULT '{}' CONSTRAINT allowed_strategies_are_known
             CHECK (allowed <@ ARRAY['first_accept', 'sequential', 'batched']),
  version    integer NOT NULL DEFAULT 1 CONSTRAINT choice_counts_up CHECK (version > 0),
  changed_at timestamptz NOT NULL,
  changed_by uuid NOT NULL CONSTRAINT chosen_by_somebody REFERENCES users (id)
);

-- Not validated: every row so far was written with these words, and to read years of trips again
-- would lock them for as long. 'city': no strategy was named, the city's counts.
ALTER TABLE trips ADD CONSTRAINT trip_strategy_is_known
  CHECK (strategy IN ('city', 'first_accept', 'sequential', 'batched')) NOT VALID;
ALTER TABLE dispatch_trace ADD CONSTRAINT verdict_is_known CHECK (verdict IN
  ('offered', 'ranked', 'too_far', 'not_scored', 'excluded', 'asked', 'not_approved', 'documents_expired', 'fraud',
   'wrong_tier', 'in_debt', 'offline', 'busy', 'cooldown', 'offered_elsewhere', 'stale',
   'out_of_radius')) NOT VALID;

CREATE TABLE dispatch_snapshots (
  at    timestamptz NOT NULL,
  -- Names the snapshot beside its time: the first of the trips that were decided.
  lead  uuid NOT NULL,
  -- The numbers that the engine went by.
  rules jsonb NOT NULL,
  -- As the program writes it; its first byte is the version.
  body  bytea NOT NULL,
  CONSTRAINT one_snapshot_per_decision PRIMARY KEY (at, lead)
) PARTITION BY RANGE (at);

-- Whose searches were decided: of those who were looked at together only who was answered.
CREATE TABLE dispatch_rounds (
  trip_id uuid NOT NULL,
  at      timestamptz NOT NULL,
  lead    uuid NOT NULL,
  CONSTRAINT one_round_at_a_time PRIMARY KEY (trip_id, at)
) PARTITION BY RANGE (at);

-- Like history_partitions, for the tables named here. Their rows are large and short-lived, so that
-- they, too, are dropped by the day and never deleted one by one.
CREATE FUNCTION day_partitions(parent text, today date, keep_days integer)
RETURNS TABLE (partition text, done text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '3s'
AS $$
DECLARE
  day  date;
  name text;
  oldest date := least(today, (now() AT TIME ZONE 'UTC')::date) - greatest(keep_days, 2);
BEGIN
  IF current_setting('app.role', true) IS DISTINCT FROM 'system' THEN
    RAISE insufficient_privilege USING MESSAGE = 'only the program itself keeps partitions';
  END IF;
  IF parent IS NULL OR parent NOT IN ('dispatch_snapshots', 'dispatch_rounds') THEN
    RAISE insufficient_privilege USING MESSAGE = 'not a table that is kept by the day';
  END IF;
  PERFORM pg_advisory_xact_lock(7305021774002);
  FOR day IN SELECT generate_series(today - 2, today + 7, interval '1 day')::date LOOP
    name := parent || '_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
    -- Made beside the parent and attached: unlike PARTITION OF this doesn't lock out its writers.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I)', name, parent);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      parent, name, day::timestamptz, (day + 1)::timestamptz);
    partition := name;
    done := 'made';
    RETURN NEXT;
  END LOOP;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = ('public.' || parent)::regclass
      AND c.relname ~ ('^' || parent || '_[0-9]{8}$')
      AND c.relname < parent || '_' || to_char(oldest, 'YYYYMMDD')
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    partition := name;
    done := 'dropped';
    RETURN NEXT;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION day_partitions(text, date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION day_partitions(text, date, integer) TO smartline_app;

DO $$
BEGIN
  PERFORM set_config('app.role', 'system', true);
  PERFORM day_partitions(parent, (now() AT TIME ZONE 'UTC')::date, 7)
  FROM unnest(ARRAY['dispatch_snapshots', 'dispatch_rounds']) AS parent;
  PERFORM set_config('app.role', '', true);
END
$$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['city_dispatch', 'dispatch_snapshots', 'dispatch_rounds'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- An admin chooses, in his own name.
CREATE POLICY choice_read ON city_dispatch FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY choice_first ON city_dispatch FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND changed_by = (SELECT app_uid()));
CREATE POLICY choice_next ON city_dispatch FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin')
  WITH CHECK ((SELECT app_role()) = 'admin' AND changed_by = (SELECT app_uid()));
GRANT SELECT, INSERT, UPDATE (strategy, allowed, version, changed_at, changed_by) ON city_dispatch
  TO smartline_app;

CREATE POLICY snapshots_read ON dispatch_snapshots FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY snapshots_add ON dispatch_snapshots FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY rounds_read ON dispatch_rounds FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY rounds_add ON dispatch_rounds FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
GRANT SELECT, INSERT ON dispatch_snapshots, dispatch_rounds TO smartline_app;
