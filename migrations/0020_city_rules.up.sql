-- What a city charges and where it drives, as operators keep it: every change says who made it and
-- why, the past never changes, and what goes above three times the fare has a second admin's word.
--
-- city_changes  each change of tariffs, hours, events and fences, before and after; only added to
--
-- Not validated: what was written by hand until now had no such limits, and must not keep a node from
-- starting.
--
-- Whoever changes something as an admin says why, for his transaction: app.why.

ALTER TABLE tariffs
  ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT one_tariff_per_id PRIMARY KEY,
  ADD CONSTRAINT tariff_amounts_in_range CHECK (base_fare BETWEEN 0 AND 1000000
    AND per_km BETWEEN 0 AND 1000000 AND per_minute BETWEEN 0 AND 1000000
    AND minimum_fare BETWEEN 0 AND 1000000 AND booking_fee BETWEEN 0 AND 1000000) NOT VALID,
  ADD CONSTRAINT tariff_commission_is_a_share CHECK (commission_bp BETWEEN 0 AND 10000) NOT VALID,
  ADD CONSTRAINT tariff_is_valid_sometime CHECK (NOT isempty(valid)) NOT VALID;

ALTER TABLE time_multipliers
  ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid() CONSTRAINT one_window_per_id PRIMARY KEY,
  ADD CONSTRAINT window_is_named CHECK (length(description) BETWEEN 1 AND 100) NOT VALID;

ALTER TABLE event_multipliers
  -- [[lat, lng], …], not closed; null: the circle. With corners, the circle is the one around them.
  ADD COLUMN corners jsonb
    CONSTRAINT event_has_corners CHECK (jsonb_array_length(corners) BETWEEN 3 AND 500),
  -- More than three times the fare, where it was asked for: in force once a second admin agrees,
  -- until then `multiplier_bp` is three times.
  ADD COLUMN asked_bp integer
    CONSTRAINT asked_is_above_the_cap CHECK (asked_bp BETWEEN 30001 AND 50000),
  ADD COLUMN created_by uuid,
  ADD COLUMN created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
  ADD COLUMN approved_by uuid,
  ADD CONSTRAINT event_is_named CHECK (length(name) BETWEEN 1 AND 100) NOT VALID,
  -- One that is ended before it began was never in force.
  DROP CONSTRAINT event_ends_after_it_starts,
  ADD CONSTRAINT event_ends_after_it_starts CHECK (ends_at >= starts_at),
  DROP CONSTRAINT event_multiplier_is_sane,
  ADD CONSTRAINT event_multiplier_is_sane CHECK (multiplier_bp BETWEEN 5000 AND 50000),
  ADD CONSTRAINT nobody_approves_his_own CHECK (approved_by <> created_by),
  ADD CONSTRAINT above_the_cap_by_two CHECK (multiplier_bp <= 30000 OR coalesce(
    multiplier_bp = asked_bp AND approved_by IS NOT NULL AND created_by IS NOT NULL, false));
CREATE INDEX event_multipliers_by_city ON event_multipliers (city_id, created_at DESC, id DESC);

ALTER TABLE geofences
  -- What a surge zone multiplies with, at least; null in one that is only drawn.
  ADD COLUMN multiplier_bp integer
    CONSTRAINT zone_multiplier_is_capped CHECK (multiplier_bp BETWEEN 10000 AND 30000),
  ADD COLUMN disabled_at timestamptz,
  ADD CONSTRAINT only_surge_zones_multiply CHECK (multiplier_bp IS NULL OR kind = 'surge'),
  ADD CONSTRAINT fence_is_named CHECK (length(name) BETWEEN 1 AND 100) NOT VALID;
CREATE INDEX geofences_by_city ON geofences (city_id, created_at DESC, id DESC);

CREATE TABLE city_changes (
  seq       bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT one_change_per_number PRIMARY KEY,
  -- The database's own time, in milliseconds.
  at        timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
  -- No references: the record outlives what it is about.
  city_id   smallint NOT NULL,
  subject   text NOT NULL CONSTRAINT change_subject_is_known
            CHECK (subject IN ('tariff', 'hours', 'event', 'fence')),
  object_id uuid NOT NULL,
  -- Null: the program itself, or the database's owner.
  actor_id  uuid,
  reason    text NOT NULL CONSTRAINT change_reason_is_short CHECK (length(reason) <= 500),
  before    jsonb,
  after     jsonb,
  CONSTRAINT change_changes_something CHECK (before IS DISTINCT FROM after)
);
CREATE INDEX city_changes_by_city ON city_changes (city_id, seq);
CREATE INDEX city_changes_by_subject ON city_changes (city_id, subject, seq);

