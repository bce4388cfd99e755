ALTER TABLE dispatch_trace
  DROP CONSTRAINT verdict_is_known,
  ADD CONSTRAINT verdict_is_known CHECK (verdict IN
    ('offered', 'ranked', 'too_far', 'not_scored', 'excluded', 'asked', 'not_approved',
     'documents_expired', 'fraud', 'wrong_tier', 'in_debt', 'offline', 'busy', 'cooldown',
     'offered_elsewhere', 'stale', 'out_of_radius')) NOT VALID,
  DROP COLUMN queue_place;
DROP TABLE airport_queue;
