-- The second wall: who may touch which row and which column, even when the program forgets to ask.
--
-- smartline_app     transactions of requests and of the program itself; bound by the policies below
-- smartline_writer  the group writer: executes the doors of trips and ledger, reads what it moves
-- smartline_core    nobody logs in as it: owner of the doors (SECURITY DEFINER), so that they don't
--                   run with the rights of the tables' owner
--
-- The session says who asks: app.uid, and app.role in rider, driver, admin, system (the program
-- itself). Whoever says nothing sees nothing. A policy guards rows; columns are guarded by grants,
-- since a policy alone would let a user raise his own role. A table made later is closed until its
-- migration grants it.

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['smartline_app', 'smartline_writer', 'smartline_core'] LOOP
    BEGIN
      -- Roles belong to the whole cluster: another database of it may have made them already.
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = name AND (rolsuper OR rolbypassrls)) THEN
      RAISE EXCEPTION 'role % passes by row level security', name;
    END IF;
  END LOOP;
END
$$;
GRANT USAGE ON SCHEMA public TO smartline_app, smartline_writer, smartline_core;

-- Who asks. Policies call them in a sub-select, so that they run once per statement.
CREATE FUNCTION app_uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.uid', true), '')::uuid;
CREATE FUNCTION app_role() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('app.role', true), '');
CREATE FUNCTION app_is_staff() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('app.role', true) IN ('admin', 'system'), false);
CREATE FUNCTION app_is_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('app.role', true) = 'system', false);

