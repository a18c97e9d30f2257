"""Money that goes back, and every effect of an order with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from core import clock, money
from core.events import backoff, publish
from core.locks import lock_row
from crm import services as crm_services
from shop import aftersales_rules, rules
from shop.errors import BadQuantity, NoSuchOrder, NothingToRefund, WrongState
from shop.events import OrderReceived, OrderRefunded, OrderShipped
from shop.models import (
    AfterSaleLine,
    Fulfilment,
    Order,
    OrderLine,
    Payment,
    Refund,
    RefundLine,
    StockMovement,
)
from shop.queries.vouchers import redeemed_of
from shop.services.aftersales_steps import follow_refund
from shop.services.effects import return_points, reverse_effects
from shop.services.fulfilment import complete_order
from shop.services.messages import tell_buyer
from shop.services.order_log import write_log
from shop.services.orders import held_lines
from shop.services.payments import notify_url
from shop.services.refund_requests import request_refund
from shop.services.stock import Move, move_stock
from shop.services.tenders import give_back
from shop.services.virtual import free_returned_pieces, piece_lines, restore_pieces, withdraw_pieces
from wechat import errors as wechat_errors
from wechat import services as wechat_services

log = structlog.get_logger(__name__)

# How often to ask about a refund that WeChat is working on; its notice usually comes within a minute.
ASK_AGAIN = timedelta(minutes=10)
# Money goes back to WeChat first, as far as WeChat took it; then to stored value; then to the gift card.
SOURCES = (*Payment.WECHAT, Payment.STORED_VALUE, Payment.GIFT_CARD, Payment.NONE)
UNDER_WAY = (Refund.PENDING, Refund.PROCESSING, Refund.ABNORMAL)


@transaction.atomic
def refund_order(*, order_id: int, reason: str, by: str = "", user_id: int | None = None) -> Refund:
    """Give back all of the order's money that is left. It may not be shipped from now on.

    Locks: order, payment. Idempotent: the refund under way is returned. Raises NoSuchOrder, WrongState.
    """
    order = _locked(order_id)
    under_way = order.refunds.filter(kind=Refund.ORDER, status__in=UNDER_WAY).order_by("pk").last()
    lines = _lines_of(order)
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
        _lines_of(order),
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


def _lines_of(order: Order) -> list[OrderLine]:
    return list(OrderLine.objects.filter(order_id=order.pk).order_by("pk"))


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
    is_rest = not any(line.quantity > line.refunded_quantity for line in _lines_of(order))
    if order.status == Order.PAID or is_rest:
        order.refund_requested_at = clock.now()
        order.save(update_fields=["refund_requested_at"])
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
        _settle_inside(order, inside)
    return refunds


def _settle_inside(order: Order, refunds: Sequence[Refund]) -> None:
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

    Locks: order, payment. Idempotent: the repetition under way is returned. Raises NothingToRefund, WrongState.
    """
    closed = Refund.objects.select_related("payment").get(pk=refund_id)
    order = _locked(closed.order_id)
    if closed.status != Refund.CLOSED:
        raise WrongState(_("Only a refund that WeChat Pay closed is asked for anew."))
    live = Refund.objects.filter(payment=closed.payment, cause=closed.cause).exclude(status=Refund.CLOSED)
    if known := live.first():
        return known
    rows = list(closed.lines.select_related("line"))
    for row in rows:
        _claim(order, _Part(row.line, row.quantity, row.amount_fen))
    if closed.kind == Refund.ORDER and order.status == Order.PAID:
        order.refund_requested_at = clock.now()
        order.save(update_fields=["refund_requested_at"])
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


def send_refunds(*, limit: int = 50) -> int:
    """Send refunds that are due, or ask about those under way; returns how many got an answer.

    Network, outside transactions. Every attempt uses the refund's own number, so an unclear answer is asked again
    without risk. Claimed by a conditional update.
    """
    moment = clock.now()
    due = Refund.objects.filter(status__in=[Refund.PENDING, Refund.PROCESSING], next_attempt_at__lte=moment)
    answered = 0
    for refund in list(due.select_related("payment__account").order_by("next_attempt_at")[:limit]):
        claimed = Refund.objects.filter(
            pk=refund.pk, status=refund.status, attempts=refund.attempts, next_attempt_at__lte=moment
        ).update(
            attempts=refund.attempts + 1,
            next_attempt_at=clock.now() + max(backoff(min(refund.attempts + 1, 12)), timedelta(minutes=1)),
        )
        if claimed:
            answered += _send(refund)
    return answered


