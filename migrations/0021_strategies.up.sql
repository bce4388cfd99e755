-- How each city finds drivers.
--
-- city_dispatch   what operators chose; a city without a row has FIRST_ACCEPT
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
  ('offered', 'ranked', 'too_far', 'excluded', 'asked', 'not_approved', 'documents_expired', 'fraud',
   'wrong_tier', 'in_debt', 'offline', 'busy', 'cooldown', 'offered_elsewhere', 'stale',
   'out_of_radius')) NOT VALID;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['city_dispatch'] LOOP
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
