-- Every event of money: deposits, tips, refunds, withdrawals, suspense. What the database itself now
-- refuses beside what it did:
--   SL006 a trip would give back more than was paid for it
--   SL007 a day is to be sealed out of turn
-- The program before this migration goes on: it calls the doors without what is new.

INSERT INTO ledger_account_kind (id, name, wallet, lowest, highest) VALUES
  -- Captures that nobody asked for, until it is known whose they are.
  (31, 'suspense', false, NULL, NULL);
ALTER TABLE ledger_entry DROP CONSTRAINT account_is_known, ADD CONSTRAINT account_is_known
  CHECK (account IN (1, 2, 3, 4, 10, 11) OR account BETWEEN 20 AND 31);

-- The transaction that brought it, counted over all wraps; 0 from before. By it the company's
-- accounts are rolled up: all that is below the oldest transaction under way is there to be seen.
ALTER TABLE ledger_entry ADD COLUMN xid bigint NOT NULL DEFAULT 0;
CREATE INDEX ledger_entry_by_xid ON ledger_entry USING brin (xid)
  WITH (pages_per_range = 32, autosummarize = on);

ALTER TABLE ledger_journal
  -- The trip behind a journal whose reference is something else.
  ADD COLUMN parent uuid,
  -- What the rider paid for the trip by this journal, in the ledger or by hand; negative when it
  -- gives back.
  ADD COLUMN paid bigint,
  ADD CONSTRAINT refunds_name_their_trip CHECK (
    CASE WHEN kind IN ('refund', 'goodwill') THEN parent IS NOT NULL AND coalesce(paid < 0, false)
         ELSE coalesce(paid >= 0, true) END),
  DROP CONSTRAINT journal_kind_is_known,
  ADD CONSTRAINT journal_kind_is_known CHECK (kind IN (
  'hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
  'due_paid', 'deposit', 'gateway_settled', 'suspense', 'suspense_resolved', 'withdraw_requested',
  'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed', 'write_off',
  'adjustment'));
CREATE INDEX ledger_journal_by_parent ON ledger_journal (parent) WHERE parent IS NOT NULL;

-- Whatever the key, each of these happens once to what it is about.
DROP INDEX once_per_reference;
CREATE UNIQUE INDEX once_per_reference ON ledger_journal (kind, reference)
  WHERE kind IN ('hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip', 'refund', 'goodwill',
    'deposit', 'gateway_settled', 'suspense', 'suspense_resolved', 'withdraw_requested',
    'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed');
-- A withdrawal is rejected or sent, and what was sent is confirmed or failed.
CREATE UNIQUE INDEX one_way_per_withdrawal ON ledger_journal
  (reference, (kind IN ('withdraw_rejected', 'withdraw_sent')))
  WHERE kind IN ('withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed', 'withdraw_failed');

