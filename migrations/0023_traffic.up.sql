-- How much longer drives take than the models of the road say, learnt from completed trips.
--
-- A row for each square (1/50 degree) that trips started or ended in, and each hour of its city's
-- day; hours 24 to 47 are those of the weekend. What isn't here is driven as modelled.

CREATE TABLE traffic_factors (
  city_id    smallint NOT NULL CONSTRAINT traffic_of_a_city REFERENCES cities (id),
  square_row integer NOT NULL CONSTRAINT square_row_on_earth CHECK (square_row BETWEEN -4500 AND 4500),
  square_col integer NOT NULL CONSTRAINT square_col_on_earth CHECK (square_col BETWEEN -9000 AND 9000),
  slot       smallint NOT NULL CONSTRAINT slot_of_a_day CHECK (slot BETWEEN 0 AND 47),
  -- Natural logarithm, of 0.5 to 3.
  log_factor double precision NOT NULL DEFAULT 0
             CONSTRAINT factor_is_sane CHECK (log_factor BETWEEN -0.7 AND 1.1),
  trips      integer NOT NULL DEFAULT 0 CONSTRAINT trips_count_up CHECK (trips >= 0),
  CONSTRAINT one_factor_per_hour PRIMARY KEY (city_id, square_row, square_col, slot)
) WITH (fillfactor = 80);

ALTER TABLE traffic_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE traffic_factors FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON traffic_factors TO smartline_core USING (true);
CREATE POLICY traffic_read ON traffic_factors FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY traffic_first ON traffic_factors FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY traffic_next ON traffic_factors FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (log_factor, trips) ON traffic_factors TO smartline_app;
