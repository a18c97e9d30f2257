"""How many pieces of a product one may buy: counted with the order by `shop_take_limits`, given back here."""

from collections.abc import Sequence

from django.db import connection, transaction
from django.utils.translation import gettext as _

from shop.errors import LimitReached
from shop.models import Order, OrderLine
from shop.queries.limits import limits_of

LIMITS_LOCK = (
    7_120_121  # of the functions in the database: shared by all who count, alone for who sets a first limit
)


def take_limits(order: Order) -> bool:
    """Count an order that lives again; False when it would pass a limit, then the caller rolls back.

    Locks: the member's tallies, after her points.
    """
    lines = OrderLine.objects.filter(order_id=order.pk, kind=OrderLine.GOODS).values_list(
        "sku_id", "quantity"
    )
    pieces: Sequence[tuple[int, int]] = list(lines)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_take_limits(%s::bigint[], %s::bigint[], %s::int[])",
            [
                [order.member_id] * len(pieces),
                [sku_id for sku_id, _n in pieces],
                [quantity for _s, quantity in pieces],
            ],
        )
        return bool(cursor.fetchone()[0] == "placed")


def give_back_limits(order: Order) -> None:
    """What was cancelled or given back may be bought again. Locks: the member's tallies, after her points.

    Call inside the transaction, after the change was written. Idempotent: it counts.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT shop_give_back_limits(%s)", [order.pk])


def limit_refusal(answer: str, *, member_id: int) -> LimitReached:
    """An answer of `shop_take_limits` ("per_order:7", "per_member:7") as words that say how many she may still buy."""
    product_id = int(answer.partition(":")[2])
    limit = limits_of(member_id, [product_id]).get(product_id)
    if limit is None:  # taken off a moment ago
        return LimitReached(
            _("The limit of this product has just changed. Please try again."), product_id=product_id
        )
    if answer.startswith("per_order"):
        words = _("At most %(limit)d pieces of “%(name)s” fit into one order. Please take fewer.")
        return LimitReached(
            words % {"limit": limit.per_order or 0, "name": limit.name},
            product_id=product_id,
            left=limit.most,
        )
    if limit.left:
        words = _("“%(name)s” is limited to %(limit)d per person. You may still buy %(left)d.")
    else:
        words = _("“%(name)s” is limited to %(limit)d per person, and you have had yours.")
    values = {"name": limit.name, "limit": limit.per_member or 0, "left": limit.left or 0}
    return LimitReached(words % values, product_id=product_id, left=limit.most)


@transaction.atomic
def move_limits(*, kept_id: int, merged_id: int) -> None:
    """Two members turned out to be one: what both bought is counted together. Idempotent."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LIMITS_LOCK])
        cursor.execute(
            """
            WITH gone AS (DELETE FROM shop_producttally WHERE member_id = %s RETURNING product_id, taken)
            INSERT INTO shop_producttally AS t (product_id, member_id, taken)
            SELECT product_id, %s, taken FROM gone ORDER BY product_id
            ON CONFLICT (product_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
            """,
            [merged_id, kept_id],
        )


@transaction.atomic
def count_limits(*, member_ids: list[int]) -> None:
    """Count again what members have of limited products, after orders changed hands. Idempotent: it counts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LIMITS_LOCK])
        cursor.execute("DELETE FROM shop_producttally WHERE member_id = ANY(%s)", [member_ids])
        cursor.execute(
            """
            INSERT INTO shop_producttally (product_id, member_id, taken)
            SELECT b.product_id, b.member_id, shop_pieces_of(b.product_id, b.member_id) FROM (
                SELECT DISTINCT s.product_id, o.member_id FROM shop_order o
                JOIN shop_orderline l ON l.order_id = o.id AND l.kind = 'goods'
                JOIN shop_sku s ON s.id = l.sku_id
                JOIN shop_product p ON p.id = s.product_id AND p.limit_per_member IS NOT NULL
                WHERE o.member_id = ANY(%s) AND o.channel = 'mall' AND o.status <> 'cancelled'
            ) b ORDER BY 1
            """,
            [member_ids],
        )
