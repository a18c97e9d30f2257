"""Refunds that are sent, asked about and booked; with the money goes back what the order had brought about."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from core import clock, money
from core.events import publish
from core.locks import lock_row
from crm import services as crm_services
from shop import aftersales_rules, rules
from shop.errors import NoSuchOrder
from shop.events import OrderReceived, OrderRefunded, OrderShipped
from shop.models import (
    Fulfilment,
    Order,
    OrderLine,
    Payment,
    Refund,
    RefundLine,
    StockMovement,
)
from shop.services.aftersales_steps import follow_refund
from shop.services.effects import return_points, reverse_effects
from shop.services.fulfilment import complete_order
from shop.services.invoices import follow_order_money
from shop.services.order_log import write_log
from shop.services.orders import held_lines
from shop.services.points import take_back_points
from shop.services.refunds_sent import note_answer, send_due
from shop.services.stock import Move, move_stock
from shop.services.tenders import give_back
from shop.services.virtual import free_returned_pieces, piece_lines, restore_pieces

UNDER_WAY = (Refund.PENDING, Refund.PROCESSING, Refund.ABNORMAL)


def lines_of(order: Order) -> list[OrderLine]:
    return list(OrderLine.objects.filter(order_id=order.pk).order_by("pk"))


def settle_inside(order: Order, refunds: Sequence[Refund]) -> None:
    """What the shop itself keeps for the member (stored value, a gift card) is back at once; so is nothing at all."""
    moment = clock.now()
    for refund in refunds:
        refund.status, refund.refunded_at, refund.next_attempt_at = Refund.SUCCESS, moment, None
        refund.save(update_fields=["status", "refunded_at", "next_attempt_at"])
    _reverse(order, refunds, moment)
    for refund in refunds:
        if refund.amount_fen:  # the ledger comes last in the order of locks
            give_back(payment_id=refund.payment_id, amount_fen=refund.amount_fen, cause=_cause(refund))
        write_log(order, "refunded", actor=refund.actor or "system", note=money.yuan(refund.amount_fen))
        follow_refund(refund)


def _cause(refund: Refund) -> str:
    return f"refund:{refund.pk}"


def send_refunds(*, limit: int = 50) -> int:
    """Send refunds that are due, or ask about those under way; returns how many got an answer. Network."""
    return send_due(Refund.objects.all(), confirm_refund, limit=limit)


@transaction.atomic
def confirm_refund(
    *,
    out_refund_no: str,
    refund_id: str,
    status: str,
    refund_fen: int,
    at: datetime | None = None,
    account_id: int | None = None,
) -> Refund:
    """Book what WeChat says about a refund: SUCCESS, PROCESSING, ABNORMAL or CLOSED.

    Locks: order, refund, then stock, memberstats. Idempotent; a late PROCESSING never undoes a SUCCESS.
    Publishes: OrderRefunded. Raises NoSuchOrder when the number is not ours.
    """
    order_id = Refund.objects.filter(out_refund_no=out_refund_no).values_list("order_id", flat=True).first()
    order = lock_row(Order.objects.filter(pk=order_id or 0))
    refund = lock_row(Refund.objects.filter(out_refund_no=out_refund_no))
    if order is None or refund is None:
        raise NoSuchOrder(_("No refund has the number %(number)s.") % {"number": out_refund_no})
    now = note_answer(
        refund, refund_id=refund_id, status=status, refund_fen=refund_fen, at=at, account_id=account_id
    )
    if now == Refund.SUCCESS:
        if refund.kind == Refund.ORDER:
            _reverse(order, [refund], refund.refunded_at or clock.now())
        write_log(order, "refunded", actor=refund.actor or "system", note=money.yuan(refund.amount_fen))
    elif now == Refund.CLOSED:
        _free(order, refund)
        if refund.kind == Refund.ORDER:
            _resume(order, [refund])
            order.save(update_fields=["refund_requested_at"])
    if now in (Refund.CLOSED, Refund.ABNORMAL):
        write_log(order, "refund_failed", actor="system", note=refund.last_error)
    if now in (Refund.SUCCESS, Refund.CLOSED):
        follow_refund(refund)
    return refund


def _reverse(order: Order, refunds: Sequence[Refund], at: datetime) -> None:
    """Undo what `paid` did for the parts that went back. Goods that left come back when the shop has them in hand.

    All refunds together, so that the locks come in their order: terms, stock, coupons, offers, numbers, points.
    """
    parts = {
        refund.pk: [
            (row.line, row.quantity)
            for row in refund.lines.select_related("line")
            if row.line and row.quantity
        ]
        for refund in refunds
    }
    every = [part for own in parts.values() for part in own]
    free_returned_pieces(order, every)
    if order.status == Order.PAID:
        _unreserve(order, refunds[0], every)
        _drop_empty_fulfilments(order, refunds)
    for refund in refunds:
        reverse_effects(order, parts[refund.pk], cause=_cause(refund))
    order.refunded_fen += sum(refund.amount_fen for refund in refunds)
    is_whole = (
        order.refunded_fen == order.paid_fen
        and not order.lines.filter(refunded_quantity__lt=F("quantity")).exists()
    )
    fields = ["refunded_fen", "refund_requested_at"]
    if is_whole:
        order.status, order.refunded_at, order.due_at = Order.REFUNDED, at, None
        fields += ["status", "refunded_at", "due_at"]
    else:
        _resume(order, refunds)
        fields += _follow_stores(order, at)
    order.save(update_fields=fields)
    follow_order_money(order)
    for refund in refunds:
        _announce(order, refund, at, is_whole=is_whole and refund == refunds[-1])
    take_back_points(order, refunds)
    for refund in refunds:
        return_points(order, cause=_cause(refund))


def _announce(order: Order, refund: Refund, at: datetime, *, is_whole: bool) -> None:
    if order.member_id is None:
        return
    crm_services.book_refund(member_id=order.member_id, refunded_fen=refund.amount_fen, at=at)
    crm_services.record_activity(
        member_id=order.member_id,
        kind="refunded",
        at=at,
        subject=f"order:{order.pk}",
        amount_fen=refund.amount_fen,
    )
    publish(
        OrderRefunded(
            order_id=order.pk,
            member_id=order.member_id,
            refund_fen=refund.amount_fen,
            at=at,
            refund_id=refund.pk,
            refunded_fen=order.refunded_fen,
            is_whole=is_whole,
        ),
        key=f"order:{order.pk}",
    )


def _unreserve(order: Order, refund: Refund, parts: Sequence[tuple[OrderLine, int]]) -> None:
    """Give back the stock of pieces that no store has sent off, and now none will."""
    held = {line.pk for line in held_lines(order)}
    counts: dict[tuple[int, int], int] = {}
    for line, quantity in parts:
        if line.store_id and line.pk in held:
            place = (line.sku_id, line.store_id)
            counts[place] = counts.get(place, 0) + quantity
    released = move_stock(
        [
            Move(sku_id, store_id, reserved=-quantity)
            for (sku_id, store_id), quantity in sorted(counts.items())
        ],
        cause=_cause(refund),
        reason=StockMovement.RELEASE,
        actor=refund.actor or "system",
        order_id=order.pk,
    )
    if not released:
        raise RuntimeError(f"order {order.pk} had less reserved than its lines say")


def _drop_empty_fulfilments(order: Order, refunds: Sequence[Refund]) -> None:
    """A store whose every piece was given back has nothing to hand over any more."""
    back = RefundLine.objects.filter(
        Q(refund__status=Refund.SUCCESS) | Q(refund__in=refunds), refund__order=order, line__isnull=False
    )
    pieces = dict(back.values_list("line_id").annotate(count=Sum("quantity")).order_by())
    waiting = {
        line.store_id for line in lines_of(order) if line.store_id and pieces.get(line.pk, 0) < line.quantity
    }
    order.fulfilments.filter(state__in=Fulfilment.OPEN).exclude(store_id__in=waiting).update(
        state=Fulfilment.CANCELLED, due_at=None
    )


def _follow_stores(order: Order, at: datetime) -> list[str]:
    """What is left of a paid order has all left its stores already: the order is shipped, or received at the counter.

    Returns the columns that changed.
    """
    states = set(order.fulfilments.values_list("state", flat=True))
    if order.status == Order.PAID and not states - {Fulfilment.CANCELLED}:
        if any(line.quantity > line.refunded_quantity for line in piece_lines(order.pk)):
            complete_order(order, at=at)  # no parcel is left, what was delivered with the payment stays
        return []
    if order.status != Order.PAID or states & set(Fulfilment.OPEN) or not states & set(Fulfilment.GONE):
        return []
    order.shipped_at = at
    event: OrderShipped | OrderReceived
    if Fulfilment.SHIPPED in states:
        order.status, order.due_at = Order.SHIPPED, at + rules.RECEIPT_TIME
        event = OrderShipped(order_id=order.pk, member_id=order.member_id or 0, at=at)
    else:
        order.status, order.received_at = Order.RECEIVED, at
        order.due_at = at + aftersales_rules.REVIEW_AFTER
        event = OrderReceived(order_id=order.pk, member_id=order.member_id or 0, at=at)
    if order.member_id:
        publish(event, key=f"order:{order.pk}")
    return ["status", "shipped_at", "received_at", "due_at"]


def _others_under_way(order: Order, refunds: Sequence[Refund]) -> QuerySet[Refund]:
    mine = [refund.pk for refund in refunds]
    return order.refunds.filter(kind=Refund.ORDER, status__in=UNDER_WAY).exclude(pk__in=mine)


def _resume(order: Order, refunds: Sequence[Refund]) -> None:
    """The rest of the order may go on, once no other refund holds it."""
    if not _others_under_way(order, refunds).exists():
        order.refund_requested_at = None


def _free(order: Order, refund: Refund) -> None:
    """Give up what a refund has claimed of its payment and of the order's lines."""
    Payment.objects.filter(pk=refund.payment_id).update(refunded_fen=F("refunded_fen") - refund.amount_fen)
    for row in refund.lines.select_related("line"):
        if row.line is None:
            Order.objects.filter(pk=order.pk).update(
                refunded_shipping_fen=F("refunded_shipping_fen") - row.amount_fen
            )
        else:
            OrderLine.objects.filter(pk=row.line.pk).update(
                refunded_quantity=F("refunded_quantity") - row.quantity,
                refunded_fen=F("refunded_fen") - row.amount_fen,
            )
            restore_pieces(row.line, row.quantity)
