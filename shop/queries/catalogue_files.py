"""The catalogue as rows of a file, and the SKUs that a file speaks of."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection, transaction

from shop import catalogue_files

_COLUMNS = """
    SELECT s.id, p.id AS product_id, coalesce(p.code, '') AS product_code, p.name AS product_name, p.subtitle,
           coalesce(CASE WHEN pc.id IS NULL THEN c.name ELSE pc.name || '/' || c.name END, '') AS category,
           coalesce(b.name, '') AS brand, p.status, s.code AS sku_code, s.spec, s.price_fen, s.list_price_fen,
           s.weight_grams, s.is_active, coalesce(st.on_hand, 0) AS on_hand, coalesce(st.on_hand, 0) AS on_hand_was,
           p.category_id, p.brand_id
    FROM shop_sku s
    JOIN shop_product p ON p.id = s.product_id
    LEFT JOIN shop_category c ON c.id = p.category_id
    LEFT JOIN shop_category pc ON pc.id = c.parent_id
    LEFT JOIN shop_brand b ON b.id = p.brand_id
    LEFT JOIN shop_stock st ON st.sku_id = s.id AND st.store_id = (SELECT id FROM crm_store WHERE code = 'warehouse')
"""


def catalogue_skus(codes: Sequence[str], *, lock: bool = False) -> dict[str, dict[str, Any]]:
    """code → its columns as `catalogue_files.COLUMNS` names them, with the ids of SKU, product, category and brand.

    One statement. `lock` keeps the SKUs for the transaction, in the order of their ids.
    """
    with connection.cursor() as cursor:
        ending = "ORDER BY s.id FOR NO KEY UPDATE OF s" if lock else ""
        cursor.execute(f"{_COLUMNS} WHERE s.code = ANY(%s) {ending}", [list(codes)])
        names = [column.name for column in cursor.description]
        return {row["sku_code"]: row for row in (_read(names, values) for values in cursor.fetchall())}


def products_of_file(
    codes: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Product code → id, and name → ids, of those that exist. One statement."""
    by_code: dict[str, int] = {}
    by_name: dict[str, list[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, code, name FROM shop_product WHERE code = ANY(%s) OR name = ANY(%s)",
            [list(codes), list(names)],
        )
        for pk, code, name in cursor.fetchall():
            if code:
                by_code[code] = pk
            by_name.setdefault(name, []).append(pk)
    return by_code, by_name


def sellable_skus(product_ids: Sequence[int]) -> dict[int, set[int]]:
    """Product → its SKUs that are for sale. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT product_id, array_agg(id) FROM shop_sku WHERE product_id = ANY(%s) AND is_active GROUP BY 1",
            [list(product_ids)],
        )
        return {product_id: set(ids) for product_id, ids in cursor.fetchall()}


def catalogue_rows(*, batch: int = 2000) -> Iterator[list[str]]:
    """The header and one row of texts per SKU, all of them, never more than a batch in memory."""
    fields = list(catalogue_files.COLUMNS)
    yield [catalogue_files.COLUMNS[key][1][0] for key in fields]
    after = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"{_COLUMNS} WHERE s.id > %s ORDER BY s.id LIMIT %s", [after, batch])
            names = [column.name for column in cursor.description]
            rows = [_read(names, values) for values in cursor.fetchall()]
        for row in rows:
            yield [
                "" if row[key] in (None, "", {}) else catalogue_files.shown(key, row[key]) for key in fields
            ]
        if len(rows) < batch:
            return
        after = rows[-1]["id"]


def _read(names: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    row = dict(zip(names, values, strict=True))
    if isinstance(row["spec"], str):
        row["spec"] = json.loads(row["spec"])
    return row
