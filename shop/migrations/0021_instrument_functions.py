"""Coupons and offers are taken with the order, in its one round trip."""

from importlib import import_module

from django.db import migrations

USE_COUPONS = """
CREATE FUNCTION shop_use_coupons(p_grant_ids bigint[], p_member_id bigint, p_order_id bigint, p_at timestamptz)
RETURNS int LANGUAGE plpgsql AS $$
-- Use held coupons of a member on an order; returns how many could be: fewer than asked means roll back.
DECLARE
    used int;
BEGIN
    WITH locked AS (
        SELECT id FROM shop_coupongrant WHERE id = ANY(p_grant_ids) ORDER BY id FOR UPDATE
    )
    UPDATE shop_coupongrant g SET state = 'used', order_id = p_order_id, used_at = p_at
    FROM locked
    WHERE g.id = locked.id AND g.member_id = p_member_id AND g.state = 'held'
      AND g.valid_from <= p_at AND g.expires_at > p_at;
    GET DIAGNOSTICS used = ROW_COUNT;
    RETURN used;
END $$;
"""

TAKE_OFFERS = """
CREATE FUNCTION shop_take_offers(
    p_offer_ids bigint[], p_quantities int[], p_member_id bigint, p_order_id bigint, p_at timestamptz
) RETURNS text LANGUAGE plpgsql AS $$
-- Take pieces of offers for an order. Returns '' when all were taken; otherwise why not and of which offer
-- ('gone:7', 'limit:7', 'first_order:7'), and the caller must roll back.
DECLARE
    v_offer record;
    v_wanted record;
BEGIN
    FOR v_wanted IN
        SELECT offer_id, sum(quantity)::int AS quantity
        FROM unnest(p_offer_ids, p_quantities) AS w(offer_id, quantity) GROUP BY offer_id ORDER BY offer_id
    LOOP
        UPDATE shop_offer SET taken = taken + v_wanted.quantity
        WHERE id = v_wanted.offer_id AND is_active AND starts_at <= p_at AND ends_at > p_at
          AND taken + v_wanted.quantity <= quota
        RETURNING kind, per_member_limit INTO v_offer;
        IF NOT FOUND THEN
            RETURN 'gone:' || v_wanted.offer_id;
        END IF;
        INSERT INTO shop_offertally AS t (offer_id, member_id, taken)
        SELECT v_wanted.offer_id, p_member_id, v_wanted.quantity WHERE v_wanted.quantity <= v_offer.per_member_limit
        ON CONFLICT (offer_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
            WHERE t.taken + excluded.taken <= v_offer.per_member_limit;
        IF NOT FOUND THEN
            RETURN 'limit:' || v_wanted.offer_id;
        END IF;
        -- The other unique key of this table cannot be in the way: the order is new.
        INSERT INTO shop_offertake (
            offer_id, member_id, order_id, taken_quantity, quantity, is_first_order, taken_at
        )
        SELECT v_wanted.offer_id, p_member_id, p_order_id, v_wanted.quantity, v_wanted.quantity,
               v_offer.kind = 'first_order', p_at
        WHERE v_offer.kind <> 'first_order' OR NOT EXISTS (
            SELECT FROM shop_order o WHERE o.member_id = p_member_id AND o.paid_at IS NOT NULL AND o.id <> p_order_id
        )
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN 'first_order:' || v_wanted.offer_id;
        END IF;
    END LOOP;
    RETURN '';
END $$;
"""

