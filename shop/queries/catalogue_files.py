"""The catalogue as rows of a file, and the SKUs that a file speaks of."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.db import connection, transaction

from shop import catalogue_files

_COLUMNS = """
    SELECT s.id, p.id AS product_id, coalesce(p.code, '') AS product_code, p.name AS product_name, p.subtitle,
           concat_ws('/', tc.name, gc.name, pc.name, c.name) AS category,
           coalesce(b.name, '') AS brand, p.status, s.code AS sku_code, s.spec, s.price_fen, s.list_price_fen,
           s.weight_grams, s.is_active, (SELECT c.cost_fen FROM shop_costprice c WHERE c.sku_id = s.id) AS cost_fen,
           coalesce(st.on_hand, 0) AS on_hand, coalesce(st.on_hand, 0) AS on_hand_was,
           p.category_id, p.brand_id
    FROM shop_sku s
    JOIN shop_product p ON p.id = s.product_id
    LEFT JOIN shop_category c ON c.id = p.category_id
    LEFT JOIN shop_category pc ON pc.id = c.parent_id
    LEFT JOIN shop_category gc ON gc.id = pc.parent_id
    LEFT JOIN shop_category tc ON tc.id = gc.parent_id
    LEFT JOIN shop_brand b ON b.id = p.brand_id
    LEFT JOIN shop_stock st ON st.sku_id = s.id AND st.store_id = (SELECT id FROM crm_store WHERE code = 'warehouse')
"""


def catalogue_skus(codes: Sequence[str], *, keys: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """code → its columns as `catalogue_files.COLUMNS` names them, with the ids of SKU, product, category and brand, and
    those of `keys` that name a store or a tier.

    One statement, one more for stores and one for tiers.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{_COLUMNS} WHERE s.code = ANY(%s)", [list(codes)])
        names = [column.name for column in cursor.description]
        rows = [_read(names, values) for values in cursor.fetchall()]
    _add_placed(rows, keys)
    return {row["sku_code"]: row for row in rows}


def _add_placed(rows: Sequence[dict[str, Any]], keys: Iterable[str]) -> None:
    """Put what stores have (0 when nothing) and what tiers pay (None: no price of their own) into the rows."""
    keys = list(keys)
    stores, tiers = catalogue_files.named(keys, "stock", "stock_was"), catalogue_files.named(keys, "tier")
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        row.update({key: None if key.startswith("tier@") else 0 for key in keys if "@" in key})
    with connection.cursor() as cursor:
        if stores:
            cursor.execute(
                "SELECT t.sku_id, p.code, t.on_hand FROM shop_stock t JOIN crm_store p ON p.id = t.store_id"
                " WHERE t.sku_id = ANY(%s) AND p.code = ANY(%s)",
                [list(by_id), stores],
            )
            for sku_id, code, on_hand in cursor.fetchall():
                by_id[sku_id].update({f"stock@{code}": on_hand, f"stock_was@{code}": on_hand})
        if tiers:
            cursor.execute(
                "SELECT sku_id, tier, price_fen FROM shop_memberprice WHERE sku_id = ANY(%s) AND tier = ANY(%s)",
                [list(by_id), tiers],
            )
            for sku_id, tier, price_fen in cursor.fetchall():
                by_id[sku_id][f"tier@{tier}"] = price_fen


def placed_columns(*, stores: bool, tiers: bool) -> list[str]:
    """The columns of an export beyond those of every catalogue: the stores beside the warehouse, the tiers with prices.

    Two statements at most.
    """
    keys: list[str] = []
    with connection.cursor() as cursor:
        if tiers:
            cursor.execute("SELECT DISTINCT tier FROM shop_memberprice ORDER BY 1")
            keys += [f"tier@{row[0]}" for row in cursor.fetchall()]
        if stores:
            cursor.execute("SELECT code FROM crm_store WHERE is_active AND code <> 'warehouse' ORDER BY id")
            for (code,) in cursor.fetchall():
                keys += [f"stock@{code}", f"stock_was@{code}"]
    return keys


def unknown_places(keys: Iterable[str]) -> list[str]:
    """Codes of stores that columns name and nobody knows. One statement, none without such columns."""
    codes = catalogue_files.named(keys, "stock", "stock_was")
    if not codes:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM crm_store WHERE code = ANY(%s)", [codes])
        return sorted(set(codes) - {row[0] for row in cursor.fetchall()})


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


def catalogue_rows(
    *, batch: int = 2000, more: Sequence[str] = (), without: Collection[str] = ()
) -> Iterator[list[str]]:
    """The header and one row of texts per SKU, all of them, never more than a batch in memory. `more`: columns that
    name a store or a tier; `without`: columns of every catalogue that are left out.
    """
    fields = [*(key for key in catalogue_files.COLUMNS if key not in without), *more]
    yield [catalogue_files.header_of(key) for key in fields]
    after = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"{_COLUMNS} WHERE s.id > %s ORDER BY s.id LIMIT %s", [after, batch])
            names = [column.name for column in cursor.description]
            rows = [_read(names, values) for values in cursor.fetchall()]
            _add_placed(rows, more)
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