-- Runs in the name of smartline_core: nobody writes the record but by changing something.
CREATE FUNCTION city_change_record() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  v_before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  v_after  jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
  v_why    text  := coalesce(current_setting('app.why', true), '');
  v_what   jsonb := coalesce(v_after, v_before);
BEGIN
  IF v_before IS NOT DISTINCT FROM v_after THEN
    RETURN NULL;
  END IF;
  IF v_why = '' AND public.app_role() = 'admin' THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'whoever changes a city says why', CONSTRAINT = 'change_has_a_reason';
  END IF;
  INSERT INTO public.city_changes (city_id, subject, object_id, actor_id, reason, before, after)
  VALUES ((v_what->>'city_id')::smallint, TG_ARGV[0], (v_what->>'id')::uuid, public.app_uid(),
          v_why, v_before, v_after);
  RETURN NULL;
END
$$;
CREATE TRIGGER tariffs_recorded AFTER INSERT OR UPDATE OR DELETE ON tariffs
  FOR EACH ROW EXECUTE FUNCTION city_change_record('tariff');
CREATE TRIGGER time_multipliers_recorded AFTER INSERT OR UPDATE OR DELETE ON time_multipliers
  FOR EACH ROW EXECUTE FUNCTION city_change_record('hours');
CREATE TRIGGER event_multipliers_recorded AFTER INSERT OR UPDATE OR DELETE ON event_multipliers
  FOR EACH ROW EXECUTE FUNCTION city_change_record('event');
CREATE TRIGGER geofences_recorded AFTER INSERT OR UPDATE OR DELETE ON geofences
  FOR EACH ROW EXECUTE FUNCTION city_change_record('fence');

CREATE FUNCTION city_changes_immutable() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE = TG_OP || ' is refused: what changed stays written',
    CONSTRAINT = 'city_changes_never_change';
END
$$;
CREATE TRIGGER city_changes_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON city_changes
  FOR EACH STATEMENT EXECUTE FUNCTION city_changes_immutable();

-- What was charged stays what was charged: a tariff ends or goes on from now on, and begins from
-- now on. Five minutes are for clocks that differ.
CREATE FUNCTION tariffs_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  v_now timestamptz := now() - interval '5 minutes';
BEGIN
  IF current_user = 'smartline_app' AND (CASE TG_OP
    WHEN 'INSERT' THEN lower_inf(NEW.valid) OR lower(NEW.valid) < v_now
    WHEN 'UPDATE' THEN lower(NEW.valid) IS DISTINCT FROM lower(OLD.valid)
      OR coalesce(upper(NEW.valid) < v_now, false) OR coalesce(upper(OLD.valid) < v_now, false)
    ELSE lower_inf(OLD.valid) OR lower(OLD.valid) < v_now END)
  THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'what was charged stays', CONSTRAINT = 'tariff_past_stays';
  END IF;
  RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER tariffs_guard BEFORE INSERT OR UPDATE OR DELETE ON tariffs
  FOR EACH ROW EXECUTE FUNCTION tariffs_guard();

-- An admin gives his own word, and only once.
CREATE FUNCTION event_multipliers_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF current_user = 'smartline_app' AND NEW.approved_by IS DISTINCT FROM OLD.approved_by
     AND (OLD.approved_by IS NOT NULL OR NEW.approved_by IS DISTINCT FROM app_uid()) THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'an admin agrees in his own name', CONSTRAINT = 'event_approved_truly';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER event_multipliers_guard BEFORE UPDATE ON event_multipliers
  FOR EACH ROW EXECUTE FUNCTION event_multipliers_guard();

ALTER TABLE city_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE city_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON city_changes TO smartline_core USING (true);
CREATE POLICY changes_read ON city_changes FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
GRANT SELECT ON city_changes TO smartline_app;
GRANT INSERT ON city_changes TO smartline_core;
REVOKE ALL ON FUNCTION city_change_record FROM PUBLIC;

-- No more than the program does: a tariff is never altered, an event and a fence never vanish.
REVOKE UPDATE ON tariffs, time_multipliers, event_multipliers, geofences FROM smartline_app;
REVOKE DELETE ON event_multipliers, geofences FROM smartline_app;
GRANT UPDATE (valid) ON tariffs TO smartline_app;
GRANT UPDATE (ends_at, multiplier_bp, approved_by) ON event_multipliers TO smartline_app;
GRANT UPDATE (name, corners, multiplier_bp, disabled_at) ON geofences TO smartline_app;
DROP POLICY staff_write ON event_multipliers;
CREATE POLICY events_add ON event_multipliers FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND created_by = (SELECT app_uid())
    AND approved_by IS NULL);
CREATE POLICY events_change ON event_multipliers FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');

-- The record is written in the name of smartline_core.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  ALTER FUNCTION city_change_record OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
