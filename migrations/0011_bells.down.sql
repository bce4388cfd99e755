-- Facts and jobs notify inside their transactions again.
CREATE FUNCTION outbox_wakes() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('smartline_outbox', '');
  RETURN NULL;
END $$;
CREATE TRIGGER outbox_wakes AFTER INSERT ON outbox
  FOR EACH STATEMENT EXECUTE FUNCTION outbox_wakes();

DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
END
$$;
CREATE OR REPLACE FUNCTION jobs_add(p_jobs jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_count integer := 0;
  v_queue record;
BEGIN
  FOR v_queue IN
    WITH added AS (
      INSERT INTO jobs (queue, kind, version, payload, priority, key, lane, run_at, rank_at,
                        max_attempts, on_dead, recoveries, trace)
      SELECT j.queue, j.kind, j.version, j.payload, j.priority, j.key, j.lane,
             coalesce(j.run_at, now()),
             coalesce(j.run_at, now()) + make_interval(secs => j.patience_s),
             j.max_attempts, j.on_dead, coalesce(j.recoveries, 0), j.trace
      FROM jsonb_to_recordset(p_jobs) AS j (
        queue text, kind text, version smallint, payload jsonb, priority smallint, key text,
        lane uuid, run_at timestamptz, patience_s double precision, max_attempts smallint,
        on_dead text, recoveries smallint, trace text)
      ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING
      RETURNING queue
    )
    SELECT a.queue, count(*)::integer AS jobs FROM added a GROUP BY a.queue
  LOOP
    v_count := v_count + v_queue.jobs;
    PERFORM pg_notify('smartline_jobs', v_queue.queue);
  END LOOP;
  RETURN v_count;
END $$;
DO $$
BEGIN
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
