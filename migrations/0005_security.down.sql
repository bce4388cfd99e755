-- The doors go back to the owner; policies, grants and the roles' last traces in this database go.
DO $$
DECLARE
  name text;
  rule record;
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  EXECUTE format('REASSIGN OWNED BY smartline_core TO %I', current_user);
  FOR rule IN SELECT polname, polrelid::regclass AS relation FROM pg_policy
              WHERE polrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace) LOOP
    EXECUTE format('DROP POLICY %I ON %s', rule.polname, rule.relation);
  END LOOP;
  FOR rule IN SELECT oid::regclass AS relation FROM pg_class
              WHERE relnamespace = 'public'::regnamespace AND relrowsecurity LOOP
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', rule.relation);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', rule.relation);
  END LOOP;
  FOREACH name IN ARRAY ARRAY['smartline_app', 'smartline_writer', 'smartline_core'] LOOP
    EXECUTE format('DROP OWNED BY %I', name);
    BEGIN
      EXECUTE format('DROP ROLE %I', name);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      NULL; -- Another database of the cluster uses it.
    END;
  END LOOP;
END
$$;

DROP TRIGGER driver_documents_guard ON driver_documents;
DROP TRIGGER vehicles_guard ON vehicles;
DROP TRIGGER drivers_guard ON drivers;
DROP FUNCTION driver_papers_guard, drivers_guard, trip_is_ridden, app_is_system, app_is_staff,
  app_role, app_uid;