-- Row level security on everything that is about people or money, for the owner too.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['users', 'sessions', 'drivers', 'vehicles', 'driver_documents',
    'driver_latest', 'driver_history', 'trips', 'trip_offers', 'trip_tracks', 'dispatch_trace',
    'event_store', 'outbox', 'ledger_journal', 'ledger_entry', 'ledger_balance',
    'cities', 'geofences', 'tariffs', 'time_multipliers', 'event_multipliers'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

-- Is this a trip of the rider who asks? A function, because the policies of trips and trip_offers
-- would otherwise ask each other in a circle.
CREATE FUNCTION trip_is_ridden(p_trip uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT EXISTS (SELECT FROM public.trips t WHERE t.id = p_trip AND t.rider_id = public.app_uid())
$$;

-- Accounts. Signing up is the program's own act; role, phone and rating never change by UPDATE.
CREATE POLICY users_read ON users FOR SELECT TO smartline_app
  USING (id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY users_add ON users FOR INSERT TO smartline_app WITH CHECK ((SELECT app_is_system()));
CREATE POLICY users_change ON users FOR UPDATE TO smartline_app
  USING (id = (SELECT app_uid()) OR (SELECT app_is_staff()));
GRANT SELECT, INSERT (id, phone, name, role, password_hash, created_at),
  UPDATE (name, password_hash, deleted_at) ON users TO smartline_app;

CREATE POLICY sessions_own ON sessions TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (generation, rotated_at, expires_at, revoked_at, revoked_why)
  ON sessions TO smartline_app;

-- Drivers see and keep their own profile; the decision about it is not theirs (drivers_guard).
CREATE POLICY drivers_read ON drivers FOR SELECT TO smartline_app
  USING (id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY drivers_add ON drivers FOR INSERT TO smartline_app
  WITH CHECK (id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY drivers_change ON drivers FOR UPDATE TO smartline_app
  USING (id = (SELECT app_uid()) OR (SELECT app_is_staff()));
GRANT SELECT, INSERT (id, city_id, status, wants_online, created_at),
  UPDATE (city_id, status, status_reason, wants_online, fraud_flag, offers_made, offers_accepted,
          trips_taken, trips_completed, decided_at, decided_by)
  ON drivers TO smartline_app;

CREATE POLICY vehicles_own ON vehicles TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
GRANT SELECT, INSERT, UPDATE (tier, make, model, plate, color, year) ON vehicles TO smartline_app;

CREATE POLICY documents_own ON driver_documents TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
GRANT SELECT, INSERT, UPDATE (number, expires_at), DELETE ON driver_documents TO smartline_app;

-- A driver may put his profile up for decision again, and nothing else about his standing.
CREATE FUNCTION drivers_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF current_user <> 'smartline_app' OR app_is_staff() THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'INSERT' AND NEW.status = 'pending' THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE'
     AND (NEW.status = OLD.status OR (NEW.status = 'pending' AND OLD.status <> 'suspended'))
     AND (NEW.fraud_flag, NEW.offers_made, NEW.offers_accepted, NEW.trips_taken, NEW.trips_completed)
       = (OLD.fraud_flag, OLD.offers_made, OLD.offers_accepted, OLD.trips_taken, OLD.trips_completed)
     AND (NEW.decided_by IS NULL OR NEW.decided_by IS NOT DISTINCT FROM OLD.decided_by) THEN
    RETURN NEW;
  END IF;
  RAISE insufficient_privilege USING
    MESSAGE = 'a driver does not decide about himself', CONSTRAINT = 'drivers_dont_decide';
END
$$;
CREATE TRIGGER drivers_guard BEFORE INSERT OR UPDATE ON drivers
  FOR EACH ROW EXECUTE FUNCTION drivers_guard();

-- What was approved stays as it was approved: at the end of the transaction whoever changed his own
-- vehicle or papers must be waiting for a decision.
CREATE FUNCTION driver_papers_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  owner uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.driver_id ELSE NEW.driver_id END;
BEGIN
  IF current_user = 'smartline_app' AND NOT app_is_staff()
     AND EXISTS (SELECT FROM drivers d WHERE d.id = owner AND d.status = 'approved') THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'an approved driver changed his papers', CONSTRAINT = 'papers_need_a_decision';
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER vehicles_guard AFTER INSERT OR UPDATE ON vehicles
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION driver_papers_guard();
CREATE CONSTRAINT TRIGGER driver_documents_guard AFTER INSERT OR UPDATE OR DELETE ON driver_documents
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION driver_papers_guard();

-- Positions: written by the program, seen by their driver.
CREATE POLICY latest_read ON driver_latest FOR SELECT TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY latest_write ON driver_latest TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE, DELETE ON driver_latest TO smartline_app;

CREATE POLICY history_read ON driver_history FOR SELECT TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY history_add ON driver_history FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
GRANT SELECT, INSERT ON driver_history TO smartline_app;
GRANT EXECUTE ON FUNCTION history_partitions(date, integer) TO smartline_app;

-- Trips: read by rider, driver, and the drivers they were offered to; written through the doors.
CREATE POLICY trips_read ON trips FOR SELECT TO smartline_app
  USING (rider_id = (SELECT app_uid()) OR driver_id = (SELECT app_uid()) OR (SELECT app_is_staff())
    OR EXISTS (SELECT FROM trip_offers o WHERE o.trip_id = trips.id AND o.driver_id = (SELECT app_uid())));
GRANT SELECT ON trips TO smartline_app;

CREATE POLICY offers_read ON trip_offers FOR SELECT TO smartline_app
  USING (driver_id = (SELECT app_uid()) OR (SELECT app_is_staff()) OR trip_is_ridden(trip_id));
CREATE POLICY offers_write ON trip_offers TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (status, reason, price, ended_at) ON trip_offers TO smartline_app;

CREATE POLICY tracks_read ON trip_tracks FOR SELECT TO smartline_app
  USING (EXISTS (SELECT FROM trips t WHERE t.id = trip_id));
CREATE POLICY tracks_write ON trip_tracks TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (points, distance_m, stored_at) ON trip_tracks TO smartline_app;

CREATE POLICY trace_read ON dispatch_trace FOR SELECT TO smartline_app USING ((SELECT app_is_staff()));
CREATE POLICY trace_add ON dispatch_trace FOR INSERT TO smartline_app
  WITH CHECK ((SELECT app_is_system()));
GRANT SELECT, INSERT ON dispatch_trace TO smartline_app;

-- Events are appended by the doors and never change. The outbox is the program's own.
CREATE POLICY events_read ON event_store FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff())
    OR (aggregate_type = 'trip' AND EXISTS (SELECT FROM trips t WHERE t.id = aggregate_id)));
GRANT SELECT ON event_store TO smartline_app;
CREATE POLICY outbox_read ON outbox FOR SELECT TO smartline_app USING ((SELECT app_is_system()));
GRANT SELECT ON outbox TO smartline_app;

-- Money: everybody reads his own; it moves through the doors.
CREATE POLICY entries_read ON ledger_entry FOR SELECT TO smartline_app
  USING (owner = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY balances_read ON ledger_balance FOR SELECT TO smartline_app
  USING (owner = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY journals_read ON ledger_journal FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff())
    OR EXISTS (SELECT FROM ledger_entry e WHERE e.journal_id = id AND e.owner = (SELECT app_uid())));
GRANT SELECT ON ledger_account_kind, ledger_journal, ledger_entry, ledger_balance TO smartline_app;

-- Cities and prices: read by all, kept by the staff.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['cities', 'geofences', 'tariffs', 'time_multipliers', 'event_multipliers'] LOOP
    EXECUTE format('CREATE POLICY all_read ON %I FOR SELECT TO smartline_app USING (true)', name);
    EXECUTE format('CREATE POLICY staff_write ON %I TO smartline_app USING ((SELECT app_is_staff()))', name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO smartline_app', name);
  END LOOP;
END
$$;

-- The group writer looks at what it moves.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['trips', 'trip_offers', 'event_store', 'ledger_journal', 'ledger_entry',
    'ledger_balance'] LOOP
    EXECUTE format('CREATE POLICY writer_read ON %I FOR SELECT TO smartline_writer USING (true)', name);
    EXECUTE format('GRANT SELECT ON %I TO smartline_writer', name);
  END LOOP;
END
$$;
GRANT SELECT ON ledger_account_kind, trip_lease TO smartline_writer;

-- The doors, with what they need behind them and nothing more: no DELETE, no change of an event.
GRANT SELECT, INSERT, UPDATE ON trips, ledger_balance TO smartline_core;
GRANT SELECT, INSERT ON event_store, outbox, ledger_journal, ledger_entry TO smartline_core;
GRANT SELECT, UPDATE ON trip_offers, trip_lease TO smartline_core;
GRANT SELECT ON ledger_account_kind TO smartline_core;
GRANT SELECT (id, role) ON users TO smartline_core;
GRANT EXECUTE ON FUNCTION ledger_write TO smartline_core;

REVOKE ALL ON FUNCTION trip_is_ridden FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trip_is_ridden, trip_create, ledger_lock, ledger_post, ledger_post_batch
  TO smartline_app;
GRANT EXECUTE ON FUNCTION trip_transitions, trips_look, trips_claim, trip_offers_expire,
  ledger_lock, ledger_post, ledger_post_batch TO smartline_writer;

-- Handing functions over takes membership in the new owner and its right to make things here. Both
-- end at once: as a member the tables' owner would stand behind the wall.
DO $$
DECLARE
  door regprocedure;
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  FOR door IN
    SELECT oid::regprocedure FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname IN ('trip_is_ridden', 'trip_create',
      'trip_transitions', 'trips_look', 'trips_claim', 'trip_offers_expire',
      'ledger_lock', 'ledger_post', 'ledger_post_batch')
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO smartline_core', door);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
