"""Keeping what lists and the search read: price ranges, words, marks, and whether anything is left."""

from collections.abc import Iterable, Sequence

from django.db import connection, transaction

from shop import finding, rules
from shop.models import Product
from shop.queries.routing import AVAILABLE

_BATCH = 1000

# Whether any SKU of product p that is for sale can be had: the same words as in the list's own mark.
_IN_STOCK = (
    f"EXISTS (SELECT 1 FROM shop_sku s {AVAILABLE} "  # noqa: S608  our own words
    "WHERE s.product_id = p.id AND s.is_active AND st.available > 0)"
)


@transaction.atomic
def refresh_products(*, product_ids: Sequence[int] | None = None) -> int:
    """Work out what is derived of products from their SKUs, names, categories, brands and values; None: of all.

    Two set-based statements per thousand products. Idempotent. Returns how many were looked at.
    """
    ids: Iterable[int] = (
        Product.objects.order_by("pk").values_list("pk", flat=True) if product_ids is None else product_ids
    )
    batch: list[int] = []
    count = 0
    for product_id in ids:
        batch.append(product_id)
        if len(batch) == _BATCH:
            count += _refresh(batch)
            batch = []
    return count + _refresh(batch)


def _refresh(product_ids: list[int]) -> int:
    if not product_ids:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE asked_ids AS (SELECT %s::bigint[]), above AS (
                SELECT DISTINCT p.category_id AS leaf, c.id, c.name, c.parent_id, 0 AS depth
                FROM shop_product p JOIN shop_category c ON c.id = p.category_id
                WHERE p.id = ANY((TABLE asked_ids)::bigint[])
                UNION ALL
                SELECT a.leaf, c.id, c.name, c.parent_id, a.depth + 1
                FROM above a JOIN shop_category c ON c.id = a.parent_id WHERE a.depth < 8
            ), shelves AS (
                SELECT leaf, array_agg(id) AS ids, array_agg(name) AS names FROM above GROUP BY leaf
            ), chosen AS (
                SELECT pv.product_id, pv.attributevalue_id AS value_id
                FROM shop_product_values pv WHERE pv.product_id = ANY((TABLE asked_ids)::bigint[])
                UNION
                SELECT s.product_id, v.id
                FROM shop_sku s
                CROSS JOIN LATERAL jsonb_each_text(
                    CASE WHEN jsonb_typeof(s.spec) = 'object' THEN s.spec ELSE '{{}}' END
                ) AS spec(dimension, word)
                JOIN shop_attribute a ON a.name = spec.dimension
                JOIN shop_attributevalue v ON v.attribute_id = a.id AND v.name = spec.word
                WHERE s.product_id = ANY((TABLE asked_ids)::bigint[]) AND s.is_active
            ), worth AS (
                SELECT c.product_id, array_agg(c.value_id ORDER BY c.value_id) AS ids, array_agg(v.name) AS names
                FROM chosen c JOIN shop_attributevalue v ON v.id = c.value_id GROUP BY c.product_id
            ), goods AS (
                SELECT product_id, array_agg(code || ' ' || name) AS words,
                       min(price_fen) AS least, max(price_fen) AS most
                FROM shop_sku WHERE product_id = ANY((TABLE asked_ids)::bigint[]) AND is_active GROUP BY product_id
            )
            SELECT p.id, p.name, p.subtitle, coalesce(p.code, ''), coalesce(h.ids, '{{}}'),
                   coalesce(h.names, '{{}}'), p.brand_id, coalesce(b.name, ''), coalesce(b.aliases, ''),
                   coalesce(w.ids, '{{}}'), coalesce(w.names, '{{}}'), coalesce(g.words, '{{}}'),
                   coalesce(g.least, 0), coalesce(g.most, 0), {_IN_STOCK}
            FROM shop_product p
            LEFT JOIN shelves h ON h.leaf = p.category_id
            LEFT JOIN shop_brand b ON b.id = p.brand_id
            LEFT JOIN worth w ON w.product_id = p.id
            LEFT JOIN goods g ON g.product_id = p.id
            WHERE p.id = ANY((TABLE asked_ids)::bigint[])
            """,  # noqa: S608  only the closed words above are pasted in
            [product_ids],
        )
        found = cursor.fetchall()
        # One text per product: Postgres' arrays of arrays must all be equally long.
        cursor.execute(
            """
            UPDATE shop_product p
            SET min_price_fen = w.least, max_price_fen = w.most, search = w.search, sound = w.sound,
                value_ids = w.value_ids, is_in_stock = w.in_stock
            FROM (
                SELECT id, least, most, sound, in_stock, array_to_tsvector(string_to_array(tokens, ' ')) AS search,
                       coalesce(string_to_array(nullif(worth, ''), ' ')::bigint[], '{}') AS value_ids
                FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bool[])
                     AS w(id, least, most, tokens, sound, worth, in_stock)
            ) w
            WHERE p.id = w.id AND (
                (p.min_price_fen, p.max_price_fen, p.search, p.sound, p.value_ids, p.is_in_stock)
                IS DISTINCT FROM (w.least, w.most, w.search, w.sound, w.value_ids, w.in_stock)
            )
            """,
            [
                [row[0] for row in found],
                [row[12] for row in found],
                [row[13] for row in found],
                [" ".join(_tokens(row)) for row in found],
                [finding.sound_of(row[1]) for row in found],
                [" ".join(str(pk) for pk in row[9]) for row in found],
                [row[14] for row in found],
            ],
        )
    return len(found)


def _tokens(row: tuple[object, ...]) -> list[str]:
    (
        _pk,
        name,
        subtitle,
        code,
        category_ids,
        categories,
        brand_id,
        brand,
        aliases,
        value_ids,
        values,
        skus,
    ) = row[:12]
    words = rules.search_tokens([name, subtitle, code, brand, aliases, *categories, *values, *skus])  # type: ignore[misc,list-item]
    sounds = finding.sound_tokens([name, brand, *categories])  # type: ignore[misc,list-item]
    marks = finding.marks(category_ids=category_ids, brand_id=brand_id, value_ids=value_ids)  # type: ignore[arg-type]
    return sorted({*words, *sounds, *marks, "="})


@transaction.atomic
def refresh_described(*, attribute_id: int, value_ids: Sequence[int] = ()) -> int:
    """Refresh the products that carry one of the values, or whose SKUs name the attribute. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM shop_product WHERE value_ids && %(values)s::bigint[]
            UNION
            SELECT s.product_id FROM shop_sku s JOIN shop_attribute a ON a.id = %(attribute)s AND s.spec ? a.name
            UNION
            SELECT pv.product_id FROM shop_product_values pv
            JOIN shop_attributevalue v ON v.id = pv.attributevalue_id AND v.attribute_id = %(attribute)s
            """,
            {"values": list(value_ids), "attribute": attribute_id},
        )
        found = [row[0] for row in cursor.fetchall()]
    return refresh_products(product_ids=found)


@transaction.atomic
def refresh_below(*, category_id: int) -> int:
    """Refresh the products of a category and all below it. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE tree AS (
                SELECT id, 0 AS depth FROM shop_category WHERE id = %s
                UNION ALL
                SELECT c.id, t.depth + 1 FROM shop_category c JOIN tree t ON c.parent_id = t.id WHERE t.depth < 8
            ) SELECT p.id FROM shop_product p JOIN tree t ON t.id = p.category_id
            """,
            [category_id],
        )
        found = [row[0] for row in cursor.fetchall()]
    return refresh_products(product_ids=found)


@transaction.atomic
def refresh_stock_marks() -> int:
    """Which products have anything left, counted anew; run every minute. Returns how many changed. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_product p SET is_in_stock = w.left_over
            FROM (
                SELECT p.id, coalesce(t.left_over, false) AS left_over FROM shop_product p LEFT JOIN (
                    SELECT s.product_id, true AS left_over
                    FROM shop_sku s JOIN shop_stock k ON k.sku_id = s.id JOIN crm_store place ON place.id = k.store_id
                    WHERE s.is_active AND place.is_active AND (place.ships_online OR place.code = 'warehouse')
                      AND k.on_hand - k.reserved > coalesce(k.safety, place.safety_stock)
                    GROUP BY s.product_id
                ) t ON t.product_id = p.id
            ) w
            WHERE w.id = p.id AND p.is_in_stock <> w.left_over
            """
        )
        return cursor.rowcount