GIVE_BACK = """
CREATE FUNCTION shop_give_back_offers(
    p_order_id bigint, p_line_ids bigint[], p_quantities int[], p_at timestamptz
) RETURNS TABLE (freed_offer_id bigint, places int) LANGUAGE plpgsql AS $$
-- Return an order's pieces of offers to their quota and to the member's tally: all that are still out (p_line_ids
-- null), or those that the discounts of the given lines name. Returns what came free.
DECLARE
    v_take record;
    v_back int;
BEGIN
    FOR v_take IN
        SELECT t.id, t.offer_id, t.member_id, t.quantity FROM shop_offertake t
        WHERE t.order_id = p_order_id AND t.released_at IS NULL ORDER BY t.offer_id
    LOOP
        -- The offer first, as when taking: two orders never wait for each other in a circle.
        PERFORM FROM shop_offer WHERE id = v_take.offer_id FOR UPDATE;
        SELECT t.quantity INTO v_back FROM shop_offertake t WHERE t.id = v_take.id AND t.released_at IS NULL FOR UPDATE;
        IF NOT FOUND THEN
            CONTINUE;
        END IF;
        IF p_line_ids IS NOT NULL THEN
            SELECT least(v_back, coalesce(sum(w.quantity), 0)::int) INTO v_back
            FROM unnest(p_line_ids, p_quantities) AS w(line_id, quantity)
            WHERE EXISTS (
                SELECT FROM shop_orderdiscount d
                WHERE d.line_id = w.line_id AND d.source = 'offer:' || v_take.offer_id
            );
        END IF;
        IF v_back = 0 THEN
            CONTINUE;
        END IF;
        UPDATE shop_offertake t SET quantity = t.quantity - v_back,
               released_at = CASE WHEN t.quantity = v_back THEN p_at END
        WHERE t.id = v_take.id;
        UPDATE shop_offer SET taken = taken - v_back WHERE id = v_take.offer_id;
        UPDATE shop_offertally SET taken = taken - v_back
        WHERE offer_id = v_take.offer_id AND member_id = v_take.member_id;
        freed_offer_id := v_take.offer_id;
        places := v_back;
        RETURN NEXT;
    END LOOP;
END $$;
"""

