"""What an order earns: booked when it is paid, frozen while its goods can be returned, taken back with refunds.

The points are crm's; here it is decided how many, and until when they are frozen.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from core import clock
from core.locks import lock_row
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from shop import aftersales_rules
from shop import rules as shop_rules
from shop.models import AfterSale, Order, OrderLine, Refund, RefundLine

SOURCE = "order"
WHOLE = 10_000  # basis points: not multiplied

LOOK_AGAIN = timedelta(days=1)

# The multiplier of each line's category: its own, or that of the nearest category above that has one.
_MULTIPLIERS = """
SELECT l.id, coalesce((
    WITH RECURSIVE up(id, parent_id, depth) AS (
        SELECT c.id, c.parent_id, 0 FROM shop_category c WHERE c.id = p.category_id
        UNION ALL SELECT c.id, c.parent_id, up.depth + 1 FROM shop_category c JOIN up ON c.id = up.parent_id
        WHERE up.depth < 20
    )
    SELECT r.points_bps FROM up JOIN shop_categorypoints r ON r.category_id = up.id ORDER BY up.depth LIMIT 1
), 10000)
FROM shop_orderline l JOIN shop_sku s ON s.id = l.sku_id JOIN shop_product p ON p.id = s.product_id
WHERE l.order_id = %s
"""


def order_cause(order_id: int) -> str:
    return f"order:{order_id}"


@transaction.atomic
def earn_from_order(*, order_id: int) -> bool:
    """Book the points and the growth of a paid order; what was refunded meanwhile is taken back at once.

    Locks: order, member (key share), earnings, ledger accounts. Idempotent on: the order. False: it earns nothing.
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    current = crm_services.current_points_rules()
    if order is None or order.member_id is None or order.paid_at is None or current is None:
        return False
    with connection.cursor() as cursor:
        cursor.execute(_MULTIPLIERS, [order.pk])
        multipliers = {int(pk): int(bps) for pk, bps in cursor.fetchall()}
    lines = dict(OrderLine.objects.filter(order=order).values_list("pk", "total_fen"))
    if sum(lines.values()) < current.least_fen:
        return False
    person = crm_queries.earner(order.member_id, order.paid_at)
    rate = crm_queries.PointsRate(current.points_per_100_yuan, person.tier_bps, person.birthday_bps)
    basis = {
        "points": rate.per_100_yuan,
        "growth": current.growth_per_100_yuan,
        "tier_bps": rate.tier_bps,
        "birthday_bps": rate.birthday_bps,
        "freeze_days": current.freeze_days,
        "lines": {str(pk): bps for pk, bps in multipliers.items()},
    }
    points, growth = worth(basis, lines)
    if not points and not growth:
        return False
    crm_services.earn(
        member_id=order.member_id,
        cause=order_cause(order.pk),
        source=SOURCE,
        points=points,
        growth=growth,
        at=order.paid_at,
        due_at=_free_at(order, current.freeze_days),
        months=current.months,
        basis=basis,
    )
    refunds = list(order.refunds.filter(kind=Refund.ORDER, status=Refund.SUCCESS).order_by("pk"))
    if refunds:
        take_back_points(order, refunds)
    return True


def worth(basis: dict[str, Any], lines: dict[int, int]) -> tuple[int, int]:
    """(points, growth) of what was paid for `lines` (id → fen), by the rates of then."""
    multipliers = basis["lines"]
    rate = crm_queries.PointsRate(basis["points"], basis["tier_bps"], basis["birthday_bps"])
    growth = crm_queries.PointsRate(basis["growth"])
    return (
        rate.of((fen, multipliers.get(str(pk), WHOLE)) for pk, fen in lines.items()),
        growth.of((fen, WHOLE) for fen in lines.values()),
    )


def _free_at(order: Order, freeze_days: int) -> datetime:
    """When the goods cannot be returned any more; while they are under way, the latest day on which they arrive."""
    received = order.received_at or (order.paid_at or clock.now()) + shop_rules.RECEIPT_TIME
    return received + timedelta(days=freeze_days)


@transaction.atomic
def take_back_points(order: Order, refunds: Sequence[Refund]) -> int:
    """What the order still earns is what its kept goods are worth; the rest is taken back. Returns the points.

    Counted from all refunds that succeeded, `refunds` among them, so that the order in which they come does not matter.
    Locks: earnings, ledger accounts. Call under the order's lock, before other points. Idempotent on: the last refund.
    """
    earned = crm_queries.earning_of(order_cause(order.pk))
    if not earned:
        return 0
    own = [refund.pk for refund in refunds]
    done = order.refunds.filter(kind=Refund.ORDER, status=Refund.SUCCESS).values_list("pk", flat=True)
    back = dict(
        RefundLine.objects.filter(refund__in={*own, *done}, line__isnull=False)
        .values_list("line_id")
        .annotate(fen=Sum("amount_fen"))
        .order_by()
    )
    totals = OrderLine.objects.filter(order=order).values_list("pk", "total_fen")
    points, growth = worth(earned[0].basis, {pk: max(fen - back.get(pk, 0), 0) for pk, fen in totals})
    return crm_services.keep_of_earning(
        earned=order_cause(order.pk), cause=f"refund:{max(own)}", points=points, growth=growth
    )


def follow_receipt(*, order_id: int) -> bool:
    """The goods are hers: from now it is known when their points can be spent. Idempotent."""
    order = Order.objects.filter(pk=order_id, received_at__isnull=False).first()
    earned = crm_queries.earning_of(order_cause(order_id))
    if order is None or not earned:
        return False
    due_at = _free_at(order, int(earned[0].basis.get("freeze_days", 0)))
    return crm_services.postpone_points(cause=order_cause(order_id), due_at=due_at)


def free_due_points(*, limit: int = 200) -> int:
    """Points whose return window is over can be spent from now on; returns of how many orders.

    One transaction per order. An order that is under way, or with an after-sale, is looked at again later.
    """
    return sweep(
        crm_services.due_earnings(source=SOURCE, limit=limit),
        lambda due: _free(due[0], int(due[1].partition(":")[2])),
        fault="points not freed",
        put_off=lambda due: crm_services.postpone_points(cause=due[1], due_at=clock.now() + LOOK_AGAIN),
    )


@transaction.atomic
def _free(earning_id: int, order_id: int) -> bool:
    order = lock_row(Order.objects.filter(pk=order_id))
    cause = order_cause(order_id)
    later: datetime | None = None
    if order is not None and order.status != Order.REFUNDED:
        open_ones = AfterSale.objects.filter(order=order).exclude(status__in=aftersales_rules.OVER)
        if order.status != Order.RECEIVED or order.is_refunding or open_ones.exists():
            later = clock.now() + LOOK_AGAIN
        else:
            days = int(crm_queries.earning_of(cause)[0].basis.get("freeze_days", 0))
            later = _free_at(order, days)
    if later is not None and later > clock.now():
        crm_services.postpone_points(cause=cause, due_at=later)
        return False
    return bool(crm_services.free_points(earning_id=earning_id))
