"""What the database itself decides: functions and triggers that hold the shop's limits in one statement each."""

from django.db import migrations

MOVE_STOCK = """
CREATE FUNCTION shop_move_stock(p_sku_ids bigint[], p_store_ids bigint[], p_on_hand integer[], p_reserved integer[], p_cause text, p_reason text, p_actor text, p_note text, p_order_id bigint, p_at timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
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
END $function$
"""

USE_COUPONS = """
CREATE FUNCTION shop_use_coupons(p_grant_ids bigint[], p_member_ids bigint[], p_order_ids bigint[], p_at timestamptz)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
-- Use held coupons, each of a member on an order; returns how many could be: fewer than asked means roll back.
DECLARE
    used int;
BEGIN
    -- Judged where it is locked: by what the update may also ask for, the planner would rather read all that are held.
    WITH locked AS (
        SELECT g.id, w.order_id, g.member_id = w.member_id AND g.state = 'held' AND g.valid_from <= p_at
               AND g.expires_at > p_at AS is_usable
        FROM unnest(p_grant_ids, p_member_ids, p_order_ids) AS w(id, member_id, order_id)
        JOIN shop_coupongrant g ON g.id = w.id
        ORDER BY g.id FOR NO KEY UPDATE OF g
    )
    UPDATE shop_coupongrant g SET state = 'used', order_id = locked.order_id, used_at = p_at
    FROM locked WHERE g.id = locked.id AND locked.is_usable;
    GET DIAGNOSTICS used = ROW_COUNT;
    RETURN used;
END $function$
"""

TAKE_OFFERS = """
CREATE FUNCTION shop_take_offers(p_offer_ids bigint[], p_quantities integer[], p_member_id bigint, p_order_id bigint, p_at timestamp with time zone)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
-- Take pieces of offers for an order. Returns '' when all were taken; otherwise why not and of which offer
-- ('gone:7', 'group:7', 'limit:7', 'first_order:7'), and the caller must roll back.
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
        IF v_offer.kind = 'group' THEN  -- its price is for teams
            RETURN 'group:' || v_wanted.offer_id;
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
END $function$
"""

GIVE_BACK_OFFERS = """
CREATE FUNCTION shop_give_back_offers(p_order_id bigint, p_line_ids bigint[], p_quantities integer[], p_at timestamp with time zone)
 RETURNS TABLE(freed_offer_id bigint, places integer)
 LANGUAGE plpgsql
AS $function$
-- Return an order's pieces of offers to their quota and to the member's tally: all that are still out (p_line_ids
-- null), or what is out beyond the pieces that she keeps, after all that was returned so far (p_line_ids, p_quantities)
-- of the lines with the offer's discount. Returns what came free.
-- A line may have more pieces than the offer gave, and each is worth the same part of it. As long as she keeps as many
-- as she took at the special price, she has had them: who returned one of three could else take the offer again.
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
        -- Read anew: whoever held it may have given back the same pieces.
        SELECT t.quantity INTO v_back FROM shop_offertake t WHERE t.id = v_take.id;
        IF p_line_ids IS NOT NULL THEN
            SELECT greatest(v_back - coalesce(sum(l.quantity - coalesce(w.quantity, 0)), 0)::int, 0) INTO v_back
            FROM shop_orderline l
            LEFT JOIN unnest(p_line_ids, p_quantities) AS w(line_id, quantity) ON w.line_id = l.id
            WHERE l.order_id = p_order_id AND EXISTS (
                SELECT FROM shop_orderdiscount d
                WHERE d.line_id = l.id AND d.source = 'offer:' || v_take.offer_id
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
END $function$
"""

