"""What a batch of transfers can write without waiting for anybody is written before an account is locked."""

from importlib import import_module

from django.db import migrations

before = import_module("core.migrations.0002_functions")

POST = """
CREATE OR REPLACE FUNCTION core_ledger_post(
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
-- What others cannot meet, the transfers and the lots that they bring, is written before anybody has to wait.
-- (Rows written in vain are deleted again: a block that could be rolled back would cost each call a subtransaction.)
DECLARE
    v_ids bigint[] := ARRAY(
        SELECT nextval('core_ledgertransfer_id_seq') FROM generate_series(1, cardinality(p_causes))
    );
    v_customers bigint[] := ARRAY(
        SELECT id FROM core_ledgeraccount WHERE id = ANY(p_debits || p_credits) AND owner_id > 0 ORDER BY id
    );
    v_free bigint[];
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
    INSERT INTO core_ledgerlot (account_id, transfer_id, amount, remaining, expires_at)
    SELECT p.credit, p.id, p.amount, p.amount, p.expires
    FROM unnest(v_ids, p_credits, p_amounts, p_expires) AS p(id, credit, amount, expires)
    WHERE p.credit = ANY(v_customers);
    WITH locked AS MATERIALIZED (
        SELECT balance - held AS free FROM core_ledgeraccount WHERE id = ANY(v_customers)
        ORDER BY id FOR NO KEY UPDATE
    )
    SELECT array_agg(free) INTO v_free FROM locked;
    IF cardinality(v_free) < cardinality(v_customers) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger account was deleted meanwhile',
            TABLE = 'core_ledgertransfer';
    END IF;
    IF v_customers && p_debits THEN
        -- Lots first-expiring-first and transfers in their order, both as stretches of one line: what overlaps is used.
        WITH wanted AS MATERIALIZED (
            SELECT p.id, p.debit, p.amount,
                   (sum(p.amount) OVER (PARTITION BY p.debit ORDER BY p.place))::bigint - p.amount AS before
            FROM unnest(v_ids, p_debits, p_amounts) WITH ORDINALITY AS p(id, debit, amount, place)
            WHERE p.debit = ANY(v_customers)
        ), lots AS MATERIALIZED (
            SELECT l.* FROM (SELECT DISTINCT debit FROM wanted) d, LATERAL (
                SELECT o.id, o.account_id, o.remaining, o.expires_at,
                       (sum(o.remaining) OVER (ORDER BY o.expires_at, o.id))::bigint - o.remaining AS before
                FROM core_ledgerlot o
                WHERE o.account_id = d.debit AND o.remaining > 0 AND o.transfer_id <> ALL(v_ids)
            ) l
        ), used AS MATERIALIZED (
            SELECT l.id AS lot_id, w.id AS transfer_id,
                   least(w.before + w.amount, l.before + l.remaining) - greatest(w.before, l.before) AS amount
            FROM wanted w JOIN lots l ON l.account_id = w.debit
                AND l.before < w.before + w.amount AND w.before < l.before + l.remaining
            -- The guard: only what is there and not held can go, and nothing while something has expired.
            WHERE NOT EXISTS (SELECT FROM lots WHERE expires_at <= p_at) AND NOT EXISTS (
                SELECT FROM wanted g JOIN unnest(v_customers, v_free) AS f(id, free) ON f.id = g.debit
                WHERE f.free < g.before + g.amount
            )
        ), emptied AS (
            UPDATE core_ledgerlot lot SET remaining = lot.remaining - u.amount
            FROM (SELECT lot_id, sum(amount)::bigint AS amount FROM used GROUP BY lot_id) u WHERE lot.id = u.lot_id
        )
        INSERT INTO core_ledgerlotuse (lot_id, transfer_id, amount) SELECT lot_id, transfer_id, amount FROM used;
        IF NOT FOUND THEN
            DELETE FROM core_ledgerlot WHERE transfer_id = ANY(v_ids);
            DELETE FROM core_ledgertransfer WHERE id = ANY(v_ids);
            RETURN NULL;
        END IF;
    END IF;
    UPDATE core_ledgeraccount a SET balance = a.balance + n.change
    FROM (
        SELECT m.account, sum(m.change)::bigint AS change FROM (
            SELECT * FROM unnest(p_credits, p_amounts) AS c(account, change)
            UNION ALL SELECT d.account, -d.change FROM unnest(p_debits, p_amounts) AS d(account, change)
        ) m WHERE m.account = ANY(v_customers) GROUP BY m.account
    ) n WHERE a.id = n.account AND n.change <> 0;
    RETURN v_ids;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0030_ledger")]

    operations = [
        migrations.RunSQL(POST, before.POST.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")),
    ]
