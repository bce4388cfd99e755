DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;

CREATE OR REPLACE FUNCTION trip_pay_late(
  p_id uuid, p_version integer, p_type text, p_event jsonb, p_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE trips SET version = p_version, payment_status = 'paid'
  WHERE id = p_id AND version = p_version - 1 AND status = 'completed' AND payment_status = 'failed';
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  VALUES ('trip', p_id, p_version, p_type, p_event, p_at);
  RETURN true;
END $$;

DO $$
BEGIN
  DROP FUNCTION card_bind;
  DROP FUNCTION trip_card_settle;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
DROP TABLE card_authorisations;
DROP FUNCTION card_goes_on;
