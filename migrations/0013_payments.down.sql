DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  DROP FUNCTION trip_pay_late;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
DROP INDEX trips_unpaid;
DROP TABLE suspense_captures, gateway_notices, deposits;
DROP FUNCTION deposit_stays_paid, suspense_stays_resolved, suspense_is_booked;