-- Refunds of one trip wait for each other, in an order that all keep.
CREATE FUNCTION ledger_lock_refunds(p_parents uuid[], p_paids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(l.place)
  FROM (SELECT DISTINCT hashtextextended(p.parent::text, 742012) AS place
        FROM unnest(p_parents, p_paids) AS p (parent, paid) WHERE p.paid < 0 ORDER BY 1) l;
END $$;

-- M8: a trip gives back at most what was paid for it. Settlements from before `paid` was written
-- are looked up in the trip.
CREATE FUNCTION ledger_refund_fits() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_paid bigint;
  v_back bigint;
BEGIN
  PERFORM ledger_lock_refunds(ARRAY[NEW.parent], ARRAY[NEW.paid]);
  SELECT coalesce(sum(coalesce(j.paid, CASE j.kind WHEN 'settle' THEN t.final_price
                                                   ELSE t.cancel_fee END)), 0) INTO v_paid
  FROM ledger_journal j LEFT JOIN trips t ON t.id = j.reference
  WHERE j.kind IN ('settle', 'cancel_fee') AND j.reference = NEW.parent;
  SELECT coalesce(-sum(j.paid), 0) INTO v_back
  FROM ledger_journal j WHERE j.parent = NEW.parent AND j.paid < 0;
  IF v_back > v_paid THEN
    RAISE EXCEPTION 'trip % was paid with %, % would be given back', NEW.parent, v_paid, v_back
      USING ERRCODE = 'SL006';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER ledger_refund_fits AFTER INSERT ON ledger_journal
  FOR EACH ROW WHEN (NEW.paid < 0) EXECUTE FUNCTION ledger_refund_fits();

-- M1: each statement adds whole journals that sum to zero, under the fingerprint of what they are.
-- A journal says truly what was paid or given back where the legs show it: rider wallet, hold and due
-- (1, 2, 3), and the gateway (23); cash is not in the ledger. M5: an entry of a wallet follows the one
-- before it without a gap, and leaves what that one left and its own amount.
CREATE OR REPLACE FUNCTION ledger_balanced() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_wrong uuid;
BEGIN
  SELECT n.journal_id INTO v_wrong
  FROM (SELECT journal_id, sum(amount) AS total, count(*) AS legs,
               coalesce(sum(amount) FILTER (WHERE account IN (1, 2, 3, 23)), 0) AS given,
               string_agg(format('%s:%s:%s', account, owner, amount), ','
                          ORDER BY account, owner) AS body
        FROM added GROUP BY journal_id) n
  LEFT JOIN ledger_journal j ON j.id = n.journal_id
  WHERE n.total <> 0 OR n.legs < 2 OR j.legs IS DISTINCT FROM n.legs
     OR (SELECT count(*) FROM ledger_entry e WHERE e.journal_id = n.journal_id) <> n.legs
     OR (n.given <> -j.paid AND (j.paid < 0 OR n.given <> 0))
     OR j.fingerprint <> ledger_fingerprint(j.kind, j.reference, j.mode, j.note, n.body,
                                            j.parent, j.paid)
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal % does not balance', v_wrong USING ERRCODE = 'SL003';
  END IF;
  SELECT a.journal_id INTO v_wrong FROM added a
  WHERE a.account_seq IS NOT NULL AND NOT CASE a.account_seq
    WHEN 1 THEN a.balance_after = a.amount
    ELSE EXISTS (SELECT FROM ledger_entry e
                 WHERE e.account = a.account AND e.owner = a.owner
                   AND e.account_seq = a.account_seq - 1
                   AND e.balance_after = a.balance_after - a.amount) END
  LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'an entry of journal % does not follow the one before it', v_wrong
      USING ERRCODE = 'SL003';
  END IF;
  RETURN NULL;
END $$;

-- What a wallet holds is told as before, by one join instead of a function call per entry.
CREATE OR REPLACE FUNCTION wallet_facts() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  WITH stored AS (
    INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    SELECT 'wallet', e.owner, e.account_seq::integer,
           CASE WHEN e.amount > 0 THEN 'WALLET_CREDITED' ELSE 'WALLET_DEBITED' END,
           jsonb_build_object(
             'userId', e.owner, 'account', k.name, 'seq', e.account_seq, 'amount', abs(e.amount),
             'balance', e.balance_after, 'reason', j.kind, 'journalId', e.journal_id,
             'reference', j.reference,
             'at', to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
           e.created_at
    FROM added e
    JOIN ledger_journal j ON j.id = e.journal_id
    JOIN ledger_account_kind k ON k.id = e.account
    WHERE e.account IN (1, 10)
    ORDER BY e.owner, e.account_seq
    RETURNING aggregate_type, aggregate_id, seq, event_type, payload, created_at
  )
  INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
  SELECT s.aggregate_type, s.aggregate_id, s.seq, s.event_type, s.payload, s.created_at
  FROM stored s;
  RETURN NULL;
END $$;
DROP FUNCTION wallet_fact;

-- The doors and what is behind them take the two new columns. They belong to smartline_core.
DO $$
BEGIN
  EXECUTE format('GRANT smartline_core TO %I', current_user);
  GRANT CREATE ON SCHEMA public TO smartline_core;
END $$;
DROP FUNCTION ledger_post, ledger_post_batch, ledger_write, ledger_fingerprint;

-- What makes two bodies the same. The checker works it out again from the stored rows (M9). Without
-- what is new it is what it always was.
CREATE FUNCTION ledger_fingerprint(
  p_kind text, p_reference uuid, p_mode text, p_note text, p_legs text,
  p_parent uuid DEFAULT NULL, p_paid bigint DEFAULT NULL
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT sha256(convert_to(concat_ws('|', p_kind, p_reference, p_parent, p_paid, p_mode, p_legs,
    coalesce(p_note, '')), 'UTF8'))
$$;

-- Makes and locks the wallets among these accounts, in the order of every posting.
CREATE FUNCTION ledger_lock_accounts(p_accounts smallint[], p_owners uuid[]) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
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
END $$;

-- Writes journals, all or none; the two doors below call it. Parallel arrays: one element per
-- journal, and one per leg with `p_leg_of` the journal's place from 1. Locks the wallet accounts
-- before it takes a key, in account order, so that postings can wait for each other in no circle.
-- Answers a row per leg, `r_balance` null for system accounts. Its plans look rows up by index
-- alone: one made while the tables were empty stays right when they have grown.
CREATE FUNCTION ledger_write(
  p_ids uuid[], p_keys text[], p_kinds text[], p_references uuid[], p_modes text[], p_notes text[],
  p_leg_of integer[], p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[],
  p_parents uuid[] DEFAULT NULL, p_paids bigint[] DEFAULT NULL
) RETURNS TABLE (
  r_item integer, r_journal uuid, r_fresh boolean,
  r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  v_xid      bigint;
  v_at       timestamptz;
  v_count    integer;
  v_first    ledger_journal;
  v_bodies   text[];
  v_legs     smallint[];
  v_items    integer[];
  v_accounts smallint[];
  v_owners   uuid[];
  v_amounts  bigint[];
  v_seqs     bigint[];
  v_balances bigint[];
  v_floors   bigint[];
  v_broken   text;
BEGIN
  -- Even when the program forgets: whoever rides or drives sets his own money aside, no more.
  IF app_role() IN ('rider', 'driver') AND (
       EXISTS (SELECT FROM unnest(p_kinds) AS k (kind)
               WHERE k.kind NOT IN ('hold', 'withdraw_requested'))
       OR EXISTS (SELECT FROM unnest(p_owners) AS o (owner)
                  WHERE o.owner IS DISTINCT FROM app_uid())) THEN
    RAISE EXCEPTION 'a % posts for himself alone', app_role()
      USING ERRCODE = 'insufficient_privilege';
  END IF;

  PERFORM ledger_lock_accounts(p_accounts, p_owners);

  -- After the wallets: refunds of one trip wait for each other.
  IF 0 > ANY (p_paids) THEN
    PERFORM ledger_lock_refunds(p_parents, p_paids);
  END IF;

  SELECT array_agg(l.body ORDER BY l.item), array_agg(l.legs ORDER BY l.item)
    INTO v_bodies, v_legs
  FROM (SELECT g.item, count(*)::smallint AS legs,
               string_agg(format('%s:%s:%s', g.account, g.owner, g.amount), ','
                          ORDER BY g.account, g.owner) AS body
        FROM unnest(p_leg_of, p_accounts, p_owners, p_amounts) AS g (item, account, owner, amount)
        GROUP BY g.item) l;
  IF cardinality(v_bodies) IS DISTINCT FROM cardinality(p_ids) THEN
    RAISE EXCEPTION 'a journal has no legs' USING ERRCODE = 'SL003';
  END IF;

  -- The transaction's number comes before the time, both under the locks: whoever waited until all
  -- transactions of a day had ended has seen all its journals (ledger_seal_day), and the time rises
  -- along an account's entries. To the millisecond, as cursors of lists are.
  v_xid := pg_current_xact_id()::text::bigint;
  v_at := date_trunc('milliseconds', clock_timestamp());
  INSERT INTO ledger_journal
    (id, key, fingerprint, kind, reference, parent, paid, mode, legs, note, created_at)
  SELECT j.id, j.key,
         ledger_fingerprint(j.kind, j.reference, j.mode, j.note, j.body, j.parent, j.paid),
         j.kind, j.reference, j.parent, j.paid, j.mode, j.legs, j.note, v_at
  FROM unnest(p_ids, p_keys, p_kinds, p_references, p_modes, p_notes, p_parents, p_paids,
              v_bodies, v_legs)
       AS j (id, key, kind, reference, mode, note, parent, paid, body, legs)
  ORDER BY j.key
  ON CONFLICT (key) DO NOTHING;
  GET DIAGNOSTICS v_count = ROW_COUNT;

  IF v_count < cardinality(p_ids) THEN
    IF cardinality(p_ids) > 1 THEN
      RAISE EXCEPTION 'some of the journals exist' USING ERRCODE = 'SL005';
    END IF;
    SELECT * INTO v_first FROM ledger_journal WHERE key = p_keys[1];
    IF v_first.fingerprint <> ledger_fingerprint(p_kinds[1], p_references[1], p_modes[1],
         p_notes[1], v_bodies[1], p_parents[1], p_paids[1]) THEN
      RAISE EXCEPTION 'key % was used for another journal', p_keys[1] USING ERRCODE = 'SL001';
    END IF;
    RETURN QUERY SELECT 1, v_first.id, false, e.account, e.owner, e.balance_after
      FROM ledger_entry e WHERE e.journal_id = v_first.id;
    RETURN;
  END IF;

  -- What each leg leaves, and whether it may. Of the floors that the legs set the last one holds.
  SELECT array_agg(m.item), array_agg(m.account), array_agg(m.owner), array_agg(m.amount),
         array_agg(m.seq), array_agg(m.balance),
         -- Null but for the account's newest leg, which says what is kept.
         array_agg(CASE WHEN m.newest THEN m.floor END),
         min(CASE WHEN m.balance < k.lowest OR m.balance > k.highest
                    -- Nobody takes out what he doesn't have, nor is forgiven more than he owes.
                    OR (p_kinds[m.item] IN ('withdraw_requested', 'deposit_refund')
                        AND m.amount < 0 AND m.balance < 0)
                    OR (p_kinds[m.item] = 'write_off' AND m.balance > 0)
                    OR (m.amount < 0 AND m.balance < m.floor AND p_modes[m.item] = 'authorising')
             THEN format('%s can not move by %s: it would be left at %s', k.name, m.amount, m.balance)
             END)
    INTO v_items, v_accounts, v_owners, v_amounts, v_seqs, v_balances, v_floors, v_broken
  FROM (
    SELECT w.*, coalesce(w.floors[cardinality(w.floors)], w.old_floor) AS floor
    FROM (
      SELECT l.item, l.account, l.owner, l.amount, b.floor AS old_floor,
             b.last_seq + row_number() OVER w AS seq,
             b.balance + (sum(l.amount) OVER w)::bigint AS balance,
             array_agg(l.floor) FILTER (WHERE l.floor IS NOT NULL) OVER w AS floors,
             lead(l.item) OVER w IS NULL AS newest
      FROM unnest(p_leg_of, p_accounts, p_owners, p_amounts, p_floors)
           AS l (item, account, owner, amount, floor)
      LEFT JOIN ledger_balance b ON b.account = l.account AND b.owner = l.owner
      WINDOW w AS (PARTITION BY l.account, l.owner ORDER BY l.item ROWS UNBOUNDED PRECEDING)
    ) w
  ) m LEFT JOIN ledger_account_kind k ON k.id = m.account;
  IF v_broken IS NOT NULL THEN
    RAISE EXCEPTION '%', v_broken USING ERRCODE = 'SL002';
  END IF;

  INSERT INTO ledger_entry
    (journal_id, account, owner, amount, account_seq, balance_after, xid, created_at)
  SELECT p_ids[m.item], m.account, m.owner, m.amount, m.seq, m.balance, v_xid, v_at
  FROM unnest(v_items, v_accounts, v_owners, v_amounts, v_seqs, v_balances)
       AS m (item, account, owner, amount, seq, balance);

  UPDATE ledger_balance b SET balance = m.balance, last_seq = m.seq, floor = m.floor
  FROM unnest(v_accounts, v_owners, v_seqs, v_balances, v_floors)
       AS m (account, owner, seq, balance, floor)
  WHERE m.floor IS NOT NULL AND b.account = m.account AND b.owner = m.owner;

  RETURN QUERY SELECT m.item, p_ids[m.item], true, m.account, m.owner, m.balance
    FROM unnest(v_items, v_accounts, v_owners, v_balances) AS m (item, account, owner, balance)
    ORDER BY m.item, m.account;
END $$;

-- Door one: one journal, or a refusal.
CREATE FUNCTION ledger_post(
  p_id uuid, p_key text, p_kind text, p_reference uuid, p_mode text, p_note text,
  p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[],
  p_parent uuid DEFAULT NULL, p_paid bigint DEFAULT NULL
) RETURNS TABLE (
  r_journal uuid, r_fresh boolean, r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT w.r_journal, w.r_fresh, w.r_account, w.r_owner, w.r_balance
  FROM ledger_write(ARRAY[p_id], ARRAY[p_key], ARRAY[p_kind], ARRAY[p_reference], ARRAY[p_mode],
         ARRAY[p_note], array_fill(1, ARRAY[cardinality(p_accounts)]),
         p_accounts, p_owners, p_amounts, p_floors, ARRAY[p_parent], ARRAY[p_paid]) w
$$;

-- Door two: many journals, each answered on its own (`r_refusal` is its SQLSTATE). All go through
-- in one pass; where one is refused or repeated they are halved until it stands alone.
CREATE FUNCTION ledger_post_batch(
  p_ids uuid[], p_keys text[], p_kinds text[], p_references uuid[], p_modes text[], p_notes text[],
  p_leg_of integer[], p_accounts smallint[], p_owners uuid[], p_amounts bigint[], p_floors bigint[],
  p_parents uuid[] DEFAULT NULL, p_paids bigint[] DEFAULT NULL
) RETURNS TABLE (
  r_item integer, r_refusal text, r_journal uuid, r_fresh boolean,
  r_account smallint, r_owner uuid, r_balance bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  -- Firsts and lasts of what is still to be posted, the next one at the end.
  v_from   integer[] := ARRAY[1];
  v_to     integer[] := ARRAY[cardinality(p_ids)];
  v_first  integer;
  v_last   integer;
  v_middle integer;
  v_split  boolean := false;
  v_legs   record;
  v_rule   text;
BEGIN
  WHILE cardinality(v_from) > 0 LOOP
    v_first := v_from[cardinality(v_from)];
    v_last := v_to[cardinality(v_to)];
    v_from := trim_array(v_from, 1);
    v_to := trim_array(v_to, 1);
    SELECT array_agg(l.item - v_first + 1) AS items, array_agg(l.account) AS accounts,
           array_agg(l.owner) AS owners, array_agg(l.amount) AS amounts,
           array_agg(l.floor) AS floors INTO v_legs
    FROM unnest(p_leg_of, p_accounts, p_owners, p_amounts, p_floors)
         AS l (item, account, owner, amount, floor)
    WHERE l.item BETWEEN v_first AND v_last;
    BEGIN
      RETURN QUERY
        SELECT w.r_item + v_first - 1, NULL::text, w.r_journal, w.r_fresh, w.r_account, w.r_owner,
               w.r_balance
        FROM ledger_write(p_ids[v_first:v_last], p_keys[v_first:v_last], p_kinds[v_first:v_last],
               p_references[v_first:v_last], p_modes[v_first:v_last], p_notes[v_first:v_last],
               v_legs.items, v_legs.accounts, v_legs.owners, v_legs.amounts, v_legs.floors,
               p_parents[v_first:v_last], p_paids[v_first:v_last]) w;
      CONTINUE;
    EXCEPTION WHEN SQLSTATE 'SL001' OR SQLSTATE 'SL002' OR SQLSTATE 'SL003' OR SQLSTATE 'SL005'
                OR SQLSTATE 'SL006' OR integrity_constraint_violation THEN
      IF v_first = v_last THEN
        GET STACKED DIAGNOSTICS v_rule = CONSTRAINT_NAME;
        RETURN QUERY SELECT v_first,
          CASE WHEN v_rule IN ('once_per_reference', 'one_way_per_withdrawal') THEN 'SL001'
               ELSE SQLSTATE END,
          p_ids[v_first], false, NULL::smallint, NULL::uuid, NULL::bigint;
        CONTINUE;
      END IF;
    END;
    IF NOT v_split THEN
      -- The attempt's locks went with it: they are all taken again before the first part, in order.
      PERFORM ledger_lock_accounts(p_accounts, p_owners);
      IF 0 > ANY (p_paids) THEN
        PERFORM ledger_lock_refunds(p_parents, p_paids);
      END IF;
      v_split := true;
    END IF;
    v_middle := (v_first + v_last) / 2;
    v_from := v_from || ARRAY[v_middle + 1, v_first];
    v_to := v_to || ARRAY[v_last, v_middle];
  END LOOP;
END $$;

-- As in 0002, but a rider locks and reads his own accounts alone.
CREATE OR REPLACE FUNCTION ledger_lock(p_riders uuid[])
RETURNS TABLE (r_owner uuid, r_account smallint, r_balance bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF app_role() IN ('rider', 'driver') AND EXISTS (
       SELECT FROM unnest(p_riders) AS r (rider) WHERE r.rider IS DISTINCT FROM app_uid()) THEN
    RAISE EXCEPTION 'a % reads his own accounts alone', app_role()
      USING ERRCODE = 'insufficient_privilege';
  END IF;
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

REVOKE ALL ON FUNCTION ledger_write, ledger_post, ledger_post_batch, ledger_lock_refunds,
  ledger_lock_accounts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_write, ledger_lock_refunds, ledger_lock_accounts
  TO smartline_core;
GRANT EXECUTE ON FUNCTION ledger_post, ledger_post_batch TO smartline_app, smartline_writer;

-- The company's accounts -----------------------------------------------------------------------

-- Up to a transaction, added up: balance = roll-up + tail (M6).
CREATE TABLE ledger_rollup (
  account smallint PRIMARY KEY CONSTRAINT rollup_is_of_the_company CHECK (account >= 20),
  balance bigint NOT NULL,
  entries bigint NOT NULL
);
CREATE TABLE ledger_watermark (
  single    boolean PRIMARY KEY DEFAULT true CONSTRAINT one_watermark CHECK (single),
  -- Entries of transactions below this one are in the roll-up.
  up_to     bigint NOT NULL,
  -- Transactions from this one on got their number after `rolled_at`.
  next_xid  bigint NOT NULL,
  rolled_at timestamptz NOT NULL
);
INSERT INTO ledger_watermark (up_to, next_xid, rolled_at) VALUES (0, 0, 'epoch');

-- Moves the roll-up on to the oldest transaction under way; how many entries it took in. In a
-- database that was restored elsewhere transactions count from another number: it begins anew.
CREATE FUNCTION ledger_roll_up() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE
  v_mark  ledger_watermark;
  v_at    timestamptz;
  v_own   bigint;
  v_now   pg_snapshot;
  v_up_to bigint;
  v_count bigint;
BEGIN
  IF NOT app_is_system() THEN
    RAISE insufficient_privilege USING MESSAGE = 'the program itself rolls the ledger up';
  END IF;
  -- The time first: whoever has a higher number than ours got it after this time.
  v_at := clock_timestamp();
  v_own := pg_current_xact_id()::text::bigint;
  SELECT * INTO v_mark FROM ledger_watermark FOR UPDATE;
  v_now := pg_current_snapshot();
  v_up_to := pg_snapshot_xmin(v_now)::text::bigint;
  IF v_mark.up_to > pg_snapshot_xmax(v_now)::text::bigint THEN
    DELETE FROM ledger_rollup;
    v_mark.up_to := 0;
  END IF;
  WITH tail AS (
    SELECT e.account, sum(e.amount)::bigint AS moved, count(*) AS entries
    FROM ledger_entry e
    WHERE e.account_seq IS NULL AND e.xid >= v_mark.up_to AND e.xid < v_up_to
    GROUP BY e.account
  ), kept AS (
    INSERT INTO ledger_rollup AS r (account, balance, entries)
    SELECT t.account, t.moved, t.entries FROM tail t
    ON CONFLICT (account) DO UPDATE
      SET balance = r.balance + excluded.balance, entries = r.entries + excluded.entries
  )
  SELECT coalesce(sum(t.entries), 0) INTO v_count FROM tail t;
  UPDATE ledger_watermark
  SET up_to = v_up_to, next_xid = v_own + 1, rolled_at = v_at;
  RETURN v_count;
END $$;

-- Days that are closed --------------------------------------------------------------------------

-- What a business day held, chained to the day before it. A change of history is found by working
-- the hash out again; whoever changes a day would have to change all later ones.
CREATE TABLE ledger_seal (
  day       date PRIMARY KEY,
  begins_at timestamptz NOT NULL,
  ends_at   timestamptz NOT NULL CONSTRAINT seal_covers_a_day CHECK
            (ends_at BETWEEN begins_at + interval '22 hours' AND begins_at + interval '26 hours'),
  journals  bigint NOT NULL,
  entries   bigint NOT NULL,
  -- All that flowed into accounts.
  volume    bigint NOT NULL,
  hash      bytea NOT NULL CONSTRAINT seal_is_sha256 CHECK (octet_length(hash) = 32),
  sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER ledger_seal_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_seal
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_immutable();

-- The journals of a span of time in their order, minute by minute. A journal's fingerprint stands
-- for its legs.
CREATE FUNCTION ledger_day(p_begins_at timestamptz, p_ends_at timestamptz, p_before bytea)
RETURNS TABLE (r_journals bigint, r_entries bigint, r_volume bigint, r_hash bytea)
LANGUAGE sql STABLE AS $$
  SELECT j.journals, e.entries, e.volume, j.hash
  FROM (
    SELECT coalesce(sum(m.journals), 0)::bigint AS journals,
           sha256(coalesce(p_before, '') || coalesce(string_agg(m.hash, '' ORDER BY m.minute), ''))
             AS hash
    FROM (
      SELECT date_trunc('minute', created_at) AS minute, count(*) AS journals,
             sha256(string_agg(uuid_send(id) || fingerprint || convert_to(
               key || '|' || extract(epoch FROM created_at), 'UTF8'), '' ORDER BY created_at, id))
               AS hash
      FROM ledger_journal WHERE created_at >= p_begins_at AND created_at < p_ends_at
      GROUP BY 1
    ) m
  ) j, (
    SELECT count(*) AS entries, coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint AS volume
    FROM ledger_entry WHERE created_at >= p_begins_at AND created_at < p_ends_at
  ) e
$$;

-- Seals the day after the last one sealed; the first may be any that has nothing before it. False
-- while a transaction may still bring journals of that day: all that had a number when the roll-up
-- ran after the day's end must be over.
CREATE FUNCTION ledger_seal_day(p_day date, p_begins_at timestamptz, p_ends_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_last ledger_seal;
  v_mark ledger_watermark;
BEGIN
  IF NOT app_is_system() THEN
    RAISE insufficient_privilege USING MESSAGE = 'the program itself seals the ledger';
  END IF;
  -- One at a time.
  SELECT * INTO v_mark FROM ledger_watermark FOR UPDATE;
  SELECT * INTO v_last FROM ledger_seal ORDER BY day DESC LIMIT 1;
  IF v_last.day >= p_day THEN
    RETURN true;
  END IF;
  IF v_last.day <> p_day - 1 OR v_last.ends_at <> p_begins_at
     OR (v_last.day IS NULL
         AND EXISTS (SELECT FROM ledger_journal WHERE created_at < p_begins_at)) THEN
    RAISE EXCEPTION 'day % does not follow the last one sealed', p_day USING ERRCODE = 'SL007';
  END IF;
  IF v_mark.rolled_at < p_ends_at
     OR v_mark.next_xid > pg_snapshot_xmin(pg_current_snapshot())::text::bigint THEN
    RETURN false;
  END IF;
  INSERT INTO ledger_seal (day, begins_at, ends_at, journals, entries, volume, hash)
  SELECT p_day, p_begins_at, p_ends_at, d.r_journals, d.r_entries, d.r_volume, d.r_hash
  FROM ledger_day(p_begins_at, p_ends_at, v_last.hash) d;
  RETURN true;
END $$;

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['ledger_rollup', 'ledger_watermark', 'ledger_seal'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY core ON %I TO smartline_core USING (true)', name);
    EXECUTE format('CREATE POLICY staff_read ON %I FOR SELECT TO smartline_app '
      'USING ((SELECT app_is_staff()))', name);
    EXECUTE format('CREATE POLICY writer_read ON %I FOR SELECT TO smartline_writer USING (true)', name);
    EXECUTE format('GRANT SELECT ON %I TO smartline_app, smartline_writer', name);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_rollup TO smartline_core;
GRANT SELECT, UPDATE ON ledger_watermark TO smartline_core;
GRANT SELECT, INSERT ON ledger_seal TO smartline_core;
REVOKE ALL ON FUNCTION ledger_roll_up, ledger_seal_day, ledger_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger_roll_up, ledger_seal_day TO smartline_app;
GRANT EXECUTE ON FUNCTION ledger_day TO smartline_app, smartline_writer, smartline_core;

DO $$
BEGIN
  ALTER FUNCTION ledger_post OWNER TO smartline_core;
  ALTER FUNCTION ledger_post_batch OWNER TO smartline_core;
  ALTER FUNCTION ledger_roll_up OWNER TO smartline_core;
  ALTER FUNCTION ledger_seal_day OWNER TO smartline_core;
  REVOKE CREATE ON SCHEMA public FROM smartline_core;
  EXECUTE format('REVOKE smartline_core FROM %I', current_user);
END $$;
