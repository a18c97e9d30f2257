"""Money that is to go back: how much of what, to which source, and that never more than there is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock, money
from core.locks import lock_row
from shop import aftersales_rules, rules
from shop.errors import BadQuantity, NoSuchOrder, NothingToRefund, WrongState
from shop.models import (
    AfterSaleLine,
    Fulfilment,
    Order,
    OrderLine,
    Payment,
    Refund,
    RefundLine,
)
from shop.queries.vouchers import redeemed_of
from shop.services.aftersales_steps import under_way_again
from shop.services.order_log import write_log
from shop.services.refund_requests import request_refund
from shop.services.refunds_booked import UNDER_WAY, lines_of, settle_inside
from shop.services.virtual import withdraw_pieces

# Money goes back to WeChat first, as far as WeChat took it; then to stored value; then to the gift card.
SOURCES = (*Payment.WECHAT, Payment.STORED_VALUE, Payment.GIFT_CARD, Payment.NONE)


@transaction.atomic
def refund_order(*, order_id: int, reason: str, by: str = "", user_id: int | None = None) -> Refund:
    """Give back all of the order's money that is left. It may not be shipped from now on.

    Locks: order, payment. Idempotent: the refund under way is returned. Raises NoSuchOrder, WrongState.
    """
    order = _locked(order_id)
    under_way = order.refunds.filter(kind=Refund.ORDER, status__in=UNDER_WAY).order_by("pk").last()
    lines = lines_of(order)
    used = redeemed_of(order.pk)
    parts = [(line.pk, line.quantity - line.refunded_quantity - used.get(line.pk, 0)) for line in lines]
    if under_way is not None and not any(quantity for _line, quantity in parts):
        return under_way
    refunds = _refund(
        order, lines, parts, {}, _shipping_left(order, lines), reason=reason, by=by, user_id=user_id
    )
    return refunds[0]


@transaction.atomic
def refund_lines(
    *,
    order_id: int,
    parts: Sequence[tuple[int, int]] = (),
    shipping_fen: int = 0,
    cuts: Mapping[int, int] | None = None,
    reason: str,
    by: str = "",
    user_id: int | None = None,
    cause: str = "",
    aftersale_id: int | None = None,
) -> list[Refund]:
    """Give back pieces of lines, (line id, quantity) each, and part of the shipping; one refund per payment touched.

    What a piece is worth is its exact part of what its line cost (`aftersales_rules.share_fen`). `cuts` is money
    without goods: line id → fen (price protection). Gifts without a price follow the last paid piece, shipping the
    last piece of an order that was not shipped. Effects are reversed when WeChat says that the money is back.
    Locks: order, payment. Idempotent on: cause, when given. Raises NoSuchOrder, WrongState, NothingToRefund,
    BadQuantity.
    """
    order = _locked(order_id)
    if cause:
        known = order.refunds.filter(kind=Refund.ORDER, cause=cause).exclude(status=Refund.CLOSED)
        if refunds := list(known.order_by("pk")):
            return refunds
    return _refund(
        order,
        lines_of(order),
        parts,
        cuts or {},
        shipping_fen,
        reason=reason,
        by=by,
        user_id=user_id,
        cause=cause,
        aftersale_id=aftersale_id,
    )


def _locked(order_id: int) -> Order:
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    return order


def _shipping_left(order: Order, lines: Sequence[OrderLine]) -> int:
    """What of the shipping was paid and not given back; a discount on shipping is not among the lines'."""
    return order.total_fen - sum(line.total_fen for line in lines) - order.refunded_shipping_fen


@dataclass
class _Part:
    """Something that goes back: pieces of a line, or shipping (`line` None)."""

    line: OrderLine | None
    quantity: int
    amount_fen: int


def _refund(
    order: Order,
    lines: Sequence[OrderLine],
    wanted: Iterable[tuple[int, int]],
    cuts: Mapping[int, int],
    shipping_fen: int,
    *,
    reason: str,
    by: str,
    user_id: int | None,
    cause: str = "",
    aftersale_id: int | None = None,
) -> list[Refund]:
    if order.status not in (Order.PAID, Order.SHIPPED, Order.RECEIVED) or not _sources(order):
        raise WrongState(
            _("Only orders that were paid here can be refunded; this one is: %(status)s.")
            % {"status": order.status_label}
        )
    parts = _parts(order, lines, wanted, cuts, shipping_fen)
    amount = sum(part.amount_fen for part in parts)
    if not parts:
        raise NothingToRefund(_("There is nothing to give back: it is already back, or on its way."))
    sources = _sources(order)
    try:
        pours = aftersales_rules.poured(amount, [one.paid_fen - one.refunded_fen for one in sources])
    except ValueError:
        raise NothingToRefund(_("There is less money left than that.")) from None
    for part in parts:
        _claim(order, part)
    order.refresh_from_db(fields=["refunded_shipping_fen"])
    _stop(order)
    write_log(order, "refund_requested", actor=by, user_id=user_id, note=f"¥{money.yuan(amount)} {reason}")
    cause = cause or f"order:{order.refunds.count() + 1}"
    refunds: list[Refund] = []
    for payment, pour in zip(sources, pours, strict=True):
        if pour or (amount == 0 and not refunds):  # pieces that cost nothing go back all the same
            refund = request_refund(
                order,
                payment,
                kind=Refund.ORDER,
                reason=reason,
                actor=by,
                user_id=user_id,
                amount_fen=pour,
                cause=cause,
                aftersale_id=aftersale_id,
            )
            RefundLine.objects.bulk_create(_taken(parts, refund))
            refunds.append(refund)
    inside = [one for one in refunds if one.amount_fen == 0 or not one.payment.is_wechat]
    if inside:
        settle_inside(order, inside)
    return refunds


