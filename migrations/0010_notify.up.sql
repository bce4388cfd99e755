-- Who is told what, and how far it came.
--
-- devices                   phones that take pushes; a token belongs to whoever registered it last
-- notification_preferences  language, quiet hours, what is muted; no row: the defaults
-- notifications             one row per thing told to one person; holds no name, phone or text
-- notification_deliveries   one row per way: per channel, and per device for pushes

CREATE TABLE devices (
  id            uuid PRIMARY KEY,
  user_id       uuid NOT NULL CONSTRAINT device_of_an_account REFERENCES users (id) ON DELETE CASCADE,
  platform      text NOT NULL CONSTRAINT platform_is_known CHECK (platform IN ('ios', 'android')),
  token         text NOT NULL CONSTRAINT one_device_per_token UNIQUE
                CONSTRAINT token_has_a_length CHECK (length(token) BETWEEN 8 AND 512),
  locale        text NOT NULL CONSTRAINT locale_is_short CHECK (length(locale) BETWEEN 2 AND 35),
  registered_at timestamptz NOT NULL
);
CREATE INDEX devices_by_user ON devices (user_id, registered_at DESC);

CREATE TABLE notification_preferences (
  user_id    uuid PRIMARY KEY CONSTRAINT preferences_of_an_account REFERENCES users (id) ON DELETE CASCADE,
  language   text CONSTRAINT language_is_known CHECK (language IN ('ar', 'en')),
  email      text CONSTRAINT email_is_short CHECK (length(email) <= 254),
  -- Minutes of the day on the clock of the person's city; may cross midnight.
  quiet_from smallint CONSTRAINT quiet_from_is_a_minute CHECK (quiet_from BETWEEN 0 AND 1439),
  quiet_to   smallint CONSTRAINT quiet_to_is_a_minute CHECK (quiet_to BETWEEN 0 AND 1439),
  -- 'group:channel'
  muted      text[] NOT NULL DEFAULT '{}' CONSTRAINT muted_is_short CHECK (cardinality(muted) <= 64),
  changed_at timestamptz NOT NULL,
  CONSTRAINT quiet_has_two_ends CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);

CREATE TABLE notifications (
  id         uuid PRIMARY KEY,
  user_id    uuid NOT NULL CONSTRAINT notification_to_an_account REFERENCES users (id) ON DELETE CASCADE,
  kind       text NOT NULL,
  facts      jsonb NOT NULL,
  about      uuid,
  -- Names it among those to the same person: told twice, it is stored once.
  once       text NOT NULL CONSTRAINT once_is_short CHECK (length(once) BETWEEN 1 AND 200),
  state      text NOT NULL DEFAULT 'pending' CONSTRAINT notification_state_is_known CHECK (state IN
             ('pending', 'delivered', 'sent', 'failed', 'expired', 'unknown', 'listed')),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at   timestamptz,
  CONSTRAINT told_once UNIQUE (user_id, once)
);
CREATE INDEX notifications_by_user ON notifications (user_id, created_at DESC, id DESC);

CREATE TABLE notification_deliveries (
  id              uuid PRIMARY KEY,
  notification_id uuid NOT NULL CONSTRAINT delivery_of_a_notification REFERENCES notifications (id) ON DELETE CASCADE,
  channel         text NOT NULL CONSTRAINT channel_is_known CHECK (channel IN ('socket', 'push', 'sms', 'email')),
  -- Of a push; it may be gone by now.
  device_id       uuid,
  state           text NOT NULL CONSTRAINT delivery_state_is_known CHECK (state IN
                  ('sending', 'waiting', 'accepted', 'delivered', 'failed', 'unknown')),
  attempts        smallint NOT NULL DEFAULT 1,
  -- The provider's name for it.
  reference       text,
  code            text,
  next_at         timestamptz,
  changed_at      timestamptz NOT NULL,
  CONSTRAINT one_delivery_per_way UNIQUE NULLS NOT DISTINCT (notification_id, channel, device_id),
  CONSTRAINT waits_until_a_time CHECK ((state = 'waiting') = (next_at IS NOT NULL))
);

-- Registers the caller's phone. A door, because the token may be another's: the phone was handed on,
-- or somebody else logged in on it, and who has the phone has the token. Keeps the ten newest.
CREATE FUNCTION device_register(p_id uuid, p_platform text, p_token text, p_locale text, p_at timestamptz)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_uid uuid := nullif(current_setting('app.uid', true), '')::uuid;
  v_id  uuid;
BEGIN
  INSERT INTO devices AS d (id, user_id, platform, token, locale, registered_at)
  VALUES (p_id, v_uid, p_platform, p_token, p_locale, p_at)
  ON CONFLICT ON CONSTRAINT one_device_per_token DO UPDATE SET
    -- In other hands it is another device.
    id = CASE WHEN d.user_id = excluded.user_id THEN d.id ELSE excluded.id END,
    user_id = excluded.user_id, platform = excluded.platform, locale = excluded.locale,
    registered_at = excluded.registered_at
  RETURNING d.id INTO v_id;
  DELETE FROM devices WHERE id IN (
    SELECT id FROM devices WHERE user_id = v_uid ORDER BY registered_at DESC, id DESC OFFSET 10);
  RETURN v_id;
END $$;
REVOKE ALL ON FUNCTION device_register FROM PUBLIC;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['devices', 'notification_preferences', 'notifications',
    'notification_deliveries'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
  END LOOP;
END
$$;

CREATE POLICY devices_own ON devices TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_system()));
GRANT SELECT, DELETE ON devices TO smartline_app;

CREATE POLICY preferences_own ON notification_preferences TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (language, email, quiet_from, quiet_to, muted, changed_at)
  ON notification_preferences TO smartline_app;

-- Told in the transaction of whatever there is to tell, which may be the person's own.
CREATE POLICY notifications_read ON notifications FOR SELECT TO smartline_app
  USING (user_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY notifications_add ON notifications FOR INSERT TO smartline_app
  WITH CHECK (user_id = (SELECT app_uid()) OR (SELECT app_is_staff()));
CREATE POLICY notifications_move ON notifications FOR UPDATE TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT (id, user_id, kind, facts, about, once, created_at, expires_at),
  UPDATE (state, ended_at) ON notifications TO smartline_app;

CREATE POLICY deliveries_read ON notification_deliveries FOR SELECT TO smartline_app
  USING ((SELECT app_is_staff()) OR EXISTS (SELECT FROM notifications n WHERE n.id = notification_id));
CREATE POLICY deliveries_write ON notification_deliveries TO smartline_app
  USING ((SELECT app_is_system()));
GRANT SELECT, INSERT, UPDATE (state, attempts, reference, code, next_at, changed_at)
  ON notification_deliveries TO smartline_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON devices TO smartline_core;
GRANT EXECUTE ON FUNCTION device_register TO smartline_app;

-- Handed over as in 0005.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
  ALTER FUNCTION device_register OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END
$$;
