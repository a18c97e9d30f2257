"""A hold in one statement, for commands that place one while they keep busy rows locked."""

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


class Migration(migrations.Migration):
    dependencies = [("core", "0002_lot_uses_may_be_put_back")]

    operations = [
        # Balances change in place: with room on the page their indexes need no new entry.
        migrations.RunSQL(
            "ALTER TABLE core_ledgeraccount SET (fillfactor = 70)",
            "ALTER TABLE core_ledgeraccount RESET (fillfactor)",
        ),
        migrations.RunSQL(HOLD, "DROP FUNCTION core_ledger_hold(text, text, bigint, bigint, timestamptz)")
    ]
