"""Holds for many owners in two statements, for orders that are written together."""

from importlib import import_module

from django.db import migrations

before = import_module("core.migrations.0002_functions")

HOLD = """
CREATE FUNCTION core_ledger_hold(
    p_causes text[], p_kind text, p_owner_ids bigint[], p_amounts bigint[], p_at timestamptz
) RETURNS boolean LANGUAGE plpgsql
AS $$
-- Set a part of each customer's balance aside, as core.ledger.hold does; every owner stands once. False when that much
-- is not free in one of the accounts: then the caller must roll back.
-- Lots past their expiry that no hold keeps do not count, whether or not they have been moved out yet.
-- A cause that was used before raises a unique violation: the caller's own key has to be idempotent.
-- As everywhere in the ledger, accounts are locked by id.
DECLARE
    v_count int;
BEGIN
    WITH locked AS (
        SELECT a.id, w.amount
        FROM unnest(p_owner_ids, p_amounts) AS w(owner_id, amount)
        JOIN core_ledgeraccount a ON a.kind = p_kind AND a.owner_id = w.owner_id
        WHERE w.owner_id > 0 AND w.amount > 0
        ORDER BY a.id FOR NO KEY UPDATE OF a
    )
    UPDATE core_ledgeraccount a SET held = a.held + l.amount
    FROM locked l WHERE a.id = l.id AND a.balance >= a.held + l.amount;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count < cardinality(p_causes) THEN
        RETURN false;
    END IF;
    -- Counted under the locks that the update took, by a statement that sees what was committed before it.
    INSERT INTO core_ledgerhold (cause, account_id, amount, status, placed_at)
    SELECT w.cause, a.id, w.amount, 'open', p_at
    FROM unnest(p_causes, p_owner_ids, p_amounts) AS w(cause, owner_id, amount)
    JOIN core_ledgeraccount a ON a.kind = p_kind AND a.owner_id = w.owner_id
    WHERE a.held <= a.balance - greatest(coalesce((
        SELECT sum(t.remaining) FROM core_ledgerlot t
        WHERE t.account_id = a.id AND t.remaining > 0 AND t.expires_at <= p_at
    ), 0) - (a.held - w.amount), 0);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count = cardinality(p_causes);
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0002_functions")]

    operations = [
        migrations.RunSQL(
            "DROP FUNCTION core_ledger_hold(text, text, bigint, bigint, timestamptz)", before.HOLD
        ),
        migrations.RunSQL(HOLD, "DROP FUNCTION core_ledger_hold(text[], text, bigint[], bigint[], timestamptz)"),
    ]