PLACE_ORDERS = """
CREATE FUNCTION shop_place_orders(p_orders jsonb, p_lines jsonb, p_discounts jsonb, p_grant_ids bigint[], p_grant_member_ids bigint[], p_grant_order_ids bigint[], p_offer_ids bigint[], p_offer_quantities integer[], p_cart_member_ids bigint[], p_cart_sku_ids bigint[], p_event text, p_handlers text[], p_queues text[], p_at timestamp with time zone, p_patience text)
 RETURNS text
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
-- Write orders, at most one of each member, with everything that they take and the events that announce them, in one
-- round trip; all of them or nothing. Who takes pieces of offers (p_offer_ids) comes alone.
-- Returns 'placed'; 'before' when a member has already placed an order under her key; otherwise what was not to be had
-- ('stock', 'coupon', 'points', an answer of shop_take_offers or shop_take_limits), or 'busy' when somebody held one of
-- the rows for longer than p_patience ('': no matter); then nothing was written.
-- What others wait for comes last and in the house's order of locks: stock, coupons, offers, the members' points.
-- (Always a few rows of large tables, by their keys: the plans are made once, for any number of orders.)
DECLARE
    v_placed int;
    v_order_ids bigint[];
    v_skus bigint[];
    v_stores bigint[];
    v_quantities int[];
    v_goods_members bigint[];
    v_goods_skus bigint[];
    v_goods_quantities int[];
    v_causes text[];
    v_owners bigint[];
    v_points bigint[];
    v_free_members bigint[];
    v_answer text;
BEGIN
    IF p_patience <> '' THEN
        PERFORM set_config('lock_timeout', p_patience, true);
    END IF;
    WITH orders AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(p_orders) AS o(
            id bigint, number text, member_id bigint, store_id bigint, items_fen bigint, shipping_fen bigint,
            discount_fen bigint, total_fen bigint, delivery text, points_used bigint, receiver text, phone text,
            region text, street text, postal_code text, note text, idempotency_key text, placed_at timestamptz,
            expires_at timestamptz, event jsonb
        ) ORDER BY member_id
    ), placed AS (
        INSERT INTO shop_order (
            id, number, member_id, status, channel, external_id, store_id, items_fen, shipping_fen, discount_fen,
            total_fen, paid_fen, refunded_fen, delivery, points_used, receiver, phone, region, street, postal_code,
            note, idempotency_key, cancel_reason, placed_at, expires_at, due_at
        )
        SELECT id, number, member_id, 'pending_payment', 'mall', '', store_id, items_fen, shipping_fen, discount_fen,
               total_fen, 0, 0, delivery, points_used, receiver, phone, region, street, postal_code, note,
               idempotency_key, '', placed_at, expires_at, expires_at
        FROM orders
        ON CONFLICT (member_id, idempotency_key) DO NOTHING
        RETURNING id
    ), lines AS MATERIALIZED (
        SELECT nextval('shop_orderline_id_seq') AS id, l.*
        FROM (SELECT * FROM jsonb_to_recordset(p_lines) AS r(
            order_id bigint, place int, sku_id bigint, store_id bigint, product_name text, sku_name text, image text,
            price bigint, quantity int, discount bigint, kind text, reason text
        ) ORDER BY order_id, place) l
    ), written AS (
        INSERT INTO shop_orderline (
            id, order_id, sku_id, store_id, product_name, sku_name, image, unit_price_fen, quantity, discount_fen,
            total_fen, kind, routing_reason
        )
        SELECT id, order_id, sku_id, store_id, product_name, sku_name, image, price, quantity, discount,
               price * quantity - discount, kind, coalesce(reason, '')
        FROM lines
    ), discounts AS (
        INSERT INTO shop_orderdiscount (order_id, line_id, step, source, title, amount_fen)
        SELECT d.order_id, lines.id, d.step, d.source, d.title, d.amount
        FROM ROWS FROM (jsonb_to_recordset(p_discounts) AS (
            order_id bigint, place int, step text, source text, title text, amount bigint
        )) WITH ORDINALITY AS d(order_id, place, step, source, title, amount, rank)
        LEFT JOIN lines ON lines.order_id = d.order_id AND lines.place = d.place ORDER BY d.rank
    ), log AS (
        INSERT INTO shop_orderlog (order_id, action, actor, note, at)
        SELECT id, 'placed', 'member', '', placed_at FROM orders
    ), event AS (
        INSERT INTO core_domainevent (name, key, payload, occurred_at)
        SELECT p_event, 'order:' || id, event, placed_at FROM orders RETURNING id
    ), deliveries AS (
        INSERT INTO core_eventdelivery (event_id, handler, queue, status, attempts, next_attempt_at, last_error)
        SELECT event.id, l.handler, l.queue, 'pending', 0, p_at, ''
        FROM event, unnest(p_handlers, p_queues) AS l(handler, queue)
    ), stocked AS (
        SELECT order_id, sku_id, store_id, sum(quantity)::int AS quantity
        FROM lines WHERE store_id IS NOT NULL GROUP BY order_id, sku_id, store_id
    )
    SELECT (SELECT count(*) FROM placed), s.*, g.*, p.*
    INTO v_placed, v_order_ids, v_skus, v_stores, v_quantities,
         v_goods_members, v_goods_skus, v_goods_quantities, v_causes, v_owners, v_points, v_free_members
    FROM (
        SELECT array_agg(order_id), array_agg(sku_id), array_agg(store_id), array_agg(quantity) FROM stocked
    ) s, (
        SELECT array_agg(o.member_id), array_agg(l.sku_id), array_agg(l.quantity)
        FROM lines l JOIN orders o ON o.id = l.order_id WHERE l.kind = 'goods'
    ) g, (
        SELECT array_agg('order:' || id || ':points') FILTER (WHERE points_used > 0),
               array_agg(member_id) FILTER (WHERE points_used > 0), array_agg(points_used) FILTER (WHERE points_used > 0),
               array_agg(member_id) FILTER (WHERE total_fen = 0)
        FROM orders
    ) p;
    IF v_placed < jsonb_array_length(p_orders) THEN
        RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = 'before';
    END IF;
    IF cardinality(p_cart_sku_ids) > 0 THEN
        DELETE FROM shop_cartline WHERE id IN (
            SELECT c.id FROM unnest(p_cart_member_ids, p_cart_sku_ids) AS g(member_id, sku_id)
            JOIN shop_cartline c ON c.member_id = g.member_id AND c.sku_id = g.sku_id
        );
    END IF;
    IF v_skus IS NOT NULL THEN
        WITH wanted AS MATERIALIZED (
            SELECT * FROM unnest(v_order_ids, v_skus, v_stores, v_quantities) AS w(order_id, sku_id, store_id, quantity)
        ), locked AS (
            SELECT s.id, w.sku_id, w.store_id, w.quantity
            FROM (SELECT sku_id, store_id, sum(quantity)::int AS quantity FROM wanted GROUP BY sku_id, store_id) w
            JOIN shop_stock s ON s.sku_id = w.sku_id AND s.store_id = w.store_id
            ORDER BY s.sku_id, s.store_id
            FOR NO KEY UPDATE OF s
        ), changed AS (
            UPDATE shop_stock s SET reserved = s.reserved + l.quantity
            FROM locked l
            WHERE s.id = l.id AND s.reserved + l.quantity BETWEEN 0 AND s.on_hand
            RETURNING s.id, l.sku_id, l.store_id, s.on_hand, s.reserved - l.quantity AS reserved
        )
        INSERT INTO shop_stockmovement (
            stock_id, reason, on_hand_change, reserved_change, on_hand_after, reserved_after,
            cause, actor, note, order_id, moved_at
        )
        SELECT c.id, 'reserve', 0, w.quantity, c.on_hand,
               c.reserved + sum(w.quantity) OVER (PARTITION BY c.id ORDER BY w.order_id),
               'order:' || w.order_id || ':reserve', 'member', '', w.order_id, p_at
        FROM wanted w JOIN changed c ON c.sku_id = w.sku_id AND c.store_id = w.store_id
        ORDER BY c.id, w.order_id;
        GET DIAGNOSTICS v_placed = ROW_COUNT;
        IF v_placed < cardinality(v_skus) THEN
            RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = 'stock';
        END IF;
    END IF;
    IF cardinality(p_grant_ids) > 0
       AND shop_use_coupons(p_grant_ids, p_grant_member_ids, p_grant_order_ids, p_at) < cardinality(p_grant_ids) THEN
        RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = 'coupon';
    END IF;
    IF cardinality(p_offer_ids) > 0 THEN
        IF jsonb_array_length(p_orders) <> 1 THEN
            RAISE EXCEPTION 'who takes pieces of offers comes alone';
        END IF;
        v_answer := shop_take_offers(
            p_offer_ids, p_offer_quantities, (p_orders->0->>'member_id')::bigint, (p_orders->0->>'id')::bigint, p_at
        );
        IF v_answer <> '' THEN
            RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = v_answer;
        END IF;
    END IF;
    IF v_free_members IS NOT NULL THEN
        -- Booked as paid in the same transaction: the member's numbers come before her points and tallies.
        PERFORM FROM crm_memberstats WHERE member_id = ANY(v_free_members) ORDER BY member_id FOR NO KEY UPDATE;
    END IF;
    IF v_causes IS NOT NULL AND NOT core_ledger_hold(v_causes, 'points', v_owners, v_points, p_at) THEN
        RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = 'points';
    END IF;
    v_answer := shop_take_limits(v_goods_members, v_goods_skus, v_goods_quantities);
    IF v_answer <> 'placed' THEN
        RAISE EXCEPTION USING ERRCODE = 'PL001', MESSAGE = v_answer;
    END IF;
    RETURN v_answer;
EXCEPTION
    WHEN SQLSTATE 'PL001' THEN
        RETURN SQLERRM;
    WHEN lock_not_available THEN
        IF p_patience = '' THEN
            RAISE;
        END IF;
        RETURN 'busy';
END $function$
"""

