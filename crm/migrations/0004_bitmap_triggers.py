"""Bitmaps of members for segments, the log of who changed since they were written, and members and tags who are there.

Triggers note the members in the transaction that changes them, one row for each statement, so that an import of a
million rows calls them once a statement. What moves no bitmap (a second visit on the same day moves no day) is not
noted; what live segments need besides is (groups, days, custom fields).
"""

from django.conf import settings
from django.db import migrations

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
"""
NOTES = """
-- Written by every order and read as a whole, in the order of their numbers: an index would be for nobody. Written
-- once, read a few times: not worth packing.
ALTER TABLE crm_bitmapdelta DROP CONSTRAINT crm_bitmapdelta_pkey, ALTER COLUMN member_ids SET STORAGE EXTERNAL;
-- An order rewrites a member's figures in their place.
ALTER TABLE crm_memberstats SET (fillfactor = 85);

CREATE FUNCTION crm_note_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM new_rows HAVING count(*) > 0;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM old_rows HAVING count(*) > 0;
    ELSE
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM (
            SELECT member_id FROM new_rows UNION SELECT member_id FROM old_rows
        ) changed HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

-- Only addresses that are followed stand in bitmaps, and only by these columns.
CREATE FUNCTION crm_note_changed_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN  -- for each row that is followed: of a file's none is
        INSERT INTO crm_bitmapdelta (member_ids) VALUES (ARRAY[NEW.member_id]);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO crm_bitmapdelta (member_ids)
            SELECT array_agg(member_id) FROM old_rows WHERE is_following HAVING count(*) > 0;
    ELSE
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM (
            SELECT unnest(ARRAY[n.member_id, o.member_id]) AS member_id
            FROM new_rows n FULL JOIN old_rows o ON o.id = n.id
            WHERE (n.is_following OR o.is_following)
              AND (n.member_id, n.kind, n.account_id, n.is_following)
                  IS DISTINCT FROM (o.member_id, o.kind, o.account_id, o.is_following)
        ) changed WHERE member_id IS NOT NULL HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_note_changed_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(id) FROM new_rows HAVING count(*) > 0;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(id) FROM old_rows HAVING count(*) > 0;
    ELSE
        INSERT INTO crm_bitmapdelta (member_ids)
            SELECT array_agg(n.id) FROM new_rows n JOIN old_rows o ON o.id = n.id
            WHERE (n.tier, n.created_at, n.joined_via) IS DISTINCT FROM (o.tier, o.created_at, o.joined_via)
               OR n.source_id IS DISTINCT FROM o.source_id OR n.merged_into_id IS DISTINCT FROM o.merged_into_id
               OR n.birthday IS DISTINCT FROM o.birthday OR n.erased_at IS DISTINCT FROM o.erased_at
            HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

-- An order's figures are noted row by row: noted by the statement, one order cost more in looking at its only row than
-- in all the rest of the note. A statement about very many members notes them itself, at once, and says so by
-- `pond.notes_itself`.
CREATE FUNCTION crm_note_changed_figures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- What every order changes stands by itself: an expression is made ready anew in each transaction that comes by.
    IF NEW.orders_count <> OLD.orders_count THEN
        INSERT INTO crm_bitmapdelta (member_ids) VALUES (ARRAY[NEW.member_id]);
    ELSIF (NEW.paid_fen, NEW.refunded_fen, NEW.visits_count) IS DISTINCT FROM
       (OLD.paid_fen, OLD.refunded_fen, OLD.visits_count)
       OR NEW.marketing_consent IS DISTINCT FROM OLD.marketing_consent
       OR crm_shop_day(NEW.last_paid_at) IS DISTINCT FROM crm_shop_day(OLD.last_paid_at)
       OR crm_shop_day(NEW.last_active_at) IS DISTINCT FROM crm_shop_day(OLD.last_active_at)
       OR crm_shop_day(NEW.last_touch_at) IS DISTINCT FROM crm_shop_day(OLD.last_touch_at)
    THEN
        INSERT INTO crm_bitmapdelta (member_ids) VALUES (ARRAY[NEW.member_id]);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_note_changed_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crm_bitmapdelta (member_ids)
        SELECT array_agg(n.member_id) FROM new_rows n JOIN old_rows o ON o.member_id = n.member_id
        WHERE (n.stage, n.rfm) IS DISTINCT FROM (o.stage, o.rfm) HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_note_changed_traits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(member_id) FROM (
        SELECT n.member_id FROM new_rows n LEFT JOIN old_rows o ON o.member_id = n.member_id
        WHERE (n.province, n.device) IS DISTINCT FROM (o.province, o.device)
        UNION SELECT o.member_id FROM old_rows o LEFT JOIN new_rows n ON n.member_id = o.member_id
        WHERE n.member_id IS NULL
    ) changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

