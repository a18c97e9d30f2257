"""A member's hearts, and what she looked at lately (from her timeline: no table of its own)."""

from collections.abc import Sequence

from django.core.files.storage import default_storage
from django.db import connection

from core import keyset
from crm import queries as crm_queries
from shop.models import Favourite
from shop.queries.catalogue import ProductPage, ProductRow
from shop.queries.routing import AVAILABLE

MOST_VIEWED = 60


def favourites_of(member_id: int, *, after: str = "", page_size: int = 20) -> ProductPage:
    """Newest heart first: two statements. What is no longer sold stays, marked."""
    behind = keyset.behind(Favourite.objects.filter(member_id=member_id), "added_at", after)
    hearts = list(behind.values_list("product_id", "added_at", "pk")[: page_size + 1])
    return ProductPage(
        rows=products_in_order([heart[0] for heart in hearts[:page_size]]),
        after=keyset.cursor(*hearts[page_size - 1][1:]) if len(hearts) > page_size else "",
    )


def viewed_by(member_id: int) -> list[ProductRow]:
    """The products of her latest views, each once, newest first: two statements."""
    facts = crm_queries.timeline_of(member_id, kinds=["viewed_product"], limit=200).rows
    ids: dict[int, None] = {}
    for fact in facts:
        kind, _colon, number = fact.subject.partition(":")
        if kind == "product" and number.isascii() and number.isdigit():
            ids.setdefault(int(number))
    return products_in_order(list(ids)[:MOST_VIEWED])


def products_in_order(ids: Sequence[int]) -> list[ProductRow]:
    """These products, in this order, drafts left out. One statement."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT p.id, p.name, p.subtitle, p.min_price_fen, p.max_price_fen, k.list_price_fen,
                   coalesce(i.file, ''), coalesce(i.width, 0), coalesce(i.height, 0), p.sold_count,
                   p.status <> 'on_sale' OR coalesce(k.available, 0) <= 0
            FROM unnest(%s::bigint[]) WITH ORDINALITY AS w(id, place)
            JOIN shop_product p ON p.id = w.id AND p.status <> 'draft'
            LEFT JOIN LATERAL (
                SELECT coalesce(nullif(i.thumbnail, ''), i.image) AS file, i.width, i.height
                FROM shop_productimage i WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
            ) i ON true
            LEFT JOIN LATERAL (
                SELECT sum(st.available) AS available,
                       max(s.list_price_fen) FILTER (
                           WHERE s.price_fen = p.min_price_fen AND s.list_price_fen > s.price_fen
                       ) AS list_price_fen
                FROM shop_sku s {AVAILABLE}
                WHERE s.product_id = p.id AND s.is_active
            ) k ON true
            ORDER BY w.place
            """,  # noqa: S608  the join is ours
            [list(ids)],
        )
        rows = cursor.fetchall()
    return [ProductRow(*(*row[:6], default_storage.url(row[6]) if row[6] else "", *row[7:])) for row in rows]