FOUND = """
CREATE FUNCTION shop_found(
    p_parts tsquery[], p_low bigint, p_high bigint, p_in_stock boolean, p_most integer
)
 RETURNS TABLE(
    id bigint, sort integer, sold_count integer, brand_id bigint, value_ids bigint[], min_price_fen bigint,
    max_price_fen bigint, is_in_stock boolean
 )
 LANGUAGE plpgsql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
 SET jit TO 'off'
AS $function$
-- At most p_most products on sale that match all parts, through the indexes of words and prices: for what few products
-- have. The rarest parts are asked of the index, each by itself, which is faster than all in one. A beginning such as sh
-- stands for thousands of tokens, which the index gathers one by one: when the rarer parts leave c_few products, the
-- others are looked up in the rows. A sample of c_sample products tells which parts are rare.
DECLARE
    c_few constant integer := 1000;
    c_sample constant integer := 300;
    v_pieces double precision;
    v_sharp tsquery[] := p_parts;
    v_part tsquery;
    v_rest tsquery[];
    v_vague tsquery;
BEGIN
    IF p_parts IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(p_parts) > 1 THEN
        SELECT CASE WHEN reltuples > 0 THEN reltuples ELSE pg_relation_size(oid) / 1000 + 1 END INTO v_pieces
        FROM pg_class WHERE oid = 'shop_product'::regclass;
        WITH sample AS MATERIALIZED (
            SELECT search FROM shop_product TABLESAMPLE SYSTEM (least(100, 100 * c_sample / v_pieces)) REPEATABLE (7)
        ), shares AS MATERIALIZED (
            SELECT part, place, (
                SELECT (count(*) FILTER (WHERE ts_match_vq(search, part)) + 0.5) / (count(*) + 1) FROM sample
            ) AS share
            FROM unnest(p_parts) WITH ORDINALITY AS p(part, place)
        ), places AS (
            SELECT part, share, coalesce(v_pieces * exp(sum(ln(share)) OVER (
                ORDER BY share, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )), c_few + 1) AS left_before
            FROM shares
        )
        SELECT array_agg(part) FILTER (WHERE left_before > c_few), array_agg(part) FILTER (WHERE left_before <= c_few)
        INTO v_sharp, v_rest FROM places;
        FOREACH v_part IN ARRAY coalesce(v_rest, ARRAY[]::tsquery[]) LOOP
            v_vague := coalesce(v_vague && v_part, v_part);
        END LOOP;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT p.id, p.sort, p.sold_count::integer, p.brand_id, p.value_ids, p.min_price_fen, p.max_price_fen,'
        ' p.is_in_stock FROM shop_product p WHERE p.status = ''on_sale'''
        || coalesce((
            SELECT string_agg(format(' AND p.search @@ ($1)[%s]', place), '')
            FROM generate_subscripts(v_sharp, 1) AS place
        ), '')
        || CASE WHEN p_low IS NULL THEN '' ELSE ' AND p.max_price_fen >= $3' END
        || CASE WHEN p_high IS NULL THEN '' ELSE ' AND p.min_price_fen <= $4' END
        || CASE WHEN p_in_stock THEN ' AND p.is_in_stock' ELSE '' END
        || CASE WHEN v_vague IS NULL THEN '' ELSE ' AND ts_match_vq(p.search, $2)' END
        || ' LIMIT $5'
        USING v_sharp, v_vague, p_low, p_high, p_most;
END $function$
"""

