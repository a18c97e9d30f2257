"""How lists and counts find their products: functions that choose the cheaper way by looking, not by guessing."""

from django.db import migrations

OLD_FOUND = """
CREATE FUNCTION shop_found(p_wanted tsquery, p_low bigint, p_high bigint, p_in_stock boolean, p_most integer)
 RETURNS TABLE(brand_id bigint, value_ids bigint[], min_price_fen bigint, max_price_fen bigint, is_in_stock boolean)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_indexscan TO 'off'
 SET jit TO 'off'
AS $function$
    SELECT p.brand_id, p.value_ids, p.min_price_fen, p.max_price_fen, p.is_in_stock
    FROM shop_product p
    WHERE p.status = 'on_sale' AND p.search @@ p_wanted
      AND (p_low IS NULL OR p.max_price_fen >= p_low)
      AND (p_high IS NULL OR p.min_price_fen <= p_high)
      AND (p.is_in_stock OR NOT p_in_stock)
    LIMIT p_most
$function$
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


class Migration(migrations.Migration):
    dependencies = [("shop", "0110_search")]
    operations = [
        migrations.RunSQL(
            "DROP FUNCTION shop_found(tsquery, bigint, bigint, boolean, integer)",
            OLD_FOUND,
        ),
        migrations.RunSQL(FOUND, "DROP FUNCTION shop_found(tsquery[], bigint, bigint, boolean, integer)"),
        migrations.RunSQL(SAMPLED, "DROP FUNCTION shop_sampled(tsquery, bigint, bigint, boolean, real)"),
        migrations.RunSQL(
            LISTED,
            "DROP FUNCTION shop_listed(text, tsquery[], bigint, bigint, boolean, bigint, bigint, integer)",
        ),
    ]
