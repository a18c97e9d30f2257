"""Limits per order and per member are taken with the order, in its one round trip, and given back with it."""

from importlib import import_module

from django.db import migrations

# Orders share this lock and whoever gives a product its first limit excludes them, so that the count of what members
# have by then misses no order that is being written. It costs an order a microsecond.
LOCK = 7_120_121

PIECES = """
CREATE FUNCTION shop_pieces_of(p_product_id bigint, p_member_id bigint) RETURNS int LANGUAGE sql STABLE AS $$
-- Pieces of a product that a member has ordered in the mall and neither cancelled nor given back.
SELECT coalesce(sum(l.quantity - coalesce((
    SELECT sum((r.parts ->> l.id::text)::int) FROM shop_effectreversal r WHERE r.order_id = o.id
), 0)), 0)::int
FROM shop_order o
JOIN shop_orderline l ON l.order_id = o.id AND l.kind = 'goods'
JOIN shop_sku s ON s.id = l.sku_id
WHERE o.member_id = p_member_id AND s.product_id = p_product_id AND o.channel = 'mall' AND o.status <> 'cancelled'
$$;
"""

TAKE = f"""
CREATE FUNCTION shop_take_limits(p_answer text, p_member_id bigint, p_sku_ids bigint[], p_quantities int[])
RETURNS text LANGUAGE plpgsql AS $$
-- After an order of these pieces was written (p_answer 'placed'; any other answer is handed on): count them against
-- the limits of their products. Returns 'placed', or 'per_order:7' or 'per_member:7' with the product whose limit they
-- pass; then the caller must roll back.
DECLARE
    v_wanted record;
BEGIN
    IF p_answer <> 'placed' THEN
        RETURN p_answer;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({LOCK});
    FOR v_wanted IN
        SELECT p.id, p.limit_per_order, p.limit_per_member, sum(w.quantity)::int AS quantity
        FROM unnest(p_sku_ids, p_quantities) AS w(sku_id, quantity)
        JOIN shop_sku s ON s.id = w.sku_id
        JOIN shop_product p ON p.id = s.product_id
        WHERE p.limit_per_order IS NOT NULL OR p.limit_per_member IS NOT NULL
        GROUP BY p.id ORDER BY p.id
    LOOP
        IF v_wanted.quantity > v_wanted.limit_per_order THEN
            RETURN 'per_order:' || v_wanted.id;
        END IF;
        IF v_wanted.limit_per_member IS NULL THEN
            CONTINUE;
        END IF;
        INSERT INTO shop_producttally AS t (product_id, member_id, taken)
        SELECT v_wanted.id, p_member_id, v_wanted.quantity WHERE v_wanted.quantity <= v_wanted.limit_per_member
        ON CONFLICT (product_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
            WHERE t.taken + excluded.taken <= v_wanted.limit_per_member;
        IF NOT FOUND THEN
            RETURN 'per_member:' || v_wanted.id;
        END IF;
    END LOOP;
    RETURN p_answer;
END $$;
"""

GIVE_BACK = f"""
CREATE FUNCTION shop_give_back_limits(p_order_id bigint) RETURNS void LANGUAGE plpgsql AS $$
-- After an order was cancelled, or parts of it were given back: count anew what its member has of its limited
-- products. Counting, not subtracting: it may run as often as it likes.
DECLARE
    v_tally record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({LOCK});
    FOR v_tally IN
        SELECT DISTINCT t.product_id, t.member_id FROM shop_order o
        JOIN shop_orderline l ON l.order_id = o.id
        JOIN shop_sku s ON s.id = l.sku_id
        JOIN shop_producttally t ON t.product_id = s.product_id AND t.member_id = o.member_id
        WHERE o.id = p_order_id ORDER BY t.product_id
    LOOP
        -- Locked first, counted by the next statement: what waited for the lock is then seen.
        PERFORM FROM shop_producttally
        WHERE product_id = v_tally.product_id AND member_id = v_tally.member_id FOR UPDATE;
        UPDATE shop_producttally SET taken = shop_pieces_of(v_tally.product_id, v_tally.member_id)
        WHERE product_id = v_tally.product_id AND member_id = v_tally.member_id;
    END LOOP;
END $$;
"""

COUNT = f"""
CREATE FUNCTION shop_count_limits() RETURNS trigger LANGUAGE plpgsql AS $$
-- A product got its first limit per member, or lost it: count what members have of it, or forget it.
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    DELETE FROM shop_producttally WHERE product_id = NEW.id;
    IF NEW.limit_per_member IS NOT NULL THEN
        INSERT INTO shop_producttally (product_id, member_id, taken)
        SELECT NEW.id, m.member_id, m.pieces FROM (
            SELECT b.member_id, shop_pieces_of(NEW.id, b.member_id) AS pieces FROM (
                SELECT DISTINCT o.member_id FROM shop_sku s
                JOIN shop_orderline l ON l.sku_id = s.id
                JOIN shop_order o ON o.id = l.order_id AND o.channel = 'mall' AND o.status <> 'cancelled'
                WHERE s.product_id = NEW.id AND o.member_id IS NOT NULL
            ) b
        ) m WHERE m.pieces > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER shop_count_limits AFTER UPDATE OF limit_per_member ON shop_product FOR EACH ROW
WHEN ((OLD.limit_per_member IS NULL) <> (NEW.limit_per_member IS NULL)) EXECUTE FUNCTION shop_count_limits();
"""

OFFERS_BEFORE = import_module("shop.migrations.0021_instrument_functions").TAKE_OFFERS.replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
OFFERS = OFFERS_BEFORE.replace(
    "('gone:7', 'limit:7', 'first_order:7')", "('gone:7', 'group:7', 'limit:7', 'first_order:7')"
).replace(
    """            RETURN 'gone:' || v_wanted.offer_id;
        END IF;
""",
    """            RETURN 'gone:' || v_wanted.offer_id;
        END IF;
        IF v_offer.kind = 'group' THEN  -- its price is for teams
            RETURN 'group:' || v_wanted.offer_id;
        END IF;
""",
)


class Migration(migrations.Migration):
    dependencies = [("shop", "0120_presale_limits")]

    operations = [
        migrations.RunSQL(OFFERS, OFFERS_BEFORE),
        migrations.RunSQL(PIECES, "DROP FUNCTION shop_pieces_of(bigint, bigint)"),
        migrations.RunSQL(TAKE, "DROP FUNCTION shop_take_limits(text, bigint, bigint[], int[])"),
        migrations.RunSQL(GIVE_BACK, "DROP FUNCTION shop_give_back_limits(bigint)"),
        migrations.RunSQL(
            COUNT, "DROP TRIGGER shop_count_limits ON shop_product; DROP FUNCTION shop_count_limits()"
        ),
    ]
