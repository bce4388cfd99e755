-- Experiments with prices, and what the analytics of prices are made of.
--
-- pricing_experiments   what a city tries: with whom of its riders, how long, which variants
-- experiment_exposures  a row per rider and day on which he saw prices of his variant
-- experiment_trips      the variant by which a trip was priced
-- price_shown           estimates by hour, city and level of surge, as each run of a node counted
-- surge_episodes        each time that a cell surged, as each run of a node saw it
--
-- A variant never changes: whoever wants other weights ends the experiment and makes a new one. No
-- two of a city overlap.

CREATE FUNCTION experiment_variants_fit(p_variants jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(p_variants) IS DISTINCT FROM 'array' THEN false
    ELSE jsonb_array_length(p_variants) BETWEEN 2 AND 5
      -- The first one is the control: what everybody else pays.
      AND p_variants->0 @> '{"base_bp": 10000, "per_km_bp": 10000, "per_minute_bp": 10000,
                             "surge_cap_bp": 30000, "discount": 0}'
      AND (SELECT bool_and(coalesce(length(v->>'name') BETWEEN 1 AND 50
                    AND (v->>'weight')::integer BETWEEN 1 AND 1000
                    AND (v->>'base_bp')::integer BETWEEN 5000 AND 15000
                    AND (v->>'per_km_bp')::integer BETWEEN 5000 AND 15000
                    AND (v->>'per_minute_bp')::integer BETWEEN 5000 AND 15000
                    AND (v->>'surge_cap_bp')::integer BETWEEN 10000 AND 30000
                    AND (v->>'discount')::bigint BETWEEN 0 AND 10000, false))
                  AND count(DISTINCT v->>'name') = count(*)
           FROM jsonb_array_elements(p_variants) AS v)
  END
$$;

CREATE TABLE pricing_experiments (
  id         uuid CONSTRAINT one_experiment_per_id PRIMARY KEY,
  city_id    smallint NOT NULL CONSTRAINT experiment_of_a_city REFERENCES cities (id),
  name       text NOT NULL CONSTRAINT experiment_is_named CHECK (length(name) BETWEEN 1 AND 100),
  starts_at  timestamptz NOT NULL,
  -- The first moment outside; one that is ended before it began was never in force.
  ends_at    timestamptz NOT NULL,
  -- Of the city's riders, in hundredths of a percent.
  share_bp   integer NOT NULL CONSTRAINT share_of_riders CHECK (share_bp BETWEEN 1 AND 10000),
  variants   jsonb NOT NULL CONSTRAINT variants_are_bounded CHECK (experiment_variants_fit(variants)),
  created_by uuid NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT experiment_ends_in_time CHECK (ends_at >= starts_at AND ends_at <= starts_at + interval '366 days'),
  CONSTRAINT one_experiment_at_a_time EXCLUDE USING gist (
    int4range(city_id, city_id, '[]') WITH &&, tstzrange(starts_at, ends_at) WITH &&)
);
CREATE INDEX experiments_by_city ON pricing_experiments (city_id, created_at DESC, id DESC);

-- No reference to the experiment, which every booking would lock, nor to the rider, who may be erased
-- meanwhile. Experiments are never deleted.
CREATE TABLE experiment_exposures (
  experiment_id uuid NOT NULL,
  rider_id      uuid NOT NULL,
  -- In Cairo.
  day           date NOT NULL,
  variant       smallint NOT NULL CONSTRAINT exposed_to_a_variant CHECK (variant BETWEEN 0 AND 4),
  CONSTRAINT one_exposure_per_day PRIMARY KEY (experiment_id, rider_id, day)
);

CREATE TABLE experiment_trips (
  trip_id       uuid CONSTRAINT one_variant_per_trip PRIMARY KEY
                CONSTRAINT variant_of_a_trip REFERENCES trips (id) ON DELETE CASCADE,
  -- Checked by experiment_book, which alone writes here.
  experiment_id uuid NOT NULL,
  variant       smallint NOT NULL CONSTRAINT priced_by_a_variant CHECK (variant BETWEEN 0 AND 4),
  rider_id      uuid NOT NULL
);
CREATE INDEX experiment_trips_by_rider ON experiment_trips (experiment_id, rider_id);

CREATE TABLE price_shown (
  hour    timestamptz NOT NULL
          CONSTRAINT hour_begins CHECK (extract(epoch FROM hour)::bigint % 3600 = 0),
  city_id smallint NOT NULL CONSTRAINT shown_in_a_city REFERENCES cities (id),
  -- 0 none, 1 low, 2 medium, 3 high, 4 very high.
  level   smallint NOT NULL CONSTRAINT level_is_known CHECK (level BETWEEN 0 AND 4),
  -- A run of a node counts up from nothing: written twice, it is the same count.
  run     uuid NOT NULL,
  shown   bigint NOT NULL CONSTRAINT something_was_shown CHECK (shown > 0),
  CONSTRAINT one_count_per_run PRIMARY KEY (hour, city_id, level, run)
);

