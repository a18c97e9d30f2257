"""The ledger in the database: a hold, and many transfers, in one statement each."""

from django.db import migrations

HOLD = """
CREATE FUNCTION core_ledger_hold(p_cause text, p_kind text, p_owner_id bigint, p_amount bigint, p_at timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
-- Set a part of a customer's balance aside, as core.ledger.hold does; false when that much is not free.
-- Lots past their expiry that no hold keeps do not count, whether or not they have been moved out yet.
-- A cause that was used before raises a unique violation: the caller's own key has to be idempotent.
DECLARE
    v_account core_ledgeraccount;
    v_expired bigint;
BEGIN
    UPDATE core_ledgeraccount SET held = held + p_amount
    WHERE kind = p_kind AND owner_id = p_owner_id AND p_owner_id > 0 AND p_amount > 0 AND balance >= held + p_amount
    RETURNING * INTO v_account;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Counted under the lock that the update took, by a statement that sees what was committed before it.
    SELECT coalesce(sum(remaining), 0) INTO v_expired FROM core_ledgerlot
    WHERE account_id = v_account.id AND remaining > 0 AND expires_at <= p_at;
    IF v_account.balance - greatest(v_expired - (v_account.held - p_amount), 0) < v_account.held THEN
        UPDATE core_ledgeraccount SET held = held - p_amount WHERE id = v_account.id;
        RETURN false;
    END IF;
    INSERT INTO core_ledgerhold (cause, account_id, amount, status, placed_at)
    VALUES (p_cause, v_account.id, p_amount, 'open', p_at);
    RETURN true;
END $$;
"""

POST = """
CREATE FUNCTION core_ledger_post(
    p_causes text[], p_debits bigint[], p_credits bigint[], p_amounts bigint[], p_expires timestamptz[],
    p_at timestamptz
) RETURNS bigint[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET enable_sort = off
AS $$
-- (Always a few rows of large tables: planned for what the tables were when the connection was young, their statements
-- would read them whole for hours. And lots come by the index of open ones, which has them in order.)
-- Post transfers, all of them or none; returns their ids in order. Returns null, and leaves nothing written, when one
-- of them is not plain: its cause is known, what the account had before does not cover it, or something of the account
-- has expired. The caller then posts one by one, which finds the reason.
-- As everywhere in the ledger causes come before accounts, accounts are locked by id, and the house's never are.
-- (Transfers written in vain are deleted again: a block that could be rolled back would cost each call a
-- subtransaction.)
DECLARE
    v_ids bigint[] := ARRAY(
        SELECT nextval('core_ledgertransfer_id_seq') FROM generate_series(1, cardinality(p_causes))
    );
    v_customers bigint[];
    v_written int;
BEGIN
    INSERT INTO core_ledgertransfer (id, cause, debit_id, credit_id, amount, posted_at)
    SELECT p.id, p.cause, p.debit, p.credit, p.amount, p_at
    FROM unnest(v_ids, p_causes, p_debits, p_credits, p_amounts) AS p(id, cause, debit, credit, amount)
    ORDER BY p.cause
    ON CONFLICT (cause) DO NOTHING;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    IF v_written < cardinality(p_causes) THEN
        DELETE FROM core_ledgertransfer WHERE id = ANY(v_ids);
        RETURN NULL;
    END IF;
    WITH locked AS MATERIALIZED (
        SELECT id FROM core_ledgeraccount WHERE id = ANY(p_debits || p_credits) AND owner_id > 0
        ORDER BY id FOR NO KEY UPDATE
    )
    SELECT array_agg(id) INTO v_customers FROM locked;
    IF v_customers && p_debits THEN
        -- The guard: only what is there and not held can go.
        IF EXISTS (
            SELECT FROM (
                SELECT p.debit, sum(p.amount) AS amount FROM unnest(p_debits, p_amounts) AS p(debit, amount)
                WHERE p.debit = ANY(v_customers) GROUP BY p.debit
            ) d JOIN core_ledgeraccount a ON a.id = d.debit
            WHERE a.balance - a.held < d.amount OR EXISTS (
                SELECT FROM core_ledgerlot l
                WHERE l.account_id = a.id AND l.remaining > 0 AND l.expires_at <= p_at
            )
        ) THEN
            DELETE FROM core_ledgertransfer WHERE id = ANY(v_ids);
            RETURN NULL;
        END IF;
        -- Lots first-expiring-first and transfers in their order, both as stretches of one line: what overlaps is used.
        WITH wanted AS MATERIALIZED (
            SELECT p.id, p.debit, p.amount,
                   (sum(p.amount) OVER (PARTITION BY p.debit ORDER BY p.place))::bigint - p.amount AS before
            FROM unnest(v_ids, p_debits, p_amounts) WITH ORDINALITY AS p(id, debit, amount, place)
            WHERE p.debit = ANY(v_customers)
        ), lots AS MATERIALIZED (
            SELECT l.* FROM (SELECT DISTINCT debit FROM wanted) d, LATERAL (
                SELECT o.id, o.account_id, o.remaining,
                       (sum(o.remaining) OVER (ORDER BY o.expires_at, o.id))::bigint - o.remaining AS before
                FROM core_ledgerlot o WHERE o.account_id = d.debit AND o.remaining > 0
            ) l
        ), used AS MATERIALIZED (
            SELECT l.id AS lot_id, w.id AS transfer_id,
                   least(w.before + w.amount, l.before + l.remaining) - greatest(w.before, l.before) AS amount
            FROM wanted w JOIN lots l ON l.account_id = w.debit
                AND l.before < w.before + w.amount AND w.before < l.before + l.remaining
        ), emptied AS (
            UPDATE core_ledgerlot lot SET remaining = lot.remaining - u.amount
            FROM (SELECT lot_id, sum(amount)::bigint AS amount FROM used GROUP BY lot_id) u WHERE lot.id = u.lot_id
        )
        INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount) SELECT lot_id, transfer_id, amount FROM used;
    END IF;
    UPDATE core_ledgeraccount a SET balance = a.balance + n.change
    FROM (
        SELECT m.account, sum(m.change)::bigint AS change FROM (
            SELECT * FROM unnest(p_credits, p_amounts) AS c(account, change)
            UNION ALL SELECT d.account, -d.change FROM unnest(p_debits, p_amounts) AS d(account, change)
        ) m WHERE m.account = ANY(v_customers) GROUP BY m.account
    ) n WHERE a.id = n.account AND n.change <> 0;
    INSERT INTO core_ledgerlot (account_id, transfer_id, amount, remaining, expires_at)
    SELECT p.credit, p.id, p.amount, p.amount, p.expires
    FROM unnest(v_ids, p_credits, p_amounts, p_expires) AS p(id, credit, amount, expires)
    WHERE p.credit = ANY(v_customers);
    RETURN v_ids;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        # Balances change in place: with room on the page their indexes need no new entry.
        migrations.RunSQL(
            "ALTER TABLE core_ledgeraccount SET (fillfactor = 70)",
            "ALTER TABLE core_ledgeraccount RESET (fillfactor)",
        ),
        migrations.RunSQL(HOLD, "DROP FUNCTION core_ledger_hold(text, text, bigint, bigint, timestamptz)"),
        migrations.RunSQL(
            POST,
            "DROP FUNCTION core_ledger_post(text[], bigint[], bigint[], bigint[], timestamptz[], timestamptz)",
        ),
    ]
