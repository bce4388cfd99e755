-- Fails while something stands in the ledger that the program before doesn't know.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;
DROP FUNCTION ledger_roll_up, ledger_seal_day, ledger_day;
DROP TABLE ledger_seal, ledger_watermark, ledger_rollup;
DROP FUNCTION ledger_post, ledger_post_batch, ledger_write, ledger_lock_accounts,
  ledger_fingerprint;
DROP TRIGGER ledger_refund_fits ON ledger_journal;
DROP FUNCTION ledger_refund_fits, ledger_lock_refunds;

CREATE FUNCTION wallet_fact(p_entry ledger_entry) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object(
    'userId', p_entry.owner, 'account', k.name, 'seq', p_entry.account_seq,
    'amount', abs(p_entry.amount), 'balance', p_entry.balance_after, 'reason', j.kind,
    'journalId', p_entry.journal_id, 'reference', j.reference,
    'at', to_char(p_entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
  FROM ledger_journal j, ledger_account_kind k
  WHERE j.id = p_entry.journal_id AND k.id = p_entry.account
$$;

GRANT EXECUTE ON FUNCTION wallet_fact TO smartline_core;
CREATE OR REPLACE FUNCTION wallet_facts() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  WITH facts AS (
    SELECT e.owner, e.account_seq::integer AS seq,
           CASE WHEN e.amount > 0 THEN 'WALLET_CREDITED' ELSE 'WALLET_DEBITED' END AS name,
           wallet_fact(e) AS payload, e.created_at
    FROM added e WHERE e.account IN (1, 10)
  ), stored AS (
    INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    SELECT 'wallet', f.owner, f.seq, f.name, f.payload, f.created_at FROM facts f
    ORDER BY f.owner, f.seq
  )
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  SELECT 'wallet', f.owner, f.seq, f.name, f.payload, f.created_at FROM facts f
  ORDER BY f.owner, f.seq;
  RETURN NULL;
END $$;

-- M1: each statement adds whole journals that sum to zero. The journal's own count of legs seals
-- it: a balanced pair added later is one too many. Sequential scans are off because a plan made
-- while the tables were empty must not be kept.
CREATE OR REPLACE FUNCTION ledger_balanced() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_wrong uuid;
BEGIN
  SELECT n.journal_id INTO v_wrong
  FROM (SELECT journal_id, sum(amount) AS total, count(*) AS legs FROM added GROUP BY journal_id) n
  LEFT JOIN ledger_journal j ON j.id = n.journal_id
  WHERE n.total <> 0 OR n.legs < 2 OR j.legs IS DISTINCT FROM n.legs
     OR (SELECT count(*) FROM ledger_entry e WHERE e.journal_id = n.journal_id) <> n.legs
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal % does not balance', v_wrong USING ERRCODE = 'SL003';
  END IF;
  RETURN NULL;
END $$;


-- What makes two bodies the same. The checker works it out again from the stored rows (M9).
CREATE FUNCTION ledger_fingerprint(
  p_kind text, p_reference uuid, p_mode text, p_note text, p_legs text
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT sha256(convert_to(
    concat_ws('|', p_kind, p_reference, p_mode, p_legs, coalesce(p_note, '')), 'UTF8'))
$$;

-- Writes journals, all or none; the two doors below call it. Parallel arrays: one element per
-- journal, and one per leg with `p_leg_of` the journal's place from 1. Locks the wallet accounts
-- before it takes a key, in account order, so that postings can wait for each other in no circle.
-- Answers a row per leg, `r_balance` null for system accounts. Its plans look rows up by index
-- alone: one made while the tables were empty stays right when they have grown.
CREATE FUNCTION ledger_write(
  p_ids uuid[], p_keys text[], p_kinds text[], p_references uuid[], p_modes text[], p_notes text[],
  p_leg_of integer[], p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[]
) RETURNS TABLE (
  r_item integer, r_journal uuid, r_fresh boolean,
  r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_at     timestamptz;
  v_count  integer;
  v_first  ledger_journal;
  v_print  bytea;
  v_broken record;
BEGIN
  INSERT INTO ledger_balance (account, owner)
  SELECT DISTINCT l.account, l.owner
  FROM unnest(p_accounts, p_owners) AS l (account, owner)
  JOIN ledger_account_kind k ON k.id = l.account AND k.wallet
  ORDER BY l.account, l.owner
  ON CONFLICT DO NOTHING;

  PERFORM 1 FROM ledger_balance b
  WHERE (b.account, b.owner) IN
    (SELECT l.account, l.owner FROM unnest(p_accounts, p_owners) AS l (account, owner))
  ORDER BY b.account, b.owner
  FOR NO KEY UPDATE OF b;

  -- Taken under the locks, so that it rises along an account's entries; to the millisecond, as
  -- cursors of lists are.
  v_at := date_trunc('milliseconds', clock_timestamp());
  INSERT INTO ledger_journal (id, key, fingerprint, kind, reference, mode, legs, note, created_at)
  SELECT j.id, j.key, ledger_fingerprint(j.kind, j.reference, j.mode, j.note, l.body),
         j.kind, j.reference, j.mode, l.legs, j.note, v_at
  FROM unnest(p_ids, p_keys, p_kinds, p_references, p_modes, p_notes)
       WITH ORDINALITY AS j (id, key, kind, reference, mode, note, item)
  JOIN (SELECT g.item, count(*)::smallint AS legs,
               string_agg(format('%s:%s:%s', g.account, g.owner, g.amount), ','
                          ORDER BY g.account, g.owner) AS body
        FROM unnest(p_leg_of, p_accounts, p_owners, p_amounts) AS g (item, account, owner, amount)
        GROUP BY g.item) l ON l.item = j.item
  ORDER BY j.key
  ON CONFLICT (key) DO NOTHING;
  GET DIAGNOSTICS v_count = ROW_COUNT;

  IF v_count < cardinality(p_ids) THEN
    IF cardinality(p_ids) > 1 THEN
      RAISE EXCEPTION 'some of the journals exist' USING ERRCODE = 'SL005';
    END IF;
    SELECT * INTO v_first FROM ledger_journal WHERE key = p_keys[1];
    IF NOT FOUND THEN
      RAISE EXCEPTION 'journal % has no legs', p_keys[1] USING ERRCODE = 'SL003';
    END IF;
    SELECT ledger_fingerprint(p_kinds[1], p_references[1], p_modes[1], p_notes[1],
             string_agg(format('%s:%s:%s', g.account, g.owner, g.amount), ','
                        ORDER BY g.account, g.owner))
      INTO v_print FROM unnest(p_accounts, p_owners, p_amounts) AS g (account, owner, amount);
    IF v_print <> v_first.fingerprint THEN
      RAISE EXCEPTION 'key % was used for another journal', p_keys[1] USING ERRCODE = 'SL001';
    END IF;
    RETURN QUERY SELECT 1, v_first.id, false, e.account, e.owner, e.balance_after
      FROM ledger_entry e WHERE e.journal_id = v_first.id;
    RETURN;
  END IF;

  INSERT INTO ledger_entry
    (journal_id, account, owner, amount, account_seq, balance_after, created_at)
  SELECT p_ids[l.item], l.account, l.owner, l.amount,
         b.last_seq + row_number() OVER w, b.balance + (sum(l.amount) OVER w)::bigint, v_at
  FROM unnest(p_leg_of, p_accounts, p_owners, p_amounts) AS l (item, account, owner, amount)
  LEFT JOIN ledger_balance b ON b.account = l.account AND b.owner = l.owner
  WINDOW w AS (PARTITION BY l.account, l.owner ORDER BY l.item ROWS UNBOUNDED PRECEDING);

  SELECT k.name, e.balance_after, e.amount INTO v_broken
  FROM unnest(p_leg_of, p_accounts, p_owners, p_floors) AS l (item, account, owner, floor)
  JOIN ledger_entry e
    ON e.journal_id = p_ids[l.item] AND e.account = l.account AND e.owner = l.owner
  JOIN ledger_account_kind k ON k.id = l.account
  JOIN ledger_balance b ON b.account = l.account AND b.owner = l.owner
  WHERE e.balance_after < k.lowest OR e.balance_after > k.highest
     OR (p_modes[l.item] = 'authorising' AND e.amount < 0
         AND e.balance_after < coalesce(l.floor, b.floor))
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% can not move by %: it would be left at %',
      v_broken.name, v_broken.amount, v_broken.balance_after
      USING ERRCODE = 'SL002';
  END IF;

  RETURN QUERY
  WITH moved AS (
    SELECT l.item, e.account, e.owner, e.balance_after, e.account_seq, l.floor,
           row_number() OVER (PARTITION BY e.account, e.owner ORDER BY e.account_seq DESC) AS newest
    FROM unnest(p_leg_of, p_accounts, p_owners, p_floors) AS l (item, account, owner, floor)
    JOIN ledger_entry e
    ON e.journal_id = p_ids[l.item] AND e.account = l.account AND e.owner = l.owner
  ), kept AS (
    UPDATE ledger_balance b
    SET balance = m.balance_after, last_seq = m.account_seq, floor = coalesce(m.floor, b.floor)
    FROM moved m
    WHERE m.newest = 1 AND b.account = m.account AND b.owner = m.owner
  )
  SELECT m.item, p_ids[m.item], true, m.account, m.owner, m.balance_after
  FROM moved m ORDER BY m.item, m.account;
END $$;

-- Door one: one journal, or a refusal.
CREATE OR REPLACE FUNCTION ledger_lock(p_riders uuid[])
RETURNS TABLE (r_owner uuid, r_account smallint, r_balance bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO ledger_balance (account, owner)
  SELECT a.account, r.owner
  FROM (SELECT DISTINCT unnest(p_riders)) r (owner) CROSS JOIN (VALUES (1), (2), (3)) a (account)
  ORDER BY a.account, r.owner
  ON CONFLICT DO NOTHING;
  RETURN QUERY
    SELECT b.owner, b.account, b.balance FROM ledger_balance b
    WHERE b.owner = ANY (p_riders) AND b.account = ANY (ARRAY[1, 2, 3]::smallint[])
    ORDER BY b.account, b.owner
    FOR NO KEY UPDATE OF b;
END $$;

CREATE FUNCTION ledger_post(
  p_id uuid, p_key text, p_kind text, p_reference uuid, p_mode text, p_note text,
  p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[]
) RETURNS TABLE (
  r_journal uuid, r_fresh boolean, r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT w.r_journal, w.r_fresh, w.r_account, w.r_owner, w.r_balance
  FROM ledger_write(ARRAY[p_id], ARRAY[p_key], ARRAY[p_kind], ARRAY[p_reference], ARRAY[p_mode],
         ARRAY[p_note], array_fill(1, ARRAY[cardinality(p_accounts)]),
         p_accounts, p_owners, p_amounts, p_floors) w
$$;

-- Door two: many journals, each answered on its own (`r_refusal` is its SQLSTATE). All go through
-- in one pass; where one is refused or repeated they are posted one by one.
CREATE FUNCTION ledger_post_batch(
  p_ids uuid[], p_keys text[], p_kinds text[], p_references uuid[], p_modes text[], p_notes text[],
  p_leg_of integer[], p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[]
) RETURNS TABLE (
  r_item integer, r_refusal text, r_journal uuid, r_fresh boolean,
  r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_item integer;
  v_from integer;
  v_to   integer;
  v_rule text;
BEGIN
  BEGIN
    RETURN QUERY
      SELECT w.r_item, NULL::text, w.r_journal, w.r_fresh, w.r_account, w.r_owner, w.r_balance
      FROM ledger_write(p_ids, p_keys, p_kinds, p_references, p_modes, p_notes,
             p_leg_of, p_accounts, p_owners, p_amounts, p_floors) w;
    RETURN;
  EXCEPTION WHEN SQLSTATE 'SL001' OR SQLSTATE 'SL002' OR SQLSTATE 'SL003' OR SQLSTATE 'SL005'
              OR integrity_constraint_violation THEN
    NULL;
  END;

  -- The attempt's locks went with it: take them all again before the first item, in order.
  PERFORM 1 FROM ledger_balance b
  WHERE (b.account, b.owner) IN
    (SELECT l.account, l.owner FROM unnest(p_accounts, p_owners) AS l (account, owner))
  ORDER BY b.account, b.owner
  FOR NO KEY UPDATE OF b;

  FOR v_item IN 1 .. cardinality(p_ids) LOOP
    -- Legs come in the order of their journals.
    v_from := array_position(p_leg_of, v_item);
    v_to := v_from - 1 + cardinality(array_positions(p_leg_of, v_item));
    BEGIN
      RETURN QUERY
        SELECT v_item, NULL::text, w.r_journal, w.r_fresh, w.r_account, w.r_owner, w.r_balance
        FROM ledger_post(p_ids[v_item], p_keys[v_item], p_kinds[v_item], p_references[v_item],
               p_modes[v_item], p_notes[v_item],
               coalesce(p_accounts[v_from:v_to], '{}'), coalesce(p_owners[v_from:v_to], '{}'),
               coalesce(p_amounts[v_from:v_to], '{}'), coalesce(p_floors[v_from:v_to], '{}')) w;
    EXCEPTION WHEN SQLSTATE 'SL001' OR SQLSTATE 'SL002' OR SQLSTATE 'SL003'
                OR integrity_constraint_violation THEN
      GET STACKED DIAGNOSTICS v_rule = CONSTRAINT_NAME;
      RETURN QUERY SELECT v_item,
        CASE WHEN v_rule = 'once_per_reference' THEN 'SL001' ELSE SQLSTATE END,
        p_ids[v_item], false, NULL::smallint, NULL::uuid, NULL::bigint;
    END;
  END LOOP;
END $$;

REVOKE ALL ON FUNCTION ledger_write, ledger_post, ledger_post_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_write TO smartline_core;
GRANT EXECUTE ON FUNCTION ledger_post, ledger_post_batch TO smartline_app, smartline_writer;
DO $$
BEGIN
  ALTER FUNCTION ledger_post OWNER TO smartline_core;
  ALTER FUNCTION ledger_post_batch OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;

DROP INDEX one_way_per_withdrawal, once_per_reference, ledger_journal_by_parent,
  ledger_entry_by_xid;
ALTER TABLE ledger_entry DROP COLUMN xid;
CREATE UNIQUE INDEX once_per_reference ON ledger_journal (kind, reference)
  WHERE kind IN ('hold', 'release', 'settle', 'cancel_fee');
ALTER TABLE ledger_journal
  DROP CONSTRAINT refunds_name_their_trip,
  DROP CONSTRAINT journal_kind_is_known,
  ADD CONSTRAINT journal_kind_is_known CHECK (kind IN
              ('hold', 'release', 'settle', 'cancel_fee', 'due_paid', 'adjustment')),
  DROP COLUMN parent, DROP COLUMN paid;
ALTER TABLE ledger_entry DROP CONSTRAINT account_is_known, ADD CONSTRAINT account_is_known
  CHECK (account IN (1, 2, 3, 4, 10, 11) OR account BETWEEN 20 AND 30);
DELETE FROM ledger_account_kind WHERE id = 31;
