ALTER TABLE dispatch_trace
  DROP CONSTRAINT trace_conduct_is_known,
  DROP COLUMN conduct;
DROP TABLE driver_conduct, fraud_prints, fraud_tracks;
-- Whom only these cases block may drive again; the cases are words that the program before does not
-- know.
UPDATE drivers d SET fraud_flag = false
WHERE d.fraud_flag
  AND EXISTS (SELECT FROM fraud_cases c WHERE c.account = d.id AND c.status <> 'cleared'
    AND c.action = 'block' AND c.rule IN
    ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop'))
  AND NOT EXISTS (SELECT FROM fraud_cases c WHERE c.account = d.id AND c.status <> 'cleared'
    AND c.action = 'block' AND c.rule NOT IN
    ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop'));
DELETE FROM fraud_cases WHERE rule IN
  ('teleports', 'frozen_position', 'replayed_track', 'cherry_picking', 'acceptance_drop');
ALTER TABLE fraud_cases
  DROP CONSTRAINT case_rule_is_known,
  ADD CONSTRAINT case_rule_is_known CHECK (rule IN
    ('velocity', 'amount_anomaly', 'deposit_withdraw', 'circular_trips', 'shared_device',
     'repeated_failures', 'refused_postings', 'unchecked')) NOT VALID;