SAMPLED = """
CREATE FUNCTION shop_sampled(
    p_wanted tsquery, p_low bigint, p_high bigint, p_in_stock boolean, p_percent real
)
 RETURNS TABLE(brand_id bigint, value_ids bigint[], min_price_fen bigint, max_price_fen bigint, is_in_stock boolean)
 LANGUAGE sql
 STABLE
 SET jit TO 'off'
AS $function$
-- So many percent of the products, the same ones each time, as far as they match: to tell how many do in all.
    SELECT p.brand_id, p.value_ids, p.min_price_fen, p.max_price_fen, p.is_in_stock
    FROM shop_product p TABLESAMPLE SYSTEM (p_percent) REPEATABLE (7)
    WHERE p_percent > 0 AND p.status = 'on_sale'
      AND (p_low IS NULL OR p.max_price_fen >= p_low)
      AND (p_high IS NULL OR p.min_price_fen <= p_high)
      AND (p.is_in_stock OR NOT p_in_stock)
      AND (p_wanted IS NULL OR ts_match_vq(p.search, p_wanted))
$function$
"""

LISTED = """
CREATE FUNCTION shop_listed(
    p_sort text, p_parts tsquery[], p_low bigint, p_high bigint, p_in_stock boolean,
    p_value bigint, p_id bigint, p_most integer
)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
-- The first p_most products on sale that match, in the order of p_sort, behind the row with this value and id.
--
-- What many products have is met soon on a walk along the shelf; what few have, the index of words knows. The planner
-- has to guess which of the two it is and cannot see that two frequent words never meet; here the first c_probe rows
-- tell. Neither way is gone to its end before the other has been tried.
DECLARE
    c_probe constant integer := 500;
    c_walk constant integer := 12000;  -- rows looked at on a long walk
    c_found constant integer := 5000;  -- rows fetched through the index before a walk is the better bet
    v_matches constant text := 'ts_match_vq(search, $1) AND ($2 IS NULL OR max_price_fen >= $2)'
        ' AND ($3 IS NULL OR min_price_fen <= $3) AND (is_in_stock OR NOT $4)';
    v_rows text;
    v_seen integer;
    v_ids bigint[];
    v_likely boolean;
    v_limit integer;
    v_wanted tsquery;
    v_part tsquery;
    v_rank constant bigint := CASE p_sort WHEN 'price' THEN -p_value WHEN 'new' THEN 0 ELSE p_value END;
BEGIN
    FOREACH v_part IN ARRAY p_parts LOOP
        v_wanted := coalesce(v_wanted && v_part, v_part);
    END LOOP;
    v_rows := '(SELECT id, search, min_price_fen, max_price_fen, is_in_stock FROM shop_product WHERE status = ''on_sale'''
        || CASE
            WHEN p_id IS NULL THEN ''
            WHEN p_sort = 'price' THEN ' AND min_price_fen >= $5 AND (min_price_fen > $5 OR id < $6)'
            WHEN p_sort = '-price' THEN ' AND min_price_fen <= $5 AND (min_price_fen < $5 OR id > $6)'
            WHEN p_sort = 'sold' THEN ' AND (sold_count, id) < ($5, $6)'
            WHEN p_sort = 'new' THEN ' AND id < $6'
            ELSE ' AND (sort, id) < ($5, $6)'
        END || CASE p_sort
            WHEN 'price' THEN ' ORDER BY min_price_fen, id DESC'
            WHEN '-price' THEN ' ORDER BY min_price_fen DESC, id'
            WHEN 'sold' THEN ' ORDER BY sold_count DESC, id DESC'
            WHEN 'new' THEN ' ORDER BY id DESC'
            ELSE ' ORDER BY sort DESC, id DESC'
        END || ' LIMIT $7) p';
    EXECUTE 'SELECT count(*), coalesce(array_agg(id) FILTER (WHERE ' || v_matches || '), ''{}'') FROM ' || v_rows
        INTO v_seen, v_ids
        USING v_wanted, p_low, p_high, p_in_stock, p_value, p_id, c_probe;
    IF v_seen < c_probe OR cardinality(v_ids) >= p_most THEN
        RETURN QUERY SELECT unnest(v_ids[:p_most]);
        RETURN;
    END IF;
    v_likely := cardinality(v_ids) * (c_walk / c_probe) >= p_most;
    FOREACH v_limit IN ARRAY ARRAY[c_found, NULL] LOOP
        IF v_likely THEN
            EXECUTE 'SELECT array_agg(id) FROM (SELECT id FROM ' || v_rows || ' WHERE ' || v_matches || ' LIMIT $8) p'
                INTO v_ids
                USING v_wanted, p_low, p_high, p_in_stock, p_value, p_id, c_walk, p_most;
            IF cardinality(v_ids) >= p_most THEN
                RETURN QUERY SELECT unnest(v_ids);
                RETURN;
            END IF;
        END IF;
        SELECT count(*), (array_agg(f.id ORDER BY f.rank DESC, f.tie DESC) FILTER (
                   WHERE p_id IS NULL OR (f.rank, f.tie) < (v_rank, CASE WHEN p_sort = '-price' THEN -p_id ELSE p_id END)
               ))[:p_most]
            INTO v_seen, v_ids
        FROM (
            SELECT f.id, CASE WHEN p_sort = '-price' THEN -f.id ELSE f.id END AS tie, CASE p_sort
                       WHEN 'price' THEN -f.min_price_fen
                       WHEN '-price' THEN f.min_price_fen
                       WHEN 'sold' THEN f.sold_count
                       WHEN 'new' THEN 0
                       ELSE f.sort
                   END AS rank
            FROM shop_found(p_parts, p_low, p_high, p_in_stock, v_limit) f
        ) f;
        IF v_limit IS NULL OR v_seen < v_limit THEN
            RETURN QUERY SELECT unnest(v_ids);
            RETURN;
        END IF;
        v_likely := NOT v_likely;
    END LOOP;
END $function$
"""

