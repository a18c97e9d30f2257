"""What an order takes besides stock and money, and how it goes back: coupons, pieces of offers, points."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from core import clock, ledger
from core.events import publish
from core.models import LedgerHold
from shop.events import OfferFreed
from shop.models import EffectReversal, Order, OrderDiscount, OrderLine
from shop.services.hot_gone import forget_gone
from shop.services.limits import give_back_limits
from shop.services.tenders import follow_member

SPENT = "points.spent"  # the house's account of points that became discounts


def points_cause(order_id: int) -> str:
    return f"order:{order_id}:points"


def has_effects(order: Order) -> bool:
    """Whether the order took a coupon, pieces of an offer or points, in whatever state they are now."""
    return OrderDiscount.objects.filter(order_id=order.pk, step__in=["coupon", "offer", "points"]).exists()


@transaction.atomic
def settle_effects(order: Order) -> None:
    """The order is paid: the held points are spent. Call under the order's lock, where it becomes paid.

    Locks: the member's points. Idempotent.
    """
    if order.points_used:
        ledger.capture(
            cause=points_cause(order.pk), credit=ledger.open_account(kind=SPENT, owner_id=ledger.HOUSE)
        )


@transaction.atomic
def undo_effects(order: Order, *, cause: str) -> None:
    """The order will not be paid: its coupons (where their rule says so), offer pieces and points go back, and
    its pieces do not count against limits any more.

    Locks: coupons, offers, the member's points, her tallies. Call under the order's lock, after its stock. Idempotent:
    what went back once is not there any more. Publishes: OfferFreed.
    """
    moment = clock.now()
    _return_coupons(order, "returns_on_cancel", moment)
    _give_back_pieces(order, None, moment)
    if (
        order.points_used
        and LedgerHold.objects.filter(cause=points_cause(order.pk), status=LedgerHold.OPEN).exists()
    ):
        hold = ledger.release(cause=points_cause(order.pk))
        follow_member({hold.account.owner_id}, order.member_id)
    give_back_limits(order)


@transaction.atomic
def reverse_effects(order: Order, parts: Iterable[tuple[OrderLine, int]], *, cause: str) -> int:
    """Money for `parts` (line, quantity) of a paid order went back: so do their pieces of offers, and the coupons when
    by now everything was returned and their rule says so. Returns their share of the points, which `return_points`
    gives back after the locks that come in between.

    Locks: coupons, offers. Call under the order's lock. Idempotent on: (order, cause).
    All parts together give back exactly what the order took. Publishes: OfferFreed.
    """
    wanted: dict[int, int] = {}
    for line, quantity in parts:
        if quantity > 0:
            wanted[line.pk] = wanted.get(line.pk, 0) + quantity
    known = EffectReversal.objects.filter(order_id=order.pk, cause=cause).first()
    if known is not None or not wanted:
        return known.points if known else 0
    moment = clock.now()
    before = list(EffectReversal.objects.filter(order_id=order.pk))
    returned = _added([wanted, *(one.parts for one in before)])
    lines = {line.pk: line for line in OrderLine.objects.filter(order_id=order.pk)}
    _give_back_pieces(order, returned, moment)
    is_whole = all(
        returned.get(line.pk, 0) >= line.quantity for line in lines.values() if line.kind != OrderLine.GIFT
    )
    if is_whole:
        _return_coupons(order, "returns_on_refund", moment)
    due = order.points_used if is_whole else _points_share(order, lines, returned)
    points = max(due - sum(one.points for one in before), 0)
    EffectReversal.objects.create(
        order_id=order.pk,
        cause=cause,
        parts={str(line_id): quantity for line_id, quantity in wanted.items()},
        points=points,
        at=moment,
    )
    return points


@transaction.atomic
def return_points(order: Order, *, cause: str) -> None:
    """The points of what was reversed under this cause go back, and its pieces count against no limit any more.

    Locks: the member's points, her tallies. Call under the order's lock, after her numbers. Idempotent on: (order,
    cause).
    """
    reversal = EffectReversal.objects.filter(order_id=order.pk, cause=cause).first()
    if reversal is None:
        return
    if reversal.points:
        back = ledger.reverse(
            transfer_cause=f"capture:{points_cause(order.pk)}",
            cause=f"order:{order.pk}:points_back:{cause}"[:120],
            amount=reversal.points,
        )
        follow_member({back.credit.owner_id}, order.member_id)
    give_back_limits(order)


def _added(parts: Iterable[Mapping[Any, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for one in parts:
        for line_id, quantity in one.items():
            sums[int(line_id)] = sums.get(int(line_id), 0) + quantity
    return sums


def _points_share(order: Order, lines: Mapping[int, OrderLine], returned: Mapping[int, int]) -> int:
    """How many of the order's points belong to all that was returned so far, rounded down."""
    if not order.points_used:
        return 0
    rows = OrderDiscount.objects.filter(order_id=order.pk, step="points")
    by_line = dict(rows.values_list("line_id").annotate(off=Sum("amount_fen")).order_by())
    whole = sum(by_line.values())
    if not whole:
        return 0
    # Per line and piece, so that the order in which parts return does not matter.
    share = sum(
        off
        * min(returned.get(line_id, 0), lines[line_id].quantity)
        * order.points_used
        // (lines[line_id].quantity * whole)
        for line_id, off in by_line.items()
        if line_id in lines
    )
    return min(share, order.points_used)


def _return_coupons(order: Order, rule: str, moment: datetime) -> None:
    """Used coupons of the order whose rule says so become usable again, or expired when their time is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH locked AS (
                SELECT g.id FROM shop_coupongrant g JOIN shop_coupon c ON c.id = g.coupon_id
                WHERE g.order_id = %s AND g.state = 'used' AND c.{rule} ORDER BY g.id FOR UPDATE OF g
            )
            UPDATE shop_coupongrant g
            SET state = CASE WHEN g.expires_at <= %s THEN 'expired' ELSE 'held' END, order_id = NULL, used_at = NULL
            FROM locked WHERE g.id = locked.id
            """,  # noqa: S608  one of two column names of ours
            [order.pk, moment],
        )


def _give_back_pieces(order: Order, returned: Mapping[int, int] | None, moment: datetime) -> None:
    """Pieces of offers return to quota and tally: all of the order's (None), or what is out beyond the pieces that she
    keeps when all of this was `returned`, line → pieces.

    The take's row says how many are still out, so that no piece returns twice.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM shop_give_back_offers(%s, %s, %s, %s)",
            [
                order.pk,
                None if returned is None else list(returned),
                None if returned is None else list(returned.values()),
                moment,
            ],
        )
        freed = cursor.fetchall()
    for offer_id, places in freed:
        transaction.on_commit(partial(forget_gone, offer_id))
        publish(OfferFreed(offer_id=offer_id, places=places, at=moment), key=f"offer:{offer_id}")
