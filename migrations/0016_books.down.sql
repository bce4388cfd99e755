DROP TABLE report_company_days, report_trip_days, reconciliation_findings, reconciliation_runs;
DROP INDEX withdrawals_by_end, withdrawals_by_sending, deposits_by_payment, trips_by_end,
  ledger_entry_by_day, ledger_journal_by_day;