PIECES_OF = """
CREATE FUNCTION shop_pieces_of(p_product_id bigint, p_member_id bigint)
 RETURNS integer
 LANGUAGE sql
 STABLE
AS $function$
-- Pieces of a product that a member has ordered in the mall and neither cancelled nor given back.
SELECT coalesce(sum(l.quantity - coalesce((
    SELECT sum((r.parts ->> l.id::text)::int) FROM shop_effectreversal r WHERE r.order_id = o.id
), 0)), 0)::int
FROM shop_order o
JOIN shop_orderline l ON l.order_id = o.id AND l.kind = 'goods'
JOIN shop_sku s ON s.id = l.sku_id
WHERE o.member_id = p_member_id AND s.product_id = p_product_id AND o.channel = 'mall' AND o.status <> 'cancelled'
$function$
"""

TAKE_LIMITS = """
CREATE FUNCTION shop_take_limits(p_member_ids bigint[], p_sku_ids bigint[], p_quantities integer[])
 RETURNS text
 LANGUAGE plpgsql
AS $function$
-- After orders of these pieces were written, one of each member: count them against the limits of their products.
-- Returns 'placed', or 'per_order:7' or 'per_member:7' with the product whose limit one of them passes; then the caller
-- must roll back.
DECLARE
    v_wanted record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7120121);
    FOR v_wanted IN
        SELECT p.id, w.member_id, p.limit_per_order, p.limit_per_member, sum(w.quantity)::int AS quantity
        FROM unnest(p_member_ids, p_sku_ids, p_quantities) AS w(member_id, sku_id, quantity)
        JOIN shop_sku s ON s.id = w.sku_id
        JOIN shop_product p ON p.id = s.product_id
        WHERE p.limit_per_order IS NOT NULL OR p.limit_per_member IS NOT NULL
        GROUP BY p.id, w.member_id ORDER BY p.id, w.member_id
    LOOP
        IF v_wanted.quantity > v_wanted.limit_per_order THEN
            RETURN 'per_order:' || v_wanted.id;
        END IF;
        IF v_wanted.limit_per_member IS NULL THEN
            CONTINUE;
        END IF;
        INSERT INTO shop_producttally AS t (product_id, member_id, taken)
        SELECT v_wanted.id, v_wanted.member_id, v_wanted.quantity
        WHERE v_wanted.quantity <= v_wanted.limit_per_member
        ON CONFLICT (product_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
            WHERE t.taken + excluded.taken <= v_wanted.limit_per_member;
        IF NOT FOUND THEN
            RETURN 'per_member:' || v_wanted.id;
        END IF;
    END LOOP;
    RETURN 'placed';
END $function$
"""

