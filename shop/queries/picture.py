"""What the shop knows of one member, for her page; and who bought from a category, for tag rules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, OuterRef, QuerySet, Subquery

from core import clock
from shop.models import Category, Order, OrderLine
from shop.queries.rest import own_store_of, served_by
from shop.queries.stored_value import BONUS, POINTS, PRINCIPAL

BOUGHT = (Order.PAID, Order.SHIPPED, Order.RECEIVED)


@dataclass(frozen=True)
class Holdings:
    """What she holds: points and growth in pieces, stored value in fen; `coupons` that she can use now."""

    points: int
    growth: int
    principal: int
    bonus: int
    coupons: int
    next_expiry: datetime | None


def holdings_of(member_id: int) -> Holdings:
    """One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT kind, balance, NULL::timestamptz FROM core_ledgeraccount WHERE owner_id = %s AND kind = ANY(%s)
            UNION ALL
            SELECT 'coupons', count(*), min(expires_at) FROM shop_coupongrant
            WHERE member_id = %s AND state = 'held' AND expires_at > %s
            """,
            [member_id, [POINTS, "growth", PRINCIPAL, BONUS], member_id, clock.now()],
        )
        rows = {kind: (amount, until) for kind, amount, until in cursor.fetchall()}
    held = {kind: rows.get(kind, (0, None))[0] for kind in (POINTS, "growth", PRINCIPAL, BONUS, "coupons")}
    return Holdings(
        held[POINTS], held["growth"], held[PRINCIPAL], held[BONUS], held["coupons"], rows["coupons"][1]
    )


def last_orders_of(member_id: int, *, store_id: int | None = None, limit: int = 6) -> list[Order]:
    """The newest, whatever became of them, each with `goods`, the name of its first line. One statement.

    `store_id`: only those that this store serves, None: all.
    """
    first = OrderLine.objects.filter(order=OuterRef("pk")).order_by("pk").values("product_name")[:1]
    rows = Order.objects.filter(member=member_id).annotate(goods=Subquery(first))
    if store_id is not None:
        rows = rows.filter(served_by(store_id))
    return list(rows.order_by("-placed_at", "-pk")[:limit])


def own_orders_only(viewer: Any) -> tuple[str, list[Any]]:
    """A condition on shop_order, and its parameters: a colleague of one store may know that store's orders only."""
    store_id = own_store_of(viewer)
    if store_id is None:
        return "", []
    lines = "SELECT FROM shop_orderline line WHERE line.order_id = shop_order.id AND line.store_id = %s"
    return f" AND (shop_order.store_id = %s OR EXISTS ({lines}))", [store_id, store_id]


def category_choices() -> list[tuple[str, str]]:
    """(id, name with its parents) of every category, shown or not."""
    rows = list(Category.objects.order_by("position", "pk"))
    by_id = {row.pk: row for row in rows}

    def path(row: Category) -> str:
        names, at = [row.name], row
        while at.parent_id and len(names) < 8:
            at = by_id[at.parent_id]
            names.append(at.name)
        return " / ".join(reversed(names))

    return [(str(row.pk), path(row)) for row in rows]


MOST_LEVELS = 4  # of the tree of categories: a shopper gets lost in deeper ones


def possible_parents(category_id: int | None) -> set[int]:
    """The categories below which one may stand, or a new one (None): not itself, nothing below it, not too deep."""
    parents = dict(Category.objects.values_list("pk", "parent_id"))

    def path(pk: int | None) -> list[int]:
        found: list[int] = []
        while pk is not None and pk not in found:
            found.append(pk)
            pk = parents.get(pk)
        return found

    paths = {pk: path(pk) for pk in parents}
    height = max((way.index(category_id) for way in paths.values() if category_id in way), default=0)
    return {pk for pk, way in paths.items() if category_id not in way and len(way) + height < MOST_LEVELS}


def bought_from(
    category: str, since: datetime | None, times: int, member_ids: list[int] | None = None
) -> QuerySet[Any, Any]:
    """Ids of members who paid for goods of this category or one below it, in so many orders; returned goods do not
    count. A subquery.
    """
    children: dict[int | None, list[int]] = {}
    for pk, parent in Category.objects.values_list("pk", "parent_id"):
        children.setdefault(parent, []).append(pk)
    wanted, below = set(), [int(category)] if category.isdigit() else []
    while below:
        pk = below.pop()
        if pk not in wanted:
            wanted.add(pk)
            below += children.get(pk, [])
    lines = OrderLine.objects.filter(
        sku__product__category__in=wanted,
        order__member__isnull=False,
        order__status__in=BOUGHT,
        refunded_quantity__lt=F("quantity"),
    ).order_by()
    if member_ids is not None:
        lines = lines.filter(order__member__in=member_ids)
    if since:
        lines = lines.filter(order__paid_at__gte=since)
    counted = lines.values("order__member").annotate(n=Count("order", distinct=True))
    return counted.filter(n__gte=times).values("order__member")