TAKE_ORDER = """
CREATE FUNCTION shop_take_order(
    p_order jsonb, p_lines jsonb, p_discounts jsonb, p_grant_ids bigint[], p_offer_ids bigint[],
    p_offer_quantities int[], p_from_cart boolean, p_at timestamptz
) RETURNS text LANGUAGE plpgsql AS $$
-- Write an order with everything that it takes, in one round trip.
-- Returns 'placed'; 'before' when the member has already placed an order under this key; otherwise what was not to be
-- had ('stock', 'coupon', 'points', or an answer of shop_take_offers), and the caller must roll back.
-- What others wait for comes last and in the house's order of locks: stock, coupons, offers, the member's points.
DECLARE
    v_id bigint := (p_order->>'id')::bigint;
    v_member_id bigint := (p_order->>'member_id')::bigint;
    v_points bigint := (p_order->>'points_used')::bigint;
    v_skus bigint[];
    v_stores bigint[];
    v_quantities int[];
    v_answer text;
BEGIN
    INSERT INTO shop_order (
        id, number, member_id, status, channel, external_id, store_id, items_fen, shipping_fen, discount_fen,
        total_fen, paid_fen, refunded_fen, delivery, points_used, receiver, phone, region, street, postal_code, note,
        idempotency_key, cancel_reason, placed_at, expires_at, due_at
    ) VALUES (
        v_id, p_order->>'number', v_member_id, 'pending_payment', 'mall', '', (p_order->>'store_id')::bigint,
        (p_order->>'items_fen')::bigint, (p_order->>'shipping_fen')::bigint, (p_order->>'discount_fen')::bigint,
        (p_order->>'total_fen')::bigint, 0, 0, p_order->>'delivery', v_points, p_order->>'receiver',
        p_order->>'phone', p_order->>'region', p_order->>'street', p_order->>'postal_code', p_order->>'note',
        p_order->>'idempotency_key', '', p_at,
        (p_order->>'expires_at')::timestamptz, (p_order->>'expires_at')::timestamptz
    ) ON CONFLICT (member_id, idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'before';
    END IF;
    WITH lines AS MATERIALIZED (
        SELECT nextval('shop_orderline_id_seq') AS id, l.*
        FROM (SELECT * FROM jsonb_to_recordset(p_lines) AS r(
            place int, sku_id bigint, store_id bigint, product_name text, sku_name text, image text, price bigint,
            quantity int, discount bigint, kind text
        ) ORDER BY place) l
    ), written AS (
        INSERT INTO shop_orderline (
            id, order_id, sku_id, store_id, product_name, sku_name, image, unit_price_fen, quantity, discount_fen,
            total_fen, kind
        )
        SELECT id, v_id, sku_id, store_id, product_name, sku_name, image, price, quantity, discount,
               price * quantity - discount, kind
        FROM lines
    )
    INSERT INTO shop_orderdiscount (order_id, line_id, step, source, title, amount_fen)
    SELECT v_id, lines.id, d.step, d.source, d.title, d.amount
    FROM jsonb_to_recordset(p_discounts) AS d(place int, step text, source text, title text, amount bigint)
    LEFT JOIN lines ON lines.place = d.place;
    INSERT INTO shop_orderlog (order_id, action, actor, note, at) VALUES (v_id, 'placed', 'member', '', p_at);
    IF p_from_cart THEN
        DELETE FROM shop_cartline WHERE member_id = v_member_id AND sku_id IN (
            SELECT sku_id FROM jsonb_to_recordset(p_lines) AS r(sku_id bigint, kind text) WHERE kind = 'goods'
        );
    END IF;
    SELECT array_agg(sku_id), array_agg(store_id), array_agg(quantity) INTO v_skus, v_stores, v_quantities
    FROM (
        SELECT sku_id, store_id, sum(quantity)::int AS quantity
        FROM jsonb_to_recordset(p_lines) AS r(sku_id bigint, store_id bigint, quantity int)
        WHERE store_id IS NOT NULL GROUP BY sku_id, store_id
    ) s;
    IF v_skus IS NOT NULL AND shop_move_stock(
        v_skus, v_stores, array_fill(0, ARRAY[cardinality(v_skus)]), v_quantities,
        'order:' || v_id || ':reserve', 'reserve', 'member', '', v_id, p_at
    ) < cardinality(v_skus) THEN
        RETURN 'stock';
    END IF;
    IF cardinality(p_grant_ids) > 0
       AND shop_use_coupons(p_grant_ids, v_member_id, v_id, p_at) < cardinality(p_grant_ids) THEN
        RETURN 'coupon';
    END IF;
    IF cardinality(p_offer_ids) > 0 THEN
        v_answer := shop_take_offers(p_offer_ids, p_offer_quantities, v_member_id, v_id, p_at);
        IF v_answer <> '' THEN
            RETURN v_answer;
        END IF;
    END IF;
    IF v_points > 0
       AND NOT core_ledger_hold('order:' || v_id || ':points', 'points', v_member_id, v_points, p_at) THEN
        RETURN 'points';
    END IF;
    RETURN 'placed';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0030_stock"), ("core", "0003_hold_function")]

    operations = [
        migrations.RunSQL(
            "DROP FUNCTION shop_take_order("
            "jsonb, bigint[], bigint, int[], bigint[], text[], text[], text[], boolean, timestamptz)",
            import_module("shop.migrations.0002_stock_functions").TAKE_ORDER,
        ),
        migrations.RunSQL(
            USE_COUPONS, "DROP FUNCTION shop_use_coupons(bigint[], bigint, bigint, timestamptz)"
        ),
        migrations.RunSQL(
            TAKE_OFFERS, "DROP FUNCTION shop_take_offers(bigint[], int[], bigint, bigint, timestamptz)"
        ),
        migrations.RunSQL(
            GIVE_BACK, "DROP FUNCTION shop_give_back_offers(bigint, bigint[], int[], timestamptz)"
        ),
        migrations.RunSQL(
            TAKE_ORDER,
            "DROP FUNCTION shop_take_order(jsonb, jsonb, jsonb, bigint[], bigint[], int[], boolean, timestamptz)",
        ),
    ]