def _parts(
    order: Order,
    lines: Sequence[OrderLine],
    wanted: Iterable[tuple[int, int]],
    cuts: Mapping[int, int],
    shipping_fen: int,
) -> list[_Part]:
    """What goes back with its exact amounts. Raises BadQuantity, NothingToRefund."""
    quantities: dict[int, int] = {}
    for line_id, quantity in wanted:
        quantities[line_id] = quantities.get(line_id, 0) + quantity
    known = {line.pk for line in lines}
    if any(line_id not in known for line_id in (*quantities, *cuts)):
        raise NoSuchOrder(_("This order has no such line."))
    if any(quantity < 0 for quantity in quantities.values()) or any(cut < 0 for cut in cuts.values()):
        raise BadQuantity(_("Choose between 1 and %(most)d pieces.") % {"most": rules.MAX_QUANTITY})
    left = {line.pk: line.quantity - line.refunded_quantity - quantities.get(line.pk, 0) for line in lines}
    if any(count < 0 for count in left.values()):
        raise NothingToRefund(_("So many pieces are not left: some are already back, or on their way."))
    if not any(left[line.pk] for line in lines if line.total_fen > 0):
        # Nothing paid stays with the buyer: what was given along follows it, unless it was redeemed in a store.
        used = redeemed_of(order.pk)
        quantities |= {
            line.pk: line.quantity - line.refunded_quantity - used.get(line.pk, 0)
            for line in lines
            if line.total_fen == 0
        }
        left |= {line.pk: 0 for line in lines if line.total_fen == 0}
    if order.status == Order.PAID and not any(left.values()) and not has_left(order):
        shipping_fen = _shipping_left(order, lines)
    if not 0 <= shipping_fen <= _shipping_left(order, lines):
        raise NothingToRefund(
            _("Of the shipping ¥%(left)s is left.") % {"left": money.yuan(_shipping_left(order, lines))}
        )
    parts = []
    for line in lines:
        quantity, cut = quantities.get(line.pk, 0), cuts.get(line.pk, 0)
        share = aftersales_rules.share_fen(
            total_fen=line.total_fen,
            quantity=line.quantity,
            refunded_fen=line.refunded_fen + cut,
            refunded_quantity=line.refunded_quantity,
            returning=quantity,
        ) if line.refunded_fen + cut <= line.total_fen else -1  # fmt: skip
        if share < 0 or (cut and left[line.pk] and line.refunded_fen + cut + share >= line.total_fen):
            raise NothingToRefund(_("A line that stays with the buyer cannot be given back as a whole."))
        if quantity or cut:
            parts.append(_Part(line, quantity, share + cut))
    if shipping_fen:
        parts.append(_Part(None, 0, shipping_fen))
    return parts


def has_left(order: Order) -> bool:
    """Whether any store has sent off or handed over its part."""
    return order.fulfilments.filter(state__in=Fulfilment.GONE).exists()


def _sources(order: Order) -> list[Payment]:
    """The order's own payments in the order in which they are given back; what was paid twice or late is not among
    them, also when WeChat refused to return it.
    """
    other = order.refunds.exclude(kind=Refund.ORDER)
    paid = order.payments.filter(status=Payment.PAID).exclude(pk__in=other.values("payment_id"))
    return sorted(paid, key=lambda payment: (SOURCES.index(payment.kind), payment.pk))


def _claim(order: Order, part: _Part) -> None:
    """Count pieces and money as given back, guarded: never more than the line has, whoever else is doing it."""
    if part.line is not None and part.quantity:
        _refuse_what_is_exchanged(part.line, part.quantity)
    if part.line is None:
        claimed = Order.objects.filter(
            pk=order.pk, refunded_shipping_fen__lte=F("shipping_fen") - part.amount_fen
        ).update(refunded_shipping_fen=F("refunded_shipping_fen") + part.amount_fen)
    else:
        claimed = OrderLine.objects.filter(
            pk=part.line.pk,
            refunded_quantity__lte=F("quantity") - part.quantity,
            refunded_fen__lte=F("total_fen") - part.amount_fen,
        ).update(
            refunded_quantity=F("refunded_quantity") + part.quantity,
            refunded_fen=F("refunded_fen") + part.amount_fen,
        )
    if not claimed:
        raise NothingToRefund(_("So many pieces are not left: some are already back, or on their way."))
    if part.line is not None:
        withdraw_pieces(part.line, part.quantity)


