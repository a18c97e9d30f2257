"""That ledger rows have what they refer to is checked once a statement (ADR 22)."""

import django.db.models.deletion
from django.db import migrations, models

# Rows that a statement has written are looked up by their keys, whatever the tables were like when the plan was made.
BY_KEY = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off"
CHECKS = f"""
CREATE FUNCTION core_ledger_transfers_have_accounts() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT debit_id FROM new_rows UNION SELECT credit_id FROM new_rows) n(id)
        WHERE (SELECT a.id FROM core_ledgeraccount a WHERE a.id = n.id OFFSET 0) IS NULL
    ) OR EXISTS (
        SELECT FROM new_rows n WHERE n.reverses_id IS NOT NULL
        AND (SELECT t.id FROM core_ledgertransfer t WHERE t.id = n.reverses_id OFFSET 0) IS NULL
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger transfer names an account or a transfer that is not there',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

-- A lot is its transfer's credit; that the account is there follows from the transfer.
CREATE FUNCTION core_ledger_lots_are_credits() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (
        SELECT FROM new_rows n
        WHERE (SELECT t.credit_id FROM core_ledgertransfer t WHERE t.id = n.transfer_id OFFSET 0)
            IS DISTINCT FROM n.account_id
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger lot is not what its transfer credits',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core_ledger_uses_have_lots() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (
        SELECT FROM new_rows n
        WHERE (SELECT l.id FROM core_ledgerlot l WHERE l.id = n.lot_id OFFSET 0) IS NULL
        OR (SELECT t.id FROM core_ledgertransfer t WHERE t.id = n.transfer_id OFFSET 0) IS NULL
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a use of a ledger lot names a lot or a transfer that is not there',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core_ledger_account_is_needed() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (
        SELECT FROM old_rows o WHERE EXISTS (SELECT FROM core_ledgertransfer t WHERE t.debit_id = o.id)
        OR EXISTS (SELECT FROM core_ledgertransfer t WHERE t.credit_id = o.id)
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger account that has transfers stays',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core_ledger_transfer_is_needed() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (
        SELECT FROM old_rows o WHERE EXISTS (SELECT FROM core_ledgerlot l WHERE l.transfer_id = o.id)
        OR EXISTS (SELECT FROM core_ledgerlotuse u WHERE u.transfer_id = o.id)
        OR EXISTS (SELECT FROM core_ledgertransfer t WHERE t.reverses_id = o.id)
    ) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger transfer that has lots, uses or reversals stays',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core_ledger_lot_is_needed() RETURNS trigger LANGUAGE plpgsql {BY_KEY} AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows o WHERE EXISTS (SELECT FROM core_ledgerlotuse u WHERE u.lot_id = o.id)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a ledger lot that was used stays',
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION core_ledger_row_keeps_its_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING MESSAGE = format('a row of %I keeps its id and what it refers to', TG_TABLE_NAME),
        TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END $$;
"""
# Table → (trigger of its new rows, of its old rows; what never changes in a row).
TABLES = {
    "core_ledgeraccount": (None, ("account_goes_without_transfers", "core_ledger_account_is_needed"), ["id"]),
    "core_ledgertransfer": (
        ("transfers_have_their_accounts", "core_ledger_transfers_have_accounts"),
        ("transfer_goes_without_rows", "core_ledger_transfer_is_needed"),
        ["id", "debit_id", "credit_id", "reverses_id"],
    ),
    "core_ledgerlot": (
        ("lots_are_credits", "core_ledger_lots_are_credits"),
        ("lot_goes_without_uses", "core_ledger_lot_is_needed"),
        ["id", "account_id", "transfer_id"],
    ),
    "core_ledgerlotuse": (("uses_have_their_lot", "core_ledger_uses_have_lots"), None, ["lot_id", "transfer_id"]),
}


def triggers() -> str:
    made = []
    for table, (written, deleted, kept) in TABLES.items():
        for event, rows, one in (("INSERT", "NEW TABLE AS new_rows", written), ("DELETE", "OLD TABLE AS old_rows", deleted)):
            if one:
                name, function = one
                made.append(
                    f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING {rows}"
                    f" FOR EACH STATEMENT EXECUTE FUNCTION {function}();"
                )
        changed = " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in kept)
        made.append(
            f"CREATE TRIGGER {table.removeprefix('core_')}_keeps_its_place AFTER UPDATE OF {', '.join(kept)} ON {table}"
            f" FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION core_ledger_row_keeps_its_place();"
        )
    return "\n".join(made)


UNDONE = """
DROP FUNCTION core_ledger_transfers_have_accounts(), core_ledger_lots_are_credits(), core_ledger_uses_have_lots(),
    core_ledger_account_is_needed(), core_ledger_transfer_is_needed(), core_ledger_lot_is_needed(),
    core_ledger_row_keeps_its_place() CASCADE
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0003_holds_together")]

    operations = [
        migrations.AlterField(
            "ledgertransfer",
            "debit",
            models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="debits",
                to="core.ledgeraccount",
                verbose_name="from",
            ),
        ),
        migrations.AlterField(
            "ledgertransfer",
            "credit",
            models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="credits",
                to="core.ledgeraccount",
                verbose_name="to",
            ),
        ),
        migrations.AlterField(
            "ledgertransfer",
            "reverses",
            models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reversals",
                to="core.ledgertransfer",
                verbose_name="reverses",
            ),
        ),
        migrations.AlterField(
            "ledgerlot",
            "account",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lots",
                to="core.ledgeraccount",
                verbose_name="account",
            ),
        ),
        migrations.AlterField(
            "ledgerlot",
            "transfer",
            models.OneToOneField(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lot",
                to="core.ledgertransfer",
                verbose_name="credited by",
            ),
        ),
        migrations.AlterField(
            "ledgerlotuse",
            "lot",
            models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="uses",
                to="core.ledgerlot",
                verbose_name="lot",
            ),
        ),
        migrations.AlterField(
            "ledgerlotuse",
            "transfer",
            models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lot_uses",
                to="core.ledgertransfer",
                verbose_name="spent by",
            ),
        ),
        migrations.RunSQL(CHECKS + triggers(), UNDONE),
    ]
