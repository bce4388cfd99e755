UPDATE drivers SET fraud_flag = false WHERE id IN (SELECT account FROM fraud_cases WHERE action = 'block');
DROP TABLE fraud_cases, fraud_devices, fraud_history, fraud_counters;
DROP FUNCTION fraud_case_goes_on;
