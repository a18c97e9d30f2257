"""Orders of a hot offer are written many at a time: its rows are locked once per batch, not once per buyer.

Functions, because their statements are planned once per connection and not once per batch.
"""

from importlib import import_module

from django.db import migrations

LIMITS_LOCK = import_module("shop.migrations.0121_presale_limit_functions").LOCK

READ_HOT = """
CREATE FUNCTION shop_read_hot(
    p_offer_id bigint, p_places int[], p_member_ids bigint[], p_keys text[], p_at timestamptz
) RETURNS TABLE (
    o_is_open boolean, o_left int, o_limit int, o_price_fen bigint, o_sku_id bigint, o_product_id bigint, o_place int,
    o_order_id bigint, o_member_id bigint, o_session_version int, o_earlier text, o_tally int, o_receiver text,
    o_phone text, o_province text, o_city text, o_district text, o_street text, o_postal_code text
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
-- The offer, once per asker (once without one when nobody asks): a fresh order id, the living member, the number of her
-- order under this key, how many pieces she has, and the address that the checkout would propose. Locks nothing.
BEGIN
    RETURN QUERY
    SELECT o.is_active AND o.starts_at <= p_at AND o.ends_at > p_at AND o.kind = 'flash' AND s.is_active
               AND g.status = 'on_sale',
           o.quota - o.taken, o.per_member_limit, o.price_fen, o.sku_id, s.product_id, a.*
    FROM (VALUES (1)) one(n)
    LEFT JOIN (
        shop_offer o JOIN shop_sku s ON s.id = o.sku_id JOIN shop_product g ON g.id = s.product_id
    ) ON o.id = p_offer_id
    LEFT JOIN LATERAL (
        SELECT w.place, nextval('shop_order_id_seq'), w.living_id, w.version, (
                   SELECT e.number::text FROM shop_order e WHERE e.member_id = w.living_id AND e.idempotency_key = w.key
               ), coalesce((
                   SELECT t.taken FROM shop_offertally t WHERE t.offer_id = o.id AND t.member_id = w.living_id
               ), 0), d.receiver::text, d.phone::text, d.province::text, d.city::text, d.district::text, d.street::text,
               d.postal_code::text
        FROM (
            SELECT u.place, u.key, coalesce(c.merged_into_id, c.id) AS living_id, c.session_version AS version
            FROM unnest(p_places, p_member_ids, p_keys) AS u(place, member_id, key)
            JOIN crm_member c ON c.id = u.member_id
        ) w
        LEFT JOIN LATERAL (
            SELECT * FROM shop_address b WHERE b.member_id = w.living_id
            ORDER BY b.is_default DESC, b.used_at DESC, b.id DESC LIMIT 1
        ) d ON true
    ) a ON true;
END $$;
"""

