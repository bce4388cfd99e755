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
