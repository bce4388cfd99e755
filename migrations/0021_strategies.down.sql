ALTER TABLE dispatch_trace DROP CONSTRAINT verdict_is_known;
ALTER TABLE trips DROP CONSTRAINT trip_strategy_is_known;
DROP TABLE dispatch_rounds, dispatch_snapshots, city_dispatch;
DROP FUNCTION day_partitions;
