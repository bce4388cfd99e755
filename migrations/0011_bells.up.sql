-- Nobody is notified inside the transactions that bring facts and jobs any more: PostgreSQL makes
-- the commits of those that notify wait for each other, one lock for the whole cluster. The program
-- calls its own waiters after the commit and tells other nodes beside it; a program from before this
-- migration, which waits for the notifications, looks by itself every second.
DROP TRIGGER outbox_wakes ON outbox;
DROP FUNCTION outbox_wakes();

-- Replaced in the name of its owner.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
END
$$;
CREATE OR REPLACE FUNCTION jobs_add(p_jobs jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_count integer;
BEGIN
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
  ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  RETURN v_count;
END $$;
DO $$
BEGIN
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
