ALTER TABLE tariffs DROP CONSTRAINT one_tariff_at_a_time;
DROP FUNCTION ledger_lock, ledger_post, ledger_post_batch, ledger_write, ledger_fingerprint;
DROP TABLE ledger_entry, ledger_journal, ledger_balance, ledger_account_kind;
DROP FUNCTION ledger_balanced, ledger_immutable;
