"""Bitmaps of members for segments, and the log of who changed since they were written.

Triggers note the member in the transaction that changes her: statement-level, so that an import of a million rows
calls them once a statement. What moves no bitmap (a second visit on the same day moves no day) is not noted.
"""

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

FUNCTIONS = f"""
CREATE SEQUENCE crm_bitmap_version;
ALTER TABLE crm_segmentbitmap ALTER COLUMN bits SET STORAGE EXTERNAL;

-- The shop's calendar day of a moment, in days since 1970-01-01.
CREATE FUNCTION crm_shop_day(moment timestamptz) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (moment AT TIME ZONE '{settings.TIME_ZONE}')::date - '1970-01-01'::date $$;

-- The band of a number: below 100 the number itself, above all numbers with the same length and first two digits.
CREATE FUNCTION crm_band(number bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN number < 0 THEN -1 WHEN number < 100 THEN number
                ELSE 100 + (length(number::text) - 3) * 90 + left(number::text, 2)::integer - 10 END
$$;

CREATE FUNCTION crm_note_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO crm_bitmapdelta (member_id) SELECT DISTINCT member_id FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO crm_bitmapdelta (member_id) SELECT DISTINCT member_id FROM old_rows;
    ELSE
        INSERT INTO crm_bitmapdelta (member_id)
            SELECT member_id FROM new_rows UNION SELECT member_id FROM old_rows;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_note_changed_stats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crm_bitmapdelta (member_id)
        SELECT n.member_id FROM new_rows n JOIN old_rows o ON o.member_id = n.member_id
        WHERE (n.orders_count, n.paid_fen, n.refunded_fen, n.visits_count) IS DISTINCT FROM
              (o.orders_count, o.paid_fen, o.refunded_fen, o.visits_count)
           OR n.marketing_consent IS DISTINCT FROM o.marketing_consent
           OR crm_shop_day(n.last_paid_at) IS DISTINCT FROM crm_shop_day(o.last_paid_at)
           OR crm_shop_day(n.last_active_at) IS DISTINCT FROM crm_shop_day(o.last_active_at)
           OR crm_shop_day(n.last_touch_at) IS DISTINCT FROM crm_shop_day(o.last_touch_at);
    RETURN NULL;
END $$;

CREATE FUNCTION crm_note_changed_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO crm_bitmapdelta (member_id) SELECT id FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO crm_bitmapdelta (member_id) SELECT id FROM old_rows;
    ELSE
        INSERT INTO crm_bitmapdelta (member_id)
            SELECT n.id FROM new_rows n JOIN old_rows o ON o.id = n.id
            WHERE (n.tier, n.created_at) IS DISTINCT FROM (o.tier, o.created_at)
               OR n.source_id IS DISTINCT FROM o.source_id OR n.merged_into_id IS DISTINCT FROM o.merged_into_id;
    END IF;
    RETURN NULL;
END $$;

-- Whom the migration finds has changed since the bitmaps, of which there are none, were written.
INSERT INTO crm_bitmapdelta (member_id) SELECT id FROM crm_member;
"""
UNDO = """
DROP FUNCTION crm_note_changed_member();
DROP FUNCTION crm_note_changed_stats();
DROP FUNCTION crm_note_changed();
DROP FUNCTION crm_band(bigint);
DROP FUNCTION crm_shop_day(timestamptz);
DROP SEQUENCE crm_bitmap_version;
"""
ROWS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
}


def _note(table: str, event: str, function: str) -> migrations.RunSQL:
    name = f"changed_for_bitmaps_by_{event.lower()}"
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} AFTER {event} ON {table} {ROWS[event]} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        f"DROP TRIGGER {name} ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("crm", "0003_lifecycle")]

    operations = [
        migrations.CreateModel(
            name="BitmapDelta",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("member_id", models.BigIntegerField()),
                ("at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "verbose_name": "change for the bitmaps",
                "verbose_name_plural": "changes for the bitmaps",
            },
        ),
        migrations.CreateModel(
            name="SegmentBitmap",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("dimension", models.CharField(max_length=60)),
                ("value", models.BigIntegerField()),
                ("bits", models.BinaryField()),
                ("members_count", models.PositiveIntegerField()),
                ("version", models.BigIntegerField()),
            ],
            options={
                "verbose_name": "bitmap of members",
                "verbose_name_plural": "bitmaps of members",
                "indexes": [models.Index(fields=["version"], name="bitmap_by_version")],
                "constraints": [
                    models.UniqueConstraint(fields=("dimension", "value"), name="bitmap_once_per_value"),
                    models.CheckConstraint(
                        condition=models.Q(("members_count__gt", 0)), name="bitmap_holds_somebody_or_is_not_there"
                    ),
                ],
            },
        ),
        migrations.RunSQL(FUNCTIONS, UNDO),
        *(
            _note(table, event, "crm_note_changed")
            for table in ("crm_membertag", "crm_identity")
            for event in ROWS
        ),
        *(_note("crm_memberstats", event, "crm_note_changed") for event in ("INSERT", "DELETE")),
        _note("crm_memberstats", "UPDATE", "crm_note_changed_stats"),
        *(_note("crm_member", event, "crm_note_changed_member") for event in ROWS),
    ]