def _stop(order: Order) -> None:
    """What is not sent off waits for the refund; so does the receipt of an order of which nothing stays with her."""
    if order.status == Order.PAID or not any(
        line.quantity > line.refunded_quantity for line in lines_of(order)
    ):
        order.refund_requested_at = clock.now()
        order.save(update_fields=["refund_requested_at"])


def _refuse_what_is_exchanged(line: OrderLine, quantity: int) -> None:
    """Nobody gets the money and other goods as well. Raises WrongState."""
    row = AfterSaleLine.objects.filter(
        line_id=line.pk,
        is_open=True,
        aftersale__kind=aftersales_rules.EXCHANGE,
        aftersale__status__in=aftersales_rules.PROMISED,
    ).first()
    if row is not None and line.quantity - line.refunded_quantity - row.quantity < quantity:
        raise WrongState(
            _("%(name)s: %(count)d pieces are being exchanged. Please end the exchange first.")
            % {"name": line.product_name, "count": row.quantity},
            code="exchanged",
        )


def _taken(parts: list[_Part], refund: Refund) -> list[RefundLine]:
    """The rows of one refund, taken from the front of what is still to be given; pieces go with their first fen."""
    rows, room = [], refund.amount_fen
    for part in parts:
        if part.amount_fen and not room:
            break
        amount = min(part.amount_fen, room)
        if amount or part.quantity:
            rows.append(RefundLine(refund=refund, line=part.line, quantity=part.quantity, amount_fen=amount))
            part.amount_fen, part.quantity, room = part.amount_fen - amount, 0, room - amount
    return rows


@transaction.atomic
def repeat_refund(*, refund_id: int, by: str = "", user_id: int | None = None) -> Refund:
    """Ask once more for exactly what a refund that WeChat closed should have given back, under a new number.

    Its after-sale is refunding again. Locks: order, payment. Idempotent: the repetition under way is returned. Raises
    NothingToRefund, WrongState.
    """
    closed = Refund.objects.select_related("payment", "aftersale").get(pk=refund_id)
    order = _locked(closed.order_id)
    if closed.status != Refund.CLOSED:
        raise WrongState(_("Only a refund that WeChat Pay closed is asked for anew."))
    live = Refund.objects.filter(payment=closed.payment, cause=closed.cause).exclude(status=Refund.CLOSED)
    if known := live.first():
        return known
    under_way_again(closed, actor=by, user_id=user_id)
    rows = list(closed.lines.select_related("line"))
    for row in rows:
        _claim(order, _Part(row.line, row.quantity, row.amount_fen))
    if closed.kind == Refund.ORDER:
        _stop(order)
    refund = request_refund(
        order,
        closed.payment,
        kind=closed.kind,
        reason=closed.reason,
        actor=by,
        user_id=user_id,
        amount_fen=closed.amount_fen,
        cause=closed.cause,
        aftersale_id=closed.aftersale_id,
    )
    RefundLine.objects.bulk_create(
        RefundLine(refund=refund, line=row.line, quantity=row.quantity, amount_fen=row.amount_fen)
        for row in rows
    )
    write_log(order, "refund_requested", actor=by, user_id=user_id, note=f"¥{money.yuan(refund.amount_fen)}")
    return refund


@transaction.atomic
def refund_mismatch(*, payment_id: int, by: str = "", user_id: int | None = None) -> Refund:
    """Give back money that did not match its order, decided by an operator.

    Locks: order. Idempotent on: payment. Raises WrongState.
    """
    order = lock_row(Order.objects.filter(payments=payment_id))
    payment = Payment.objects.filter(pk=payment_id).first()
    if payment is None or order is None or payment.status != Payment.MISMATCH or payment.paid_fen <= 0:
        raise WrongState(_("Only money that did not match its order can be returned here."))
    write_log(order, "refund_requested", actor=by, user_id=user_id, note=payment.out_trade_no)
    return request_refund(
        order, payment, kind=Refund.MISMATCH, reason=_("Amount did not match"), actor=by, user_id=user_id
    )


@transaction.atomic
def retry_refunds(*, refund_ids: list[int], by: str = "", user_id: int | None = None) -> int:
    """Send again at once what waits or hangs, with the same number, and ask anew for what WeChat refused, unless an
    after-sale does that (`pay_back`); returns how many. Idempotent. Raises as `repeat_refund`, then nothing is done.
    """
    moment = clock.now()
    refused = Refund.objects.filter(pk__in=refund_ids, status=Refund.CLOSED, aftersale=None).order_by(
        "order", "pk"
    )
    for refund_id in list(refused.values_list("pk", flat=True)):
        repeat_refund(refund_id=refund_id, by=by, user_id=user_id)
    waiting = Refund.objects.filter(pk__in=refund_ids, status__in=[Refund.PENDING, Refund.PROCESSING])
    hanging = Refund.objects.filter(pk__in=refund_ids, status=Refund.ABNORMAL)
    return (
        len(refused)
        + waiting.update(next_attempt_at=moment)
        + hanging.update(status=Refund.PROCESSING, next_attempt_at=moment)
    )
