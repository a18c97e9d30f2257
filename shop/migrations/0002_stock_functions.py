"""The two functions through which stock moves: one guarded statement, and one round trip for an order."""

from django.db import migrations

MOVE_STOCK = """
CREATE FUNCTION shop_move_stock(
    p_sku_ids bigint[], p_store_ids bigint[], p_on_hand int[], p_reserved int[],
    p_cause text, p_reason text, p_actor text, p_note text, p_order_id bigint, p_at timestamptz
) RETURNS int LANGUAGE plpgsql AS $$
-- Change several stocks at once; returns how many were changed. A stock that is missing, or that the change would
-- leave outside 0 <= reserved <= on_hand, is not changed: the caller compares the count and rolls back.
-- Rows are locked in the order of SKU and store, so that two orders never wait for each other in a circle.
DECLARE
    moved int;
BEGIN
    WITH wanted AS (
        SELECT * FROM unnest(p_sku_ids, p_store_ids, p_on_hand, p_reserved) AS w(sku_id, store_id, hand, res)
    ), locked AS (
        SELECT s.id, w.hand, w.res
        FROM shop_stock s JOIN wanted w ON w.sku_id = s.sku_id AND w.store_id = s.store_id
        ORDER BY s.sku_id, s.store_id
        FOR UPDATE OF s
    ), changed AS (
        UPDATE shop_stock s
        SET on_hand = s.on_hand + l.hand, reserved = s.reserved + l.res
        FROM locked l
        WHERE s.id = l.id
          AND s.reserved + l.res BETWEEN 0 AND s.on_hand + l.hand
        RETURNING s.id, l.hand, l.res, s.on_hand, s.reserved
    )
    INSERT INTO shop_stockmovement (
        stock_id, reason, on_hand_change, reserved_change, on_hand_after, reserved_after,
        cause, actor, note, order_id, moved_at
    )
    SELECT id, p_reason, hand, res, on_hand, reserved, p_cause, p_actor, p_note, p_order_id, p_at FROM changed;
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END $$;
"""

TAKE_ORDER = """
CREATE FUNCTION shop_take_order(
    p_order jsonb, p_sku_ids bigint[], p_store_id bigint, p_quantities int[], p_prices bigint[],
    p_product_names text[], p_sku_names text[], p_images text[], p_from_cart boolean, p_at timestamptz
) RETURNS int LANGUAGE plpgsql AS $$
-- Write an order with its lines, log and reservation in one round trip.
-- Returns -1 when the member has already placed an order under this key, else how many lines got their stock:
-- fewer than there are lines means that the caller must roll back.
-- The stock comes last: its rows stay locked only until the commit that follows.
DECLARE
    v_id bigint := (p_order->>'id')::bigint;
BEGIN
    INSERT INTO shop_order (
        id, number, member_id, status, channel, external_id, store_id, items_fen, shipping_fen, discount_fen,
        total_fen, paid_fen, refunded_fen, receiver, phone, region, street, postal_code, note, idempotency_key,
        cancel_reason, placed_at, expires_at, due_at
    ) VALUES (
        v_id, p_order->>'number', (p_order->>'member_id')::bigint, 'pending_payment', 'mall', '', p_store_id,
        (p_order->>'items_fen')::bigint, (p_order->>'shipping_fen')::bigint, (p_order->>'discount_fen')::bigint,
        (p_order->>'total_fen')::bigint, 0, 0, p_order->>'receiver', p_order->>'phone', p_order->>'region',
        p_order->>'street', p_order->>'postal_code', p_order->>'note', p_order->>'idempotency_key', '', p_at,
        (p_order->>'expires_at')::timestamptz, (p_order->>'expires_at')::timestamptz
    ) ON CONFLICT (member_id, idempotency_key) DO NOTHING;
    IF NOT FOUND THEN
        RETURN -1;
    END IF;
    INSERT INTO shop_orderline (
        order_id, sku_id, store_id, product_name, sku_name, image, unit_price_fen, quantity, discount_fen, total_fen
    )
    SELECT v_id, sku_id, p_store_id, product_name, sku_name, image, price, quantity, 0, price * quantity
    FROM unnest(p_sku_ids, p_quantities, p_prices, p_product_names, p_sku_names, p_images)
        AS l(sku_id, quantity, price, product_name, sku_name, image);
    INSERT INTO shop_orderlog (order_id, action, actor, note, at) VALUES (v_id, 'placed', 'member', '', p_at);
    IF p_from_cart THEN
        DELETE FROM shop_cartline
        WHERE member_id = (p_order->>'member_id')::bigint AND sku_id = ANY(p_sku_ids);
    END IF;
    RETURN shop_move_stock(
        p_sku_ids, array_fill(p_store_id, ARRAY[cardinality(p_sku_ids)]),
        array_fill(0, ARRAY[cardinality(p_sku_ids)]), p_quantities,
        'order:' || v_id || ':reserve', 'reserve', 'member', '', v_id, p_at
    );
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [
        migrations.RunSQL(
            MOVE_STOCK,
            "DROP FUNCTION shop_move_stock(bigint[], bigint[], int[], int[], text, text, text, text, bigint, timestamptz)",
        ),
        migrations.RunSQL(
            TAKE_ORDER,
            "DROP FUNCTION shop_take_order(jsonb, bigint[], bigint, int[], bigint[], text[], text[], text[], boolean, timestamptz)",
        ),
    ]
