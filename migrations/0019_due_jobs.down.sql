CREATE INDEX jobs_by_rank ON jobs (queue, rank_at, id);
DROP INDEX jobs_by_rank_when_due;
