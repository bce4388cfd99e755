DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  DROP FUNCTION device_register;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
DROP TABLE notification_deliveries, notifications, notification_preferences, devices;