CREATE TABLE surge_episodes (
  started_at timestamptz NOT NULL,
  city_id    smallint NOT NULL CONSTRAINT episode_of_a_city REFERENCES cities (id),
  cell       bigint NOT NULL,
  run        uuid NOT NULL,
  -- When it was seen last; its end, once it is over.
  last_at    timestamptz NOT NULL,
  peak_bp    integer NOT NULL CONSTRAINT peak_is_surge CHECK (peak_bp BETWEEN 10001 AND 30000),
  CONSTRAINT one_episode_at_a_time PRIMARY KEY (started_at, city_id, cell, run),
  CONSTRAINT episode_goes_forward CHECK (last_at >= started_at)
);

-- An experiment begins from now on, and only ever ends sooner. Five minutes are for clocks that
-- differ.
CREATE FUNCTION pricing_experiments_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  v_now timestamptz := now() - interval '5 minutes';
BEGIN
  IF current_user = 'smartline_app' AND (CASE TG_OP
    WHEN 'INSERT' THEN NEW.starts_at < v_now
    ELSE NEW.ends_at >= OLD.ends_at OR NEW.ends_at < v_now END)
  THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'what was tried stays', CONSTRAINT = 'experiment_past_stays';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER pricing_experiments_guard BEFORE INSERT OR UPDATE ON pricing_experiments
  FOR EACH ROW EXECUTE FUNCTION pricing_experiments_guard();

ALTER TABLE city_changes DROP CONSTRAINT change_subject_is_known,
  ADD CONSTRAINT change_subject_is_known
    CHECK (subject IN ('tariff', 'hours', 'event', 'fence', 'experiment'));

-- Notes the variant by which a trip is priced, in the transaction that books it. A pickup that moved
-- over a city's border since the quote keeps its price, and so its variant.
CREATE FUNCTION experiment_book(p_trip uuid, p_experiment uuid, p_variant integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO experiment_trips (trip_id, experiment_id, variant, rider_id)
  SELECT t.id, e.id, p_variant, t.rider_id
  FROM trips t JOIN pricing_experiments e ON e.id = p_experiment
  WHERE t.id = p_trip AND t.version = 1 AND p_variant BETWEEN 0 AND jsonb_array_length(e.variants) - 1
    AND (t.rider_id = app_uid() OR app_is_staff());
  IF NOT FOUND THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'no such variant for this trip', CONSTRAINT = 'trip_priced_truly';
  END IF;
END $$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['pricing_experiments', 'experiment_exposures', 'experiment_trips',
                              'price_shown', 'surge_episodes'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
    EXECUTE format('CREATE POLICY staff_read ON %I FOR SELECT TO smartline_app
      USING ((SELECT app_is_staff()))', name);
    EXECUTE format('GRANT SELECT ON %I TO smartline_app', name);
  END LOOP;
  -- What is written behind, by the program itself.
  FOREACH name IN ARRAY ARRAY['experiment_exposures', 'price_shown', 'surge_episodes'] LOOP
    EXECUTE format('CREATE POLICY program_add ON %I FOR INSERT TO smartline_app
      WITH CHECK ((SELECT app_is_system()))', name);
    EXECUTE format('GRANT INSERT ON %I TO smartline_app', name);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['price_shown', 'surge_episodes'] LOOP
    EXECUTE format('CREATE POLICY program_change ON %I FOR UPDATE TO smartline_app
      USING ((SELECT app_is_system()))', name);
  END LOOP;
END
$$;
GRANT UPDATE (shown) ON price_shown TO smartline_app;
GRANT UPDATE (last_at, peak_bp) ON surge_episodes TO smartline_app;
CREATE POLICY experiments_add ON pricing_experiments FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND created_by = (SELECT app_uid()));
CREATE POLICY experiments_end ON pricing_experiments FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');
GRANT INSERT, UPDATE (ends_at) ON pricing_experiments TO smartline_app;
GRANT SELECT ON pricing_experiments TO smartline_core;
GRANT INSERT ON experiment_trips TO smartline_core;
REVOKE ALL ON FUNCTION experiment_book FROM PUBLIC;
GRANT EXECUTE ON FUNCTION experiment_book TO smartline_app;

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  ALTER FUNCTION experiment_book OWNER TO smartline_core;
  -- Only who may call the function may hang it on a table.
  CREATE TRIGGER pricing_experiments_recorded AFTER INSERT OR UPDATE OR DELETE
    ON pricing_experiments FOR EACH ROW EXECUTE FUNCTION city_change_record('experiment');
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
