"""Row locks in one global order, so that two commands never wait for each other in a circle.

The order: campaign and its receivers, group, order, payment, direct payment, mall item and exchange, terms, stock,
coupon, offer, notice, member, task run, earning, ledger account.
Within a table: by primary key.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import connection, models

Row = TypeVar("Row", bound=models.Model)

ORDER = (
    "campaigns.broadcast",
    "campaigns.winbackrule",
    "campaigns.broadcastrecipient",
    "campaigns.winbackspell",
    "community.group",
    "community.groupmember",
    "shop.order",
    "shop.payment",
    "shop.refund",
    "shop.directpayment",
    "shop.mallitem",
    "shop.mallexchange",
    "shop.goodsterms",
    "shop.stock",
    "shop.coupon",
    "shop.coupongrant",
    "shop.offer",
    "shop.stocknotice",
    "shop.review",
    "shop.booking",
    "crm.member",
    "crm.memberstats",
    "crm.pointstaskrun",
    "crm.earning",
    "core.ledgeraccount",
)


def lock_rows(*querysets: models.QuerySet[Row]) -> list[list[Row]]:
    """Lock the rows of several querysets FOR UPDATE and return them, per queryset, ordered by primary key.

    Raises ValueError when the querysets are not in the global order: that is how deadlocks are born.
    """
    ranks = [rank_of(queryset) for queryset in querysets]
    if ranks != sorted(ranks):
        raise ValueError(f"locks out of order: {[queryset.model._meta.label for queryset in querysets]}")
    return [list(queryset.select_for_update(of=("self",)).order_by("pk")) for queryset in querysets]


def rank_of(queryset: models.QuerySet[Any]) -> int:
    """Where a table stands in the order. Raises ValueError for one that has no place in it."""
    return ORDER.index(queryset.model._meta.label_lower)


def lock_row(queryset: models.QuerySet[Row]) -> Row | None:
    """Lock the one row of a queryset, None when there is none."""
    rows = lock_rows(queryset)[0]
    return rows[0] if rows else None


def advisory_lock(*names: str | int, is_shared: bool = False) -> None:
    """Serialise on a name until the transaction ends, where there is no row yet to lock; shared ones do not wait for
    each other.
    """
    function = "pg_advisory_xact_lock_shared" if is_shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [":".join(map(str, names))])


def try_advisory_lock(*names: str | int) -> bool:
    """Like `advisory_lock`, but give up at once when another transaction holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [":".join(map(str, names))]
        )
        return bool(cursor.fetchone()[0])


def in_batches(items: Iterable[int], size: int) -> Iterable[list[int]]:
    batch: list[int] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
