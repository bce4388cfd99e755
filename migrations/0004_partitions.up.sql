-- Daily partitions of driver_history: made ahead, dropped whole. Days are UTC days.

-- Makes the partitions from two days before `today` to seven after it, and drops those whose day is
-- more than `keep_days` before today. The server's own date bounds the dropping too, so that a wrong
-- `today` can't drop what is still wanted. Callable by the program itself only, and as owner, since
-- making a table takes its rights; a short lock timeout, since dropping waits for every reader.
CREATE FUNCTION history_partitions(today date, keep_days integer)
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
  PERFORM pg_advisory_xact_lock(7305021774001);
  FOR day IN SELECT generate_series(today - 2, today + 7, interval '1 day')::date LOOP
    name := 'driver_history_' || to_char(day, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
    -- Made beside the parent and attached: unlike PARTITION OF this doesn't lock out its writers.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.driver_history)', name);
    EXECUTE format('ALTER TABLE public.driver_history ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      name, day::timestamptz, (day + 1)::timestamptz);
    partition := name;
    done := 'made';
    RETURN NEXT;
  END LOOP;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.driver_history'::regclass
      AND c.relname ~ '^driver_history_[0-9]{8}$'
      AND c.relname < 'driver_history_' || to_char(oldest, 'YYYYMMDD')
    ORDER BY c.relname
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    partition := name;
    done := 'dropped';
    RETURN NEXT;
  END LOOP;
END
$$;
REVOKE ALL ON FUNCTION history_partitions(date, integer) FROM PUBLIC;

DO $$
BEGIN
  PERFORM set_config('app.role', 'system', true);
  PERFORM history_partitions((now() AT TIME ZONE 'UTC')::date, 90);
  PERFORM set_config('app.role', '', true);
END
$$;