def _send(refund: Refund) -> bool:
    payment = refund.payment
    assert payment.account is not None, "only money at WeChat is sent back through it"
    try:
        if refund.status == Refund.PROCESSING:
            state = wechat_services.query_refund(
                account_id=payment.account.pk, out_refund_no=refund.out_refund_no
            )
        else:
            state = wechat_services.refund_payment(
                account_id=payment.account.pk,
                out_trade_no=payment.out_trade_no,
                out_refund_no=refund.out_refund_no,
                refund_fen=refund.amount_fen,
                total_fen=payment.paid_fen,
                reason=refund.reason,
                notify_url=notify_url(payment.account.key),
            )
    except wechat_errors.PlatformError as error:
        log.warning("refund not answered", refund=refund.pk, code=error.code, detail=error.detail)
        Refund.objects.filter(pk=refund.pk).update(last_error=f"{error.code}: {error.message}"[:300])
        return False
    confirm_refund(
        out_refund_no=refund.out_refund_no,
        refund_id=state.refund_id,
        status=state.status,
        refund_fen=state.refund_fen,
    )
    return True


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
    if refund.status in (Refund.SUCCESS, Refund.CLOSED):
        return refund
    if refund_fen != refund.amount_fen or account_id not in (None, refund.payment.account_id):
        refund.last_error = _("WeChat says ¥%(said)s, ours is ¥%(amount)s") % {
            "said": money.yuan(refund_fen),
            "amount": money.yuan(refund.amount_fen),
        }
        refund.save(update_fields=["last_error"])
        log.error("refund does not match", refund=refund.pk, order=order.pk)
        return refund
    refund.refund_id = refund_id or refund.refund_id
    moment = at or clock.now()
    if status == "SUCCESS":
        refund.status, refund.refunded_at, refund.next_attempt_at = Refund.SUCCESS, moment, None
        refund.last_error = ""
        if refund.kind == Refund.ORDER:
            _reverse(order, [refund], moment)
        write_log(order, "refunded", actor=refund.actor or "system", note=money.yuan(refund.amount_fen))
    elif status == "PROCESSING":
        refund.status, refund.last_error = Refund.PROCESSING, ""
        refund.next_attempt_at = clock.now() + ASK_AGAIN
    elif refund.status != Refund.ABNORMAL or status == "CLOSED":
        _note_failure(order, refund, status)
    refund.save(update_fields=["status", "refund_id", "refunded_at", "next_attempt_at", "last_error"])
    if refund.status in (Refund.SUCCESS, Refund.CLOSED):
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
    for refund in refunds:
        _announce(order, refund, at, is_whole=is_whole and refund == refunds[-1])
    for refund in refunds:
        return_points(order, cause=_cause(refund))


def _announce(order: Order, refund: Refund, at: datetime, *, is_whole: bool) -> None:
    tell_buyer(
        order,
        refund.payment,
        key=f"refunded-{refund.pk}",
        text=_("Order %(number)s: ¥%(amount)s was returned to you.")
        % {"number": order.number, "amount": money.yuan(refund.amount_fen)},
    )
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
        line.store_id for line in _lines_of(order) if line.store_id and pieces.get(line.pk, 0) < line.quantity
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


def _note_failure(order: Order, refund: Refund, status: str) -> None:
    """CLOSED: refused, it may be asked for anew. ABNORMAL: money hangs at the bank, settle it at WeChat Pay."""
    refund.next_attempt_at = None
    if status == "CLOSED":
        refund.status, refund.last_error = Refund.CLOSED, _("WeChat Pay closed this refund.")
        _free(order, refund)
        if refund.kind == Refund.ORDER:
            _resume(order, [refund])
            order.save(update_fields=["refund_requested_at"])
    else:
        refund.status = Refund.ABNORMAL
        refund.last_error = _(
            "The money cannot reach the buyer's account; settle it in WeChat Pay's merchant page."
        )
    write_log(order, "refund_failed", actor="system", note=refund.last_error)


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
