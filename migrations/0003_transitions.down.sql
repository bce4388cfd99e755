DROP FUNCTION trip_offers_expire, trips_claim, trips_look, trip_transitions, trip_create, trip_may_become, trip_lease_epoch;
DROP TABLE trip_lease;
DROP INDEX trips_by_time;
ALTER TABLE trips
  DROP COLUMN free_cancel_s, DROP COLUMN late_cancel_fee, DROP COLUMN no_show_wait_s,
  DROP COLUMN due_limit, DROP COLUMN debt_limit;
