-- What was asked for, where and when; what was expected; how far off that was.
--
-- demand_quarters   each closed quarter of an hour of a city, and how its forecast did
-- demand_counts     requests by H3 cell (resolution 7) in it; cells without any have no row
-- demand_forecasts  what was expected, said one and two quarters before
--
-- Trips booked ahead are not in it: they are known, and need no forecast. Nine weeks are kept, of
-- forecasts one: a run of each quarter takes away as much as it adds.

CREATE TABLE demand_quarters (
  city_id  smallint NOT NULL CONSTRAINT quarter_of_a_city REFERENCES cities (id),
  quarter  timestamptz NOT NULL
           CONSTRAINT quarter_begins CHECK (extract(epoch FROM quarter)::bigint % 900 = 0),
  requests integer NOT NULL CONSTRAINT requests_of_a_quarter CHECK (requests >= 0),
  -- Summed over cells: |expected - requests|; null: there was no forecast yet.
  off              double precision,
  off_week_ago     double precision,
  off_quarter_ago  double precision,
  CONSTRAINT judged_as_a_whole
    CHECK (num_nulls(off, off_week_ago, off_quarter_ago) IN (0, 3)),
  CONSTRAINT a_quarter_is_closed_once PRIMARY KEY (city_id, quarter)
);

CREATE TABLE demand_counts (
  city_id  smallint NOT NULL,
  quarter  timestamptz NOT NULL,
  cell     bigint NOT NULL,
  requests integer NOT NULL CONSTRAINT somebody_asked CHECK (requests > 0),
  CONSTRAINT one_count_per_cell PRIMARY KEY (city_id, quarter, cell),
  CONSTRAINT counted_in_a_closed_quarter FOREIGN KEY (city_id, quarter)
    REFERENCES demand_quarters (city_id, quarter)
);

CREATE TABLE demand_forecasts (
  city_id  smallint NOT NULL CONSTRAINT forecast_of_a_city REFERENCES cities (id),
  quarter  timestamptz NOT NULL,
  -- Quarters between when it was said and its end.
  ahead    smallint NOT NULL CONSTRAINT said_before CHECK (ahead BETWEEN 1 AND 2),
  cell     bigint NOT NULL,
  expected double precision NOT NULL CONSTRAINT something_is_expected CHECK (expected > 0),
  CONSTRAINT one_forecast_per_cell PRIMARY KEY (city_id, quarter, ahead, cell)
);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['demand_quarters', 'demand_counts', 'demand_forecasts'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
    EXECUTE format('CREATE POLICY staff_read ON %I FOR SELECT TO smartline_app
      USING ((SELECT app_is_staff()))', name);
    EXECUTE format('CREATE POLICY program_add ON %I FOR INSERT TO smartline_app
      WITH CHECK ((SELECT app_is_system()))', name);
    EXECUTE format('CREATE POLICY program_forget ON %I FOR DELETE TO smartline_app
      USING ((SELECT app_is_system()))', name);
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO smartline_app', name);
  END LOOP;
END
$$;