-- Whom the migration finds has changed since the bitmaps, of which there are none, were written.
INSERT INTO crm_bitmapdelta (member_ids) SELECT array_agg(id) FROM crm_member HAVING count(*) > 0;
"""
ROWS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
    "DELETE": "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT",
}
# Table → its function; another one by event.
NOTED = {
    "crm_membertag": ("crm_note_changed", {}),
    "crm_identity": ("crm_note_changed_identity", {}),
    "crm_memberstats": ("crm_note_changed", {"UPDATE": "crm_note_changed_figures"}),
    "crm_member": ("crm_note_changed_member", {}),
    "crm_membergroup": ("crm_note_changed", {}),
    "crm_memberday": ("crm_note_changed", {}),
    "crm_memberfieldvalue": ("crm_note_changed", {}),
    "crm_memberlife": ("crm_note_changed", {"UPDATE": "crm_note_changed_life"}),
    "crm_membertraits": ("crm_note_changed", {"UPDATE": "crm_note_changed_traits"}),
}
BY_ROW = {
    ("crm_identity", "INSERT"): "FOR EACH ROW WHEN (NEW.is_following)",
    ("crm_memberstats", "UPDATE"): (
        "FOR EACH ROW WHEN (current_setting('pond.notes_itself', true) IS DISTINCT FROM 'on')"
    ),
}
TRIGGERS = "".join(
    f"""
CREATE TRIGGER changed_for_bitmaps_by_{event.lower()} AFTER {event} ON {table} {BY_ROW.get((table, event), rows)}
    EXECUTE FUNCTION {others.get(event, function)}();
"""
    for table, (function, others) in NOTED.items()
    for event, rows in ROWS.items()
)
# That a row's member is there is not checked row by row, which was a third of the cost of bringing members in, but for
# all rows of a statement at once (ADR 20); a member's row is looked up by its key whatever the planner thinks.
HERS = ("crm_memberstats", "crm_identity", "crm_membertag", "crm_consent")
REFUSE = """
        RAISE foreign_key_violation USING MESSAGE = format('%I names a member who is not there', TG_TABLE_NAME),
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
"""
CHECKS = (
    f"""
CREATE FUNCTION crm_members_are_there() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows n WHERE (SELECT m.id FROM crm_member m WHERE m.id = n.member_id OFFSET 0) IS NULL)
    THEN {REFUSE} END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_member_is_there() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm_member WHERE id = NEW.member_id FOR KEY SHARE;
    IF NOT FOUND THEN {REFUSE} END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_member_has_nothing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {" OR ".join(f"EXISTS (SELECT FROM {table} WHERE member_id = OLD.id)" for table in HERS)}
    THEN
        RAISE foreign_key_violation USING MESSAGE = format('member %s still has rows of her own', OLD.id),
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER member_goes_without_rows AFTER DELETE ON crm_member DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION crm_member_has_nothing();
"""
    + "".join(
        f"""
CREATE TRIGGER rows_have_their_member AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION crm_members_are_there();
CREATE TRIGGER row_keeps_a_member AFTER UPDATE OF member_id ON {table}
    FOR EACH ROW WHEN (NEW.member_id <> OLD.member_id) EXECUTE FUNCTION crm_member_is_there();
"""
        for table in HERS
    )
)


# What a foreign key does, for all rows of a statement at once (ADR 20).
NO_TAG = """
        RAISE foreign_key_violation USING MESSAGE = format('%I names a tag that is not there', TG_TABLE_NAME),
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
"""
TAGS = f"""
CREATE FUNCTION crm_tags_are_there() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_there bigint;
BEGIN
    -- Held until the commit: who deletes one waits.
    PERFORM FROM crm_tag WHERE id IN (SELECT tag_id FROM new_rows) FOR KEY SHARE;
    GET DIAGNOSTICS v_there = ROW_COUNT;
    IF v_there <> (SELECT count(DISTINCT tag_id) FROM new_rows) THEN {NO_TAG} END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_tag_is_there() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM crm_tag WHERE id = NEW.tag_id FOR KEY SHARE;
    IF NOT FOUND THEN {NO_TAG} END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION crm_tag_has_nobody() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM crm_membertag WHERE tag_id = OLD.id) AND NOT EXISTS (SELECT FROM crm_tag WHERE id = OLD.id)
    THEN
        RAISE foreign_key_violation USING MESSAGE = format('members still carry tag %s', OLD.id),
            TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER rows_have_their_tag AFTER INSERT ON crm_membertag REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION crm_tags_are_there();
CREATE TRIGGER row_keeps_a_tag AFTER UPDATE OF tag_id ON crm_membertag
    FOR EACH ROW WHEN (NEW.tag_id <> OLD.tag_id) EXECUTE FUNCTION crm_tag_is_there();
CREATE CONSTRAINT TRIGGER tag_goes_without_members AFTER DELETE OR UPDATE OF id ON crm_tag
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crm_tag_has_nobody();
"""


class Migration(migrations.Migration):
    dependencies = [("crm", "0003_lifecycle_storage")]

    operations = [migrations.RunSQL(FUNCTIONS + NOTES + TRIGGERS + CHECKS + TAGS)]
