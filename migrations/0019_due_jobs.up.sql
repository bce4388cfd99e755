-- Jobs that wait for their time are most of a queue: every notice on a socket waits some seconds for
-- its acknowledgement. With the time in the index a claim passes over them without reading their rows.
CREATE INDEX jobs_by_rank_when_due ON jobs (queue, rank_at, run_at, id);
DROP INDEX jobs_by_rank;
