-- The queues of airports.
--
-- airport_queue  who stands in the queue of which airport, by the moment he came; written behind
--
-- In the trace of dispatch: a driver's place in the queue, and that another's turn was before his.

CREATE TABLE airport_queue (
  driver_id uuid CONSTRAINT one_place_per_driver PRIMARY KEY
            CONSTRAINT place_of_a_driver REFERENCES drivers (id),
  fence_id  uuid NOT NULL CONSTRAINT place_at_a_fence REFERENCES geofences (id),
  since     timestamptz NOT NULL,
  refusals  smallint NOT NULL DEFAULT 0 CONSTRAINT refusals_count_up CHECK (refusals >= 0)
) WITH (fillfactor = 70);

ALTER TABLE airport_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE airport_queue FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON airport_queue TO smartline_core USING (true);
CREATE POLICY staff_read ON airport_queue FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY program_keeps ON airport_queue TO smartline_app
  USING ((SELECT app_is_system())) WITH CHECK ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (fence_id, since, refusals), DELETE ON airport_queue TO smartline_app;

-- Not validated, as before: what was written so far has fewer words and no place.
ALTER TABLE dispatch_trace
  ADD COLUMN queue_place integer,
  ADD CONSTRAINT queue_place_counts_from_one CHECK (queue_place > 0) NOT VALID,
  DROP CONSTRAINT verdict_is_known,
  ADD CONSTRAINT verdict_is_known CHECK (verdict IN
    ('offered', 'ranked', 'too_far', 'not_scored', 'behind_queue', 'excluded', 'asked',
     'not_approved', 'documents_expired', 'fraud', 'wrong_tier', 'in_debt', 'offline', 'busy',
     'cooldown', 'offered_elsewhere', 'stale', 'out_of_radius')) NOT VALID;
