ALTER TABLE dispatch_trace
  DROP CONSTRAINT trace_conduct_is_known,
  DROP COLUMN conduct;
DROP INDEX trips_driven;
DROP TABLE driver_conduct, fraud_prints, fraud_tracks;

-- The owner has to see the rows: of what is forced on him he would change none, without an error.
ALTER TABLE drivers NO FORCE ROW LEVEL SECURITY;
ALTER TABLE withdrawals NO FORCE ROW LEVEL SECURITY;
ALTER TABLE fraud_cases NO FORCE ROW LEVEL SECURITY;
-- The cases are words that the program before does not know. Whom only these cases stop goes on:
CREATE TEMPORARY TABLE let_go ON COMMIT DROP AS
  SELECT c.account, bool_or(c.action = 'block') AS was_blocked
  FROM fraud_cases c WHERE c.status <> 'cleared' AND c.action IN ('hold', 'block') AND c.rule IN
    ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop')
  GROUP BY c.account;
DELETE FROM fraud_cases WHERE rule IN
  ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop');
-- he may drive again,
UPDATE drivers d SET fraud_flag = false FROM let_go l
WHERE d.id = l.account AND d.fraud_flag AND l.was_blocked
  AND NOT EXISTS (SELECT FROM fraud_cases c WHERE c.account = d.id AND c.status <> 'cleared'
    AND c.action = 'block');
-- and what was approved and put off for them is looked at now, as when an operator clears a case.
UPDATE withdrawals w SET look_at = now() FROM let_go l
WHERE w.driver_id = l.account AND w.status = 'approved' AND w.look_at > now()
  AND NOT EXISTS (SELECT FROM fraud_cases c WHERE c.account = l.account AND c.status <> 'cleared'
    AND c.action IN ('hold', 'block'));
DROP TABLE let_go;
ALTER TABLE fraud_cases FORCE ROW LEVEL SECURITY;
ALTER TABLE withdrawals FORCE ROW LEVEL SECURITY;
ALTER TABLE drivers FORCE ROW LEVEL SECURITY;
ALTER TABLE fraud_cases
  DROP CONSTRAINT case_rule_is_known,
  ADD CONSTRAINT case_rule_is_known CHECK (rule IN
    ('velocity', 'amount_anomaly', 'deposit_withdraw', 'circular_trips', 'shared_device',
     'repeated_failures', 'refused_postings', 'unchecked')) NOT VALID;
