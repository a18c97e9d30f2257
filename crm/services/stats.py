"""The numbers about members. Each command runs in the transaction of the fact that it counts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from crm.models import MemberStats


@dataclass(frozen=True)
class Purchases:
    """What one member bought in some history, as sums."""

    member_id: int
    orders_count: int
    paid_fen: int
    refunded_fen: int
    first_paid_at: datetime | None
    last_paid_at: datetime | None


LIVING = """
WITH living AS (
    SELECT COALESCE(merged_into_id, id) AS living_id FROM crm_member WHERE id = %(member)s FOR KEY SHARE
)
"""


@transaction.atomic
def book_purchase(*, member_id: int, paid_fen: int, at: datetime) -> None:
    """Count one paid order. The caller records the `paid` activity with the same amount, in the same transaction.

    Locks: member (key share), memberstats. Idempotency is the caller's: called where the order becomes paid.
    """
    _update(
        """
        UPDATE crm_memberstats SET orders_count = orders_count + 1, paid_fen = paid_fen + %(fen)s,
            first_paid_at = LEAST(first_paid_at, %(at)s), last_paid_at = GREATEST(last_paid_at, %(at)s),
            last_active_at = GREATEST(last_active_at, %(at)s)
        FROM living WHERE member_id = living.living_id
        """,
        {"member": member_id, "fen": paid_fen, "at": at},
    )


@transaction.atomic
def book_refund(*, member_id: int, refunded_fen: int, at: datetime) -> None:
    """Count a refund. The caller records the `refunded` activity with the same amount, in the same transaction.

    Locks: member (key share), memberstats. Idempotency is the caller's: called where the refund succeeds.
    """
    _update(
        """
        UPDATE crm_memberstats SET refunded_fen = refunded_fen + %(fen)s
        FROM living WHERE member_id = living.living_id
        """,
        {"member": member_id, "fen": refunded_fen},
    )


def _update(update: str, params: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LIVING + update, params)
        if cursor.rowcount != 1:
            raise LookupError(f"no member {params['member']}")


@transaction.atomic
def book_purchases(purchases: Iterable[Purchases]) -> int:
    """Add sums of history to many members (imports); returns how many rows changed.

    Locks: memberstats, by key. Idempotency is the caller's: in the transaction that writes the orders.
    """
    return _apply(list(purchases), add=True)


@transaction.atomic
def rebuild_stats(*, purchases: Iterable[Purchases], member_ids: Iterable[int] | None = None) -> int:
    """Set the figures of purchases to exactly what the caller counted; members without purchases get zeros.

    `member_ids` None: everybody. Locks: memberstats, by key. Idempotent.
    """
    rows = list(purchases)
    others = MemberStats.objects.exclude(pk__in=[row.member_id for row in rows])
    if member_ids is not None:
        others = others.filter(pk__in=list(member_ids))
    others.update(orders_count=0, paid_fen=0, refunded_fen=0, first_paid_at=None, last_paid_at=None)
    return _apply(rows, add=False)


APPLY = """
WITH given AS (
    SELECT COALESCE(m.merged_into_id, m.id) AS member_id, sum(orders)::integer AS orders, sum(paid)::bigint AS paid,
           sum(refunded)::bigint AS refunded, min(first_at) AS first_at, max(last_at) AS last_at
    FROM unnest(%(members)s::bigint[], %(orders)s::integer[], %(paid)s::bigint[], %(refunded)s::bigint[],
                %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS g(id, orders, paid, refunded, first_at, last_at)
    JOIN crm_member m ON m.id = g.id GROUP BY 1
), locked AS (
    SELECT s.member_id FROM crm_memberstats s WHERE s.member_id IN (SELECT member_id FROM given)
    ORDER BY s.member_id FOR NO KEY UPDATE
)
UPDATE crm_memberstats s SET
    orders_count = CASE WHEN %(add)s THEN s.orders_count ELSE 0 END + g.orders,
    paid_fen = CASE WHEN %(add)s THEN s.paid_fen ELSE 0 END + g.paid,
    refunded_fen = CASE WHEN %(add)s THEN s.refunded_fen ELSE 0 END + g.refunded,
    first_paid_at = LEAST(CASE WHEN %(add)s THEN s.first_paid_at END, g.first_at),
    last_paid_at = GREATEST(CASE WHEN %(add)s THEN s.last_paid_at END, g.last_at),
    last_active_at = GREATEST(s.last_active_at, g.last_at)
FROM given g JOIN locked ON locked.member_id = g.member_id WHERE s.member_id = g.member_id
"""


def _apply(rows: list[Purchases], *, add: bool) -> int:
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            APPLY,
            {
                "members": [row.member_id for row in rows],
                "orders": [row.orders_count for row in rows],
                "paid": [row.paid_fen for row in rows],
                "refunded": [row.refunded_fen for row in rows],
                "firsts": [row.first_paid_at for row in rows],
                "lasts": [row.last_paid_at for row in rows],
                "add": add,
            },
        )
        return int(cursor.rowcount)
