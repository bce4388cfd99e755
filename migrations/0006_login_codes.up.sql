-- Codes that log an account in once, within a minute: how a link opens the live page. Only the
-- hash is kept; the code is deleted by its use.
CREATE TABLE login_codes (
  code_hash  bytea PRIMARY KEY
             CONSTRAINT code_hash_is_sha256 CHECK (octet_length(code_hash) = 32),
  user_id    uuid NOT NULL CONSTRAINT code_of_an_account REFERENCES users (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL
);
ALTER TABLE login_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY core ON login_codes TO smartline_core USING (true);
-- Whoever exchanges a code is nobody yet: the program acts for him.
CREATE POLICY login_codes_system ON login_codes TO smartline_app
  USING ((SELECT app_is_system())) WITH CHECK ((SELECT app_is_system()));
GRANT SELECT, INSERT, DELETE ON login_codes TO smartline_app;