GIVE_BACK_LIMITS = """
CREATE FUNCTION shop_give_back_limits(p_order_id bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
-- After an order was cancelled, or parts of it were given back: count anew what its member has of its limited
-- products. Counting, not subtracting: it may run as often as it likes.
DECLARE
    v_tally record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7120121);
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
END $function$
"""

COUNT_LIMITS = """
CREATE FUNCTION shop_count_limits()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
-- A product got its first limit per member, or lost it: count what members have of it, or forget it.
BEGIN
    PERFORM pg_advisory_xact_lock(7120121);
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
END $function$
"""

PART_IS_NO_BUNDLE = """
CREATE FUNCTION shop_part_is_no_bundle()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
-- A bundle has no bundle in it. Both SKUs are locked, so that two people cannot each add one half of such a nest.
BEGIN
    PERFORM FROM shop_sku WHERE id IN (NEW.bundle_id, NEW.sku_id) ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM shop_sku WHERE id = NEW.sku_id AND supply = 'parts')
       OR EXISTS (SELECT FROM shop_bundleitem WHERE bundle_id = NEW.sku_id)
       OR EXISTS (SELECT FROM shop_bundleitem WHERE sku_id = NEW.bundle_id) THEN
        RAISE EXCEPTION 'SKU % cannot be a part of SKU %', NEW.sku_id, NEW.bundle_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_part_is_no_bundle';
    END IF;
    RETURN NEW;
END $function$
"""

SUPPLY_STAYS = """
CREATE FUNCTION shop_supply_stays()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
-- Where the pieces of a SKU come from cannot change once it was ordered, is a part of a bundle, or has parts.
BEGIN
    IF EXISTS (SELECT FROM shop_orderline WHERE sku_id = NEW.id)
       OR EXISTS (SELECT FROM shop_orderbundle WHERE sku_id = NEW.id)
       OR EXISTS (SELECT FROM shop_bundleitem WHERE NEW.id IN (bundle_id, sku_id)) THEN
        RAISE EXCEPTION 'SKU % keeps where its pieces come from', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'the_supply_of_what_was_sold_stays';
    END IF;
    RETURN NEW;
END $function$
"""

