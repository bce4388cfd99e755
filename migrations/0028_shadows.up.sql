-- A strategy that decides beside a city's own and is counted, never acted on. A table of its own: the
-- program before this one reads city_dispatch by all its columns.

CREATE TABLE city_shadows (
  city_id    smallint CONSTRAINT one_shadow_per_city PRIMARY KEY
             CONSTRAINT shadow_of_a_city REFERENCES cities (id),
  -- None: it was ended.
  strategy   text CONSTRAINT shadow_strategy_is_known
             CHECK (strategy IN ('first_accept', 'sequential', 'batched', 'broadcast_bid')),
  changed_at timestamptz NOT NULL,
  changed_by uuid NOT NULL CONSTRAINT shadow_chosen_by_somebody REFERENCES users (id)
);

ALTER TABLE city_shadows ENABLE ROW LEVEL SECURITY;
ALTER TABLE city_shadows FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON city_shadows TO smartline_core USING (true);
-- An admin chooses, in his own name.
CREATE POLICY shadow_read ON city_shadows FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY shadow_first ON city_shadows FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND changed_by = (SELECT app_uid()));
CREATE POLICY shadow_next ON city_shadows FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin')
  WITH CHECK ((SELECT app_role()) = 'admin' AND changed_by = (SELECT app_uid()));
GRANT SELECT, INSERT, UPDATE (strategy, changed_at, changed_by) ON city_shadows TO smartline_app;
