"""Keeping what lists and the search read: price ranges, words, marks, and whether anything is left."""

from collections.abc import Iterable, Sequence

from django.db import connection, transaction

from shop import queries
from shop.models import Product
from shop.queries.routing import AVAILABLE

_BATCH = 1000


@transaction.atomic
def refresh_products(*, product_ids: Sequence[int] | None = None) -> int:
    """Work out what is derived of products from their SKUs, names, categories, brands and values; None: of all.

    Four set-based statements per thousand products. Returns how many were looked at.
    Locks: the products, by id: of two edits at once the later one sees the earlier. Idempotent.
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
            "SELECT id FROM shop_product WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE",
            [product_ids],
        )
        cursor.execute(
            """
            UPDATE shop_sku s SET supply = w.supply
            FROM (
                SELECT s.id, CASE p.kind WHEN 'bundle' THEN 'parts' WHEN 'goods' THEN 'stock' ELSE 'pieces' END
                       AS supply
                FROM shop_sku s JOIN shop_product p ON p.id = s.product_id WHERE p.id = ANY(%s)
            ) w
            WHERE w.id = s.id AND s.supply <> w.supply
            """,
            [product_ids],
        )
    found = queries.documents(product_ids)
    with connection.cursor() as cursor:
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
                [one.product_id for one in found],
                [one.min_price_fen for one in found],
                [one.max_price_fen for one in found],
                [" ".join(sorted(one.tokens)) for one in found],
                [one.sound for one in found],
                [" ".join(str(pk) for pk in one.value_ids) for one in found],
                [one.is_in_stock for one in found],
            ],
        )
    return len(found)


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
    """Which products have anything left, counted anew; run every minute. Returns how many changed.

    Locks: the changed products, by id; one that is being edited waits for the next minute. Idempotent.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE shop_product p SET is_in_stock = NOT p.is_in_stock
            FROM (
                SELECT p.id FROM shop_product p LEFT JOIN (
                    SELECT DISTINCT s.product_id
                    FROM shop_sku s JOIN shop_stock k ON k.sku_id = s.id JOIN crm_store place ON place.id = k.store_id
                    WHERE s.is_active AND place.is_active AND (place.ships_online OR place.code = 'warehouse')
                      AND k.on_hand - k.reserved > coalesce(k.safety, place.safety_stock)
                    UNION
                    SELECT s.product_id FROM shop_sku s {AVAILABLE}
                    WHERE s.is_active AND s.supply <> 'stock' AND st.available > 0
                ) t ON t.product_id = p.id
                WHERE p.is_in_stock <> (t.product_id IS NOT NULL)
                ORDER BY p.id FOR NO KEY UPDATE OF p SKIP LOCKED
            ) w
            WHERE w.id = p.id
            """  # noqa: S608  the join is ours
        )
        return cursor.rowcount
