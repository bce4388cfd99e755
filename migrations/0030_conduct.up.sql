-- Who games dispatch: positions that no phone in a car reports, and offers picked by what they bring.
--
-- fraud_tracks    trips whose tracks were looked at, and of which earlier one a track is a replay
-- fraud_prints    marks of those tracks, kept for two weeks: where two have the same, the same was driven
-- driver_conduct  what a driver's score is lowered by, and until when; nothing is left at the end
--
-- In the trace of dispatch: for what a driver's score was lowered.

-- Not validated: what was written so far has fewer words.
ALTER TABLE fraud_cases
  DROP CONSTRAINT case_rule_is_known,
  ADD CONSTRAINT case_rule_is_known CHECK (rule IN
    ('velocity', 'amount_anomaly', 'deposit_withdraw', 'circular_trips', 'shared_device',
     'repeated_failures', 'refused_postings', 'unchecked', 'teleports', 'frozen_position',
     'replayed_track', 'cherry_picking', 'acceptance_drop')) NOT VALID;

CREATE TABLE fraud_tracks (
  trip_id   uuid CONSTRAINT one_look_per_track PRIMARY KEY,
  driver_id uuid NOT NULL,
  ended_at  timestamptz NOT NULL,
  -- Were its marks compared with those of earlier tracks?
  compared  boolean NOT NULL DEFAULT false,
  replay_of uuid,
  -- So many of its marks are that one's.
  shared    smallint CONSTRAINT shared_counts_up CHECK (shared > 0),
  CONSTRAINT a_replay_shares_marks CHECK ((replay_of IS NULL) = (shared IS NULL)),
  CONSTRAINT a_replay_was_compared CHECK (compared OR replay_of IS NULL)
);
CREATE INDEX fraud_tracks_to_compare ON fraud_tracks (ended_at, trip_id) WHERE NOT compared;
CREATE INDEX fraud_tracks_replayed ON fraud_tracks (driver_id, ended_at) WHERE replay_of IS NOT NULL;
CREATE INDEX fraud_tracks_by_time ON fraud_tracks (ended_at);

CREATE TABLE fraud_prints (
  print    bigint NOT NULL,
  trip_id  uuid NOT NULL,
  ended_at timestamptz NOT NULL,
  CONSTRAINT one_print_per_track PRIMARY KEY (print, trip_id)
);
CREATE INDEX fraud_prints_by_track ON fraud_prints (trip_id);
CREATE INDEX fraud_prints_by_time ON fraud_prints (ended_at);

CREATE TABLE driver_conduct (
  driver_id uuid NOT NULL CONSTRAINT conduct_of_a_driver REFERENCES drivers (id),
  reason    text NOT NULL CONSTRAINT conduct_is_known CHECK (reason IN
            ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop')),
  -- Hundredths of a score, all of them at `since` and none at `until`.
  penalty   smallint NOT NULL CONSTRAINT penalty_is_a_share CHECK (penalty BETWEEN 1 AND 100),
  since     timestamptz NOT NULL,
  until     timestamptz NOT NULL,
  CONSTRAINT one_mark_per_driver_and_reason PRIMARY KEY (driver_id, reason),
  CONSTRAINT conduct_passes CHECK (until > since)
);

-- What drivers drove to its end lately, whenever it was booked.
CREATE INDEX trips_driven ON trips (driver_id, ended_at) WHERE status = 'completed';

ALTER TABLE dispatch_trace
  ADD COLUMN conduct text,
  ADD CONSTRAINT trace_conduct_is_known CHECK (conduct IN
    ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop')) NOT VALID;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['fraud_tracks', 'fraud_prints', 'driver_conduct'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- The program compares tracks; nobody reads it but the program.
CREATE POLICY tracks_system ON fraud_tracks TO smartline_app USING ((SELECT app_is_system()));
CREATE POLICY prints_system ON fraud_prints TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (compared, replay_of, shared), DELETE ON fraud_tracks TO smartline_app;
GRANT SELECT, INSERT, DELETE ON fraud_prints TO smartline_app;

-- A driver does not see what he is marked for. The program marks; an admin who decides takes it away.
CREATE POLICY conduct_read ON driver_conduct FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()));
CREATE POLICY conduct_mark ON driver_conduct FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
CREATE POLICY conduct_renew ON driver_conduct FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
CREATE POLICY conduct_forget ON driver_conduct FOR DELETE TO smartline_app
  USING ((SELECT app_is_staff()));
GRANT SELECT, INSERT, UPDATE (penalty, since, until), DELETE ON driver_conduct TO smartline_app;