READ_HOT = """
CREATE FUNCTION shop_read_hot(p_offer_id bigint, p_places integer[], p_member_ids bigint[], p_keys text[], p_at timestamp with time zone)
 RETURNS TABLE(o_is_open boolean, o_left integer, o_limit integer, o_price_fen bigint, o_sku_id bigint, o_product_id bigint, o_place integer, o_order_id bigint, o_member_id bigint, o_session_version integer, o_earlier text, o_tally integer, o_receiver text, o_phone text, o_province text, o_city text, o_district text, o_street text, o_postal_code text)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
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
END $function$
"""

TAKE_HOT_ORDERS = """
CREATE FUNCTION shop_take_hot_orders(p_offer_id bigint, p_sku_id bigint, p_price_fen bigint, p_asks jsonb, p_plans jsonb, p_event text, p_handlers text[], p_queues text[], p_at timestamp with time zone, p_expires_at timestamp with time zone)
 RETURNS TABLE(o_place integer, o_answer text, o_number text)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
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
    PERFORM pg_advisory_xact_lock_shared(7120121);
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
END $function$
"""

NOTE_PRICING_RULES = """
CREATE FUNCTION shop_note_pricing_rules()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO off
AS $function$
-- Processes keep the rules of prices in memory as long as the set of these rows is the one that they read them with.
-- A row of its own for every change, and those in sight go: whoever edits at the same moment is not waited for, and as
-- the last change that commits leaves a row that was in no set before, no set ever stands for two states.
-- A transaction of many changes finds its own row again by its key: it does not look through those that it left behind.
DECLARE
    v_mine text := coalesce(current_setting('pond.pricing_version', true), '');
BEGIN
    IF v_mine = '' THEN
        DELETE FROM shop_pricingversion WHERE id IN (SELECT id FROM shop_pricingversion FOR UPDATE SKIP LOCKED);
    ELSE
        DELETE FROM shop_pricingversion WHERE id = v_mine::uuid;
    END IF;
    v_mine := gen_random_uuid();
    INSERT INTO shop_pricingversion (id) VALUES (v_mine::uuid);
    PERFORM set_config('pond.pricing_version', v_mine, true);
    RETURN NULL;
END $function$
"""

# What the kept rules are made of.
PRICING_RULES = (
    "shop_promotion",
    "shop_promotion_products",
    "shop_promotion_categories",
    "shop_promotion_brands",
    "shop_promotion_except_products",
    "shop_promotionextra",
    "shop_promotionlevel",
    "shop_shippingrate",
    "shop_pointspolicy",
    "shop_category",
    "shop_memberprice",
    "shop_offer",
    "shop_coupon",
    "crm_store",
)
# Of some tables only these columns: what orders count up in them is no rule.
_OF = {
    "shop_category": "parent_id",
    "shop_offer": "sku_id, kind, starts_at, ends_at, is_active",
    "shop_coupon": "name, kind, amount_fen, rate_bps, cap_fen, threshold_fen, gift_sku_id, scope, scope_ids, is_stackable",
}


def _note(table: str) -> migrations.RunSQL:
    changes = f"UPDATE OF {_OF[table]}" if table in _OF else "UPDATE"
    return migrations.RunSQL(
        f"CREATE TRIGGER pricing_rules_are_noted AFTER INSERT OR DELETE OR TRUNCATE OR {changes} ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION shop_note_pricing_rules()",
        f"DROP TRIGGER pricing_rules_are_noted ON {table}",
    )


# Imports and seeds write products by hand-written statements that name only what they know.
DEFAULTS = """
ALTER TABLE shop_product
    ALTER kind SET DEFAULT 'goods', ALTER sound SET DEFAULT '', ALTER value_ids SET DEFAULT '{}',
    ALTER is_in_stock SET DEFAULT false, ALTER video SET DEFAULT '', ALTER video_url SET DEFAULT '',
    ALTER video_poster SET DEFAULT ''
"""

