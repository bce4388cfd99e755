DROP FUNCTION history_partitions(date, integer);

DO $$
DECLARE
  name regclass;
BEGIN
  FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'driver_history'::regclass LOOP
    EXECUTE format('DROP TABLE %s', name);
  END LOOP;
END
$$;
