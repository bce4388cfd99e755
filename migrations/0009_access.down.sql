DROP TABLE audit_log;
DROP FUNCTION audit_immutable;
