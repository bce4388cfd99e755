DROP INDEX once_per_reference;
CREATE UNIQUE INDEX once_per_reference ON ledger_journal (kind, reference)
  WHERE kind IN ('hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
    'deposit', 'gateway_settled', 'suspense', 'suspense_resolved', 'withdraw_requested',
    'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed');
ALTER TABLE ledger_journal
  DROP CONSTRAINT journal_kind_is_known,
  ADD CONSTRAINT journal_kind_is_known CHECK (kind IN (
  'hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
  'due_paid', 'deposit', 'gateway_settled', 'suspense', 'suspense_resolved', 'withdraw_requested',
  'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed', 'write_off',
  'adjustment'));
ALTER TABLE disputes DROP CONSTRAINT dispute_by_an_act;
DROP TABLE refunds, admin_acts, disputes, withdrawals;
DROP FUNCTION withdrawal_goes_on, withdrawal_is_booked, dispute_stays_resolved, act_is_decided_once,
  act_is_booked, refund_goes_on, refund_fits, refund_is_booked;
