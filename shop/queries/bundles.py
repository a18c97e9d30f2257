"""What bundles are made of, for shoppers and for whoever counts parcels."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.core.files.storage import default_storage
from django.db import connection

from shop import rules


@dataclass(frozen=True, slots=True)
class BundlePart:
    """`pieces` of a SKU in one piece of the bundle `bundle_id`."""

    bundle_id: int
    sku_id: int
    product_id: int
    name: str
    variant: str
    pieces: int
    price_fen: int
    image_url: str
    is_shown: bool  # its own page can be looked at


def bundle_parts(sku_ids: Iterable[int]) -> dict[int, list[BundlePart]]:
    """Bundle → its parts with names and pictures. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.bundle_id, s.id, p.id, p.name, s.name, i.quantity, s.price_fen, coalesce((
                       SELECT coalesce(nullif(m.thumbnail, ''), m.image) FROM shop_productimage m
                       WHERE m.product_id = p.id ORDER BY m.position, m.id LIMIT 1
                   ), ''), p.status = 'on_sale'
            FROM shop_bundleitem i JOIN shop_sku s ON s.id = i.sku_id JOIN shop_product p ON p.id = s.product_id
            WHERE i.bundle_id = ANY(%s) ORDER BY i.id
            """,
            [list(sku_ids)],
        )
        found: dict[int, list[BundlePart]] = {}
        for row in cursor.fetchall():
            image = default_storage.url(row[7]) if row[7] else ""
            found.setdefault(row[0], []).append(BundlePart(*(*row[:7], image, row[8])))
        return found


def parcel_lines(lines: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(SKU with stock, pieces) that lie in the parcels of (sku id, pieces): bundles taken apart. One statement."""
    wanted = rules.merged_lines(lines)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, (w.pieces * coalesce(i.quantity, 1))::int
            FROM unnest(%s::bigint[], %s::int[]) AS w(sku_id, pieces)
            JOIN shop_sku s ON s.id = w.sku_id
            LEFT JOIN shop_bundleitem i ON i.bundle_id = s.id AND s.supply = 'parts'
            JOIN shop_sku c ON c.id = CASE s.supply WHEN 'parts' THEN i.sku_id ELSE s.id END
            WHERE c.supply = 'stock'
            """,
            [[sku_id for sku_id, _pieces in wanted], [pieces for _sku, pieces in wanted]],
        )
        return rules.merged_lines(cursor.fetchall())