NO_DEFAULTS = """
ALTER TABLE shop_product
    ALTER kind DROP DEFAULT, ALTER sound DROP DEFAULT, ALTER value_ids DROP DEFAULT,
    ALTER is_in_stock DROP DEFAULT, ALTER video DROP DEFAULT, ALTER video_url DROP DEFAULT,
    ALTER video_poster DROP DEFAULT
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial"), ("core", "0003_holds_together")]

    operations = [
        migrations.RunSQL(MOVE_STOCK, 'DROP FUNCTION shop_move_stock(p_sku_ids bigint[], p_store_ids bigint[], p_on_hand integer[], p_reserved integer[], p_cause text, p_reason text, p_actor text, p_note text, p_order_id bigint, p_at timestamp with time zone)'),
        migrations.RunSQL(USE_COUPONS, "DROP FUNCTION shop_use_coupons(bigint[], bigint[], bigint[], timestamptz)"),
        migrations.RunSQL(TAKE_OFFERS, 'DROP FUNCTION shop_take_offers(p_offer_ids bigint[], p_quantities integer[], p_member_id bigint, p_order_id bigint, p_at timestamp with time zone)'),
        migrations.RunSQL(GIVE_BACK_OFFERS, 'DROP FUNCTION shop_give_back_offers(p_order_id bigint, p_line_ids bigint[], p_quantities integer[], p_at timestamp with time zone)'),
        migrations.RunSQL(PLACE_ORDERS, "DROP FUNCTION shop_place_orders(jsonb, jsonb, jsonb, bigint[], bigint[], bigint[], bigint[], integer[], bigint[], bigint[], text, text[], text[], timestamptz, text)"),
        migrations.RunSQL(FOUND, 'DROP FUNCTION shop_found(tsquery[], bigint, bigint, boolean, integer)'),
        migrations.RunSQL(SAMPLED, 'DROP FUNCTION shop_sampled(tsquery, bigint, bigint, boolean, real)'),
        migrations.RunSQL(LISTED, 'DROP FUNCTION shop_listed(text, tsquery[], bigint, bigint, boolean, bigint, bigint, integer)'),
        migrations.RunSQL(PIECES_OF, 'DROP FUNCTION shop_pieces_of(p_product_id bigint, p_member_id bigint)'),
        migrations.RunSQL(TAKE_LIMITS, "DROP FUNCTION shop_take_limits(bigint[], bigint[], integer[])"),
        migrations.RunSQL(GIVE_BACK_LIMITS, 'DROP FUNCTION shop_give_back_limits(p_order_id bigint)'),
        migrations.RunSQL(COUNT_LIMITS, 'DROP FUNCTION shop_count_limits()'),
        migrations.RunSQL(PART_IS_NO_BUNDLE, 'DROP FUNCTION shop_part_is_no_bundle()'),
        migrations.RunSQL(SUPPLY_STAYS, 'DROP FUNCTION shop_supply_stays()'),
        migrations.RunSQL(READ_HOT, 'DROP FUNCTION shop_read_hot(p_offer_id bigint, p_places integer[], p_member_ids bigint[], p_keys text[], p_at timestamp with time zone)'),
        migrations.RunSQL(TAKE_HOT_ORDERS, 'DROP FUNCTION shop_take_hot_orders(p_offer_id bigint, p_sku_id bigint, p_price_fen bigint, p_asks jsonb, p_plans jsonb, p_event text, p_handlers text[], p_queues text[], p_at timestamp with time zone, p_expires_at timestamp with time zone)'),
        migrations.RunSQL('CREATE TRIGGER shop_count_limits AFTER UPDATE OF limit_per_member ON shop_product FOR EACH ROW WHEN (((old.limit_per_member IS NULL) <> (new.limit_per_member IS NULL))) EXECUTE FUNCTION shop_count_limits()', 'DROP TRIGGER shop_count_limits ON shop_product'),
        migrations.RunSQL('CREATE TRIGGER a_part_is_no_bundle BEFORE INSERT OR UPDATE ON shop_bundleitem FOR EACH ROW EXECUTE FUNCTION shop_part_is_no_bundle()', 'DROP TRIGGER a_part_is_no_bundle ON shop_bundleitem'),
        migrations.RunSQL('CREATE TRIGGER the_supply_of_what_was_sold_stays BEFORE UPDATE OF supply ON shop_sku FOR EACH ROW WHEN (((old.supply)::text IS DISTINCT FROM (new.supply)::text)) EXECUTE FUNCTION shop_supply_stays()', 'DROP TRIGGER the_supply_of_what_was_sold_stays ON shop_sku'),
        # Orders change these rows in place: with room on the page their indexes need no new entry.
        migrations.RunSQL('ALTER TABLE shop_stock SET (fillfactor = 70)', 'ALTER TABLE shop_stock RESET (fillfactor)'),
        migrations.RunSQL(NOTE_PRICING_RULES, 'DROP FUNCTION shop_note_pricing_rules()'),
        *(_note(table) for table in PRICING_RULES),
        migrations.RunSQL('INSERT INTO shop_pricingversion (id) VALUES (gen_random_uuid())', migrations.RunSQL.noop),
        migrations.RunSQL(DEFAULTS, NO_DEFAULTS),
    ]