TAKE_HOT_ORDERS = """
CREATE FUNCTION shop_take_hot_orders(
    p_offer_id bigint, p_sku_id bigint, p_price_fen bigint, p_asks jsonb, p_plans jsonb,
    p_event text, p_handlers text[], p_queues text[], p_at timestamptz, p_expires_at timestamptz
) RETURNS TABLE (o_place int, o_answer text, o_number text)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
-- One piece of a flash offer for each asker, an order of its own for each, all rows set by set. Answers for each place
-- 'placed' or 'before' (with the order's number), 'limit', 'gone' (the quota), 'stock' (her store has none left),
-- 'closed' (the offer is not open, or is not what was planned with).
-- What everybody wants is locked first, in the house's order: stock, then the offer, whose lock every taker of pieces
-- holds, so that what is counted below stays true until the commit. The orders written after it are nobody else's
-- yet: their keys begin with the offer's own word, which only holders of its lock write.
DECLARE
    v_left int := 0;
    v_limit int := 0;
    v_open boolean;
BEGIN
    PERFORM FROM shop_stock s
    WHERE s.sku_id = p_sku_id AND s.store_id IN (
        SELECT store_id FROM jsonb_to_recordset(p_plans) AS p(store_id bigint)
    ) ORDER BY s.sku_id, s.store_id FOR NO KEY UPDATE;
    SELECT greatest(quota - taken, 0), per_member_limit INTO v_left, v_limit FROM shop_offer
    WHERE id = p_offer_id AND sku_id = p_sku_id AND price_fen = p_price_fen AND kind = 'flash' AND is_active
      AND starts_at <= p_at AND ends_at > p_at
    FOR NO KEY UPDATE;
    v_open := FOUND;
    -- A limit of the product is counted by the checkout alone; the lock keeps the first one from coming meanwhile.
    PERFORM pg_advisory_xact_lock_shared(LIMITS_LOCK);
    v_open := v_open AND EXISTS (
        SELECT FROM shop_sku s JOIN shop_product p ON p.id = s.product_id
        WHERE s.id = p_sku_id AND s.supply = 'stock' AND p.limit_per_member IS NULL
    );
    IF NOT v_open THEN
        v_left := 0;
    END IF;
    RETURN QUERY
    WITH asks AS MATERIALIZED (
        SELECT a.*, (
            SELECT o.number::text FROM shop_order o WHERE o.member_id = a.member_id AND o.idempotency_key = a.key
        ) AS before, coalesce((
            SELECT t.taken FROM shop_offertally t WHERE t.offer_id = p_offer_id AND t.member_id = a.member_id
        ), 0) AS tally
        FROM jsonb_to_recordset(p_asks) AS a(
            place int, plan int, order_id bigint, member_id bigint, key text, number text, receiver text, phone text,
            region text, street text, postal_code text, event jsonb
        )
    ), plans AS MATERIALIZED (
        SELECT p.*, s.id AS stock_id, s.reserved,
               s.on_hand, s.on_hand - s.reserved - coalesce(s.safety, w.safety_stock) AS available
        FROM jsonb_to_recordset(p_plans) AS p(
            plan int, store_id bigint, price bigint, discount bigint, shipping bigint, product_name text,
            sku_name text, image text, reason text, discounts jsonb
        )
        JOIN shop_stock s ON s.sku_id = p_sku_id AND s.store_id = p.store_id
        JOIN crm_store w ON w.id = p.store_id
    ), allowed AS MATERIALIZED (
        SELECT a.place, a.tally + row_number() OVER (PARTITION BY a.member_id ORDER BY a.place) <= v_limit AS is_allowed,
               a.plan
        FROM asks a WHERE a.before IS NULL
    ), stocked AS MATERIALIZED (
        SELECT l.place, p.stock_id, p.plan, p.on_hand, p.reserved, p.available,
               row_number() OVER (PARTITION BY p.stock_id ORDER BY l.place)::int AS nth
        FROM allowed l JOIN plans p ON p.plan = l.plan WHERE l.is_allowed AND v_open
    ), won AS MATERIALIZED (
        SELECT c.nth, c.on_hand, c.reserved, c.stock_id, a.*, p.store_id, p.price, p.discount, p.shipping,
               p.product_name, p.sku_name, p.image, p.reason, p.discounts,
               nextval('shop_orderline_id_seq') AS line_id, nextval('core_domainevent_id_seq') AS event_id
        FROM (
            SELECT s.*, row_number() OVER (ORDER BY s.place) AS rank FROM stocked s WHERE s.nth <= s.available
        ) c JOIN asks a ON a.place = c.place JOIN plans p ON p.plan = c.plan
        WHERE c.rank <= v_left ORDER BY c.place
    ), orders AS (
        INSERT INTO shop_order (
            id, number, member_id, status, channel, external_id, store_id, items_fen, shipping_fen, discount_fen,
            total_fen, paid_fen, refunded_fen, delivery, points_used, receiver, phone, region, street, postal_code,
            note, idempotency_key, cancel_reason, placed_at, expires_at, due_at
        )
        SELECT order_id, number, member_id, 'pending_payment', 'mall', '', store_id, price, shipping, discount,
               price + shipping - discount, 0, 0, 'ship', 0, receiver, phone, region, street, postal_code, '', key, '',
               p_at, p_expires_at, p_expires_at
        FROM won
    ), lines AS (
        INSERT INTO shop_orderline (
            id, order_id, sku_id, store_id, product_name, sku_name, image, unit_price_fen, quantity, discount_fen,
            total_fen, kind, routing_reason
        )
        SELECT line_id, order_id, p_sku_id, store_id, product_name, sku_name, image, price, 1, discount,
               price - discount, 'goods', reason
        FROM won
    ), discounts AS (
        INSERT INTO shop_orderdiscount (order_id, line_id, step, source, title, amount_fen)
        SELECT w.order_id, w.line_id, d.step, d.source, d.title, d.amount
        FROM won w, jsonb_to_recordset(w.discounts) AS d(step text, source text, title text, amount bigint)
    ), log AS (
        INSERT INTO shop_orderlog (order_id, action, actor, note, at)
        SELECT order_id, 'placed', 'member', '', p_at FROM won
    ), stock AS (
        UPDATE shop_stock s SET reserved = s.reserved + n.pieces
        FROM (SELECT stock_id, count(*)::int AS pieces FROM won GROUP BY stock_id) n WHERE s.id = n.stock_id
    ), movements AS (
        INSERT INTO shop_stockmovement (
            stock_id, reason, on_hand_change, reserved_change, on_hand_after, reserved_after, cause, actor, note,
            order_id, moved_at
        )
        SELECT stock_id, 'reserve', 0, 1, on_hand, reserved + nth, 'order:' || order_id || ':reserve', 'member', '',
               order_id, p_at
        FROM won
    ), offer AS (
        UPDATE shop_offer o SET taken = o.taken + n.pieces
        FROM (SELECT count(*)::int AS pieces FROM won) n WHERE o.id = p_offer_id AND n.pieces > 0
    ), tallies AS (
        INSERT INTO shop_offertally AS t (offer_id, member_id, taken)
        SELECT p_offer_id, member_id, count(*)::int FROM won GROUP BY member_id
        ON CONFLICT (offer_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
    ), takes AS (
        INSERT INTO shop_offertake (offer_id, member_id, order_id, taken_quantity, quantity, is_first_order, taken_at)
        SELECT p_offer_id, member_id, order_id, 1, 1, false, p_at FROM won
    ), events AS (
        INSERT INTO core_domainevent (id, name, key, payload, occurred_at)
        SELECT event_id, p_event, 'order:' || order_id, event, p_at FROM won
    ), deliveries AS (
        INSERT INTO core_eventdelivery (event_id, handler, queue, status, attempts, next_attempt_at, last_error)
        SELECT w.event_id, l.handler, l.queue, 'pending', 0, p_at, ''
        FROM won w, unnest(p_handlers, p_queues) AS l(handler, queue)
    )
    SELECT a.place, CASE
               WHEN a.before IS NOT NULL THEN 'before'
               WHEN w.place IS NOT NULL THEN 'placed'
               WHEN NOT v_open THEN 'closed'
               WHEN NOT l.is_allowed THEN 'limit'
               WHEN s.place IS NULL OR s.nth > s.available THEN 'stock'
               ELSE 'gone'
           END, CASE WHEN w.place IS NOT NULL THEN a.number ELSE a.before END
    FROM asks a
    LEFT JOIN won w ON w.place = a.place
    LEFT JOIN allowed l ON l.place = a.place
    LEFT JOIN stocked s ON s.place = a.place;
END $$;
""".replace("LIMITS_LOCK", str(LIMITS_LOCK))


class Migration(migrations.Migration):
    dependencies = [("shop", "0101_goods_rules"), ("core", "0003_hold_function")]

    operations = [
        migrations.RunSQL(
            READ_HOT, "DROP FUNCTION shop_read_hot(bigint, int[], bigint[], text[], timestamptz)"
        ),
        migrations.RunSQL(
            TAKE_HOT_ORDERS,
            "DROP FUNCTION shop_take_hot_orders("
            "bigint, bigint, bigint, jsonb, jsonb, text, text[], text[], timestamptz, timestamptz)",
        )
    ]
