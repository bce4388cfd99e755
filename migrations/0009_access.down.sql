DROP TABLE api_key_usage, api_keys, audit_log;
DROP FUNCTION audit_immutable;
