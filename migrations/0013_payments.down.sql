DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  DROP FUNCTION trip_pay_late;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
DROP INDEX trips_unpaid;
DROP TABLE gateway_notices, deposits;
DROP FUNCTION deposit_stays_paid;
