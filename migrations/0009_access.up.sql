-- Who did what to which object: every act of an operator, and every look of his at what is another
-- person's. Written in the transaction of the act, never changed, by privilege and by trigger.
CREATE TABLE audit_log (
  id          uuid PRIMARY KEY,
  -- The database's own time, in milliseconds, as cursors carry them. Nobody may say another.
  at          timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
  -- No reference: the record outlives the account. NULL is the server's own terminal.
  actor_id    uuid,
  action      text NOT NULL
              CONSTRAINT action_is_a_name CHECK (action ~ '^[a-z_]{1,30}\.[a-z_]{1,30}$'),
  object_kind text NOT NULL CONSTRAINT kind_is_a_name CHECK (object_kind ~ '^[a-z_]{1,30}$'),
  object_id   text NOT NULL CONSTRAINT object_id_is_short CHECK (length(object_id) <= 64),
  details     jsonb NOT NULL DEFAULT '{}'
              CONSTRAINT details_are_an_object CHECK (jsonb_typeof(details) = 'object')
);
CREATE INDEX audit_by_time ON audit_log (at, id);
CREATE INDEX audit_by_actor ON audit_log (actor_id, at, id);
CREATE INDEX audit_by_object ON audit_log (object_kind, object_id, at, id);

CREATE FUNCTION audit_immutable() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING
    MESSAGE = TG_OP || ' is refused: the audit log is append-only', CONSTRAINT = 'audit_never_changes';
END
$$;
CREATE TRIGGER audit_log_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION audit_immutable();

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_read ON audit_log FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
-- An admin signs with his own name; the program signs for whom it acts.
CREATE POLICY audit_add ON audit_log FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system())
    OR ((SELECT app_role()) = 'admin' AND actor_id = (SELECT app_uid())));
GRANT SELECT, INSERT (id, actor_id, action, object_kind, object_id, details)
  ON audit_log TO smartline_app;

-- Keys of partners. Only hashes are kept: the key itself is shown once, to who made it. After a
-- rotation the key before it goes on for a while, so that a partner can change without a break.
CREATE TABLE api_keys (
  id             uuid PRIMARY KEY,
  name           text NOT NULL CONSTRAINT key_has_a_name CHECK (length(name) BETWEEN 1 AND 100),
  key_hash       bytea NOT NULL CONSTRAINT one_key_per_hash UNIQUE
                 CONSTRAINT key_hash_is_sha256 CHECK (octet_length(key_hash) = 32),
  previous_hash  bytea CONSTRAINT previous_hash_is_sha256 CHECK (octet_length(previous_hash) = 32),
  previous_until timestamptz,
  -- The key's last characters, by which people tell keys apart.
  hint           text NOT NULL CONSTRAINT hint_is_short CHECK (length(hint) <= 4),
  scopes         text[] NOT NULL CONSTRAINT scopes_are_known CHECK (
                   cardinality(scopes) > 0 AND scopes <@ ARRAY['pricing:estimate', 'location:nearby']),
  per_minute     integer NOT NULL
                 CONSTRAINT rate_is_sane CHECK (per_minute BETWEEN 1 AND 100000),
  created_by     uuid NOT NULL,
  created_at     timestamptz NOT NULL,
  rotated_at     timestamptz,
  expires_at     timestamptz,
  revoked_at     timestamptz,
  CONSTRAINT previous_goes_together CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
);
CREATE INDEX api_keys_by_time ON api_keys (created_at, id);

-- Requests by key and day (UTC), added up in memory and written behind.
CREATE TABLE api_key_usage (
  key_id   uuid NOT NULL CONSTRAINT usage_of_a_key REFERENCES api_keys (id) ON DELETE CASCADE,
  day      date NOT NULL,
  requests bigint NOT NULL,
  refused  bigint NOT NULL,
  PRIMARY KEY (key_id, day)
);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY keys_read ON api_keys FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY keys_add ON api_keys FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_role()) = 'admin' AND created_by = (SELECT app_uid()));
CREATE POLICY keys_change ON api_keys FOR UPDATE TO smartline_app
  USING ((SELECT app_role()) = 'admin');
-- What a key opens stays as it was made: another wish is another key.
GRANT SELECT, INSERT (id, name, key_hash, hint, scopes, per_minute, created_by, created_at, expires_at),
  UPDATE (key_hash, previous_hash, previous_until, hint, rotated_at, revoked_at)
  ON api_keys TO smartline_app;

ALTER TABLE api_key_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_read ON api_key_usage FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY usage_write ON api_key_usage TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (requests, refused) ON api_key_usage TO smartline_app;
