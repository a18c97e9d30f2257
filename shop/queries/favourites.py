"""A member's hearts, and what she looked at lately (from her timeline: no table of its own)."""

from collections.abc import Sequence

from django.db import connection

from core import keyset
from crm import queries as crm_queries
from shop.models import Favourite
from shop.queries.catalogue import CARD, CARD_JOINS, ProductPage, ProductRow, product_row

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
            SELECT {CARD},
                   p.status <> 'on_sale' OR coalesce(k.available, 0) <= 0
            FROM unnest(%s::bigint[]) WITH ORDINALITY AS w(id, place)
            JOIN shop_product p ON p.id = w.id AND p.status <> 'draft'
            {CARD_JOINS}
            ORDER BY w.place
            """,  # noqa: S608  the join is ours
            [list(ids)],
        )
        rows = cursor.fetchall()
    return [product_row(row) for row in rows]
