"""How an order came to its total, which sources paid it, and what went back to each: the shopper's own bill."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from shop.models import EffectReversal, Order, OrderDiscount, OrderLine, Payment, Refund
from shop.queries.pricing import Saving, step_label

WECHAT = "wechat"  # all ways of WeChat Pay: to the shopper they are one
BUNDLE = "bundle"  # what the parts of a bundle cost less together: part of its price, not a saving
STAFF = "staff"  # taken off by a person (see services.desk)
STEPS = ("member", "offer", "promotion", "coupon", "points", "shipping", STAFF)


@dataclass(frozen=True, slots=True)
class Source:
    """Money (fen) from or back to one source; `is_done` False: on its way back. `why`: it was not the order's."""

    kind: str
    amount_fen: int
    card_end: str = ""
    is_done: bool = True
    why: str = ""

    @property
    def label(self) -> str:
        return (
            self.why
            or {
                WECHAT: _("WeChat Pay"),
                Payment.STORED_VALUE: _("Balance"),
                Payment.GIFT_CARD: _("Gift card …%(end)s") % {"end": self.card_end},
            }[self.kind]
        )


@dataclass(frozen=True, slots=True)
class OrderMoney:
    """`savings` by rule, without gifts; `other_off_fen` what older orders took off without saying why; `not_taken`
    what she paid twice or too late and gets back.
    """

    goods_fen: int
    savings: list[Saving] = field(default_factory=list)
    other_off_fen: int = 0
    paid: list[Source] = field(default_factory=list)
    back: list[Source] = field(default_factory=list)
    not_taken: list[Source] = field(default_factory=list)
    points_used: int = 0
    points_back: int = 0


def order_money(order: Order) -> OrderMoney:
    """Of one order with its lines at hand. At most four statements: none for what the order does not have."""
    gifts = [line for line in order.lines.all() if line.kind == OrderLine.GIFT]
    gifts_fen = sum(line.unit_price_fen * line.quantity for line in gifts)
    rows = list(OrderDiscount.objects.filter(order=order).order_by("pk")) if order.discount_fen else []
    of_gifts = {line.pk for line in gifts}
    bundled_fen = sum(row.amount_fen for row in rows if row.step == BUNDLE)
    in_goods = [row for row in rows if row.line_id not in of_gifts and row.step != BUNDLE]
    refunds = [] if order.status == Order.PENDING_PAYMENT else _refunds(order)
    payments = _payments(order) if order.paid_at else []
    # Paid twice, late, or wrongly: not the order's money, also while WeChat refuses to take it back.
    not_hers = {one.payment_id: one for one in refunds if one.kind != Refund.ORDER}
    refunds = [one for one in refunds if one.status != Refund.CLOSED]
    returned = order.points_used and any(one.status == Refund.SUCCESS for one in refunds)
    return OrderMoney(
        goods_fen=order.items_fen - gifts_fen - bundled_fen,
        savings=_savings(in_goods),
        other_off_fen=order.discount_fen - sum(row.amount_fen for row in rows),
        paid=_sources((one, one.paid_fen, True) for one in payments if one.pk not in not_hers),
        back=refund_sources(one for one in refunds if one.kind == Refund.ORDER),
        not_taken=[
            Source(
                WECHAT,
                one.amount_fen,
                is_done=one.status == Refund.SUCCESS,
                why=str(one.get_kind_display()),
            )
            for one in not_hers.values()
        ],
        points_used=order.points_used,
        points_back=points_back(EffectReversal.objects.filter(order=order)) if returned else 0,
    )


def _refunds(order: Order) -> list[Refund]:
    refunds = Refund.objects.filter(order=order)
    return list(refunds.select_related("payment__gift_card").order_by("pk"))


def _payments(order: Order) -> list[Payment]:
    payments = Payment.objects.filter(order=order, status=Payment.PAID, amount_fen__gt=0)
    return list(payments.select_related("gift_card").order_by("pk"))


def aftersale_money(order: Order, aftersale_id: int) -> OrderMoney:
    """What one after-sale gave back, by source, and the points that went with it. Two statements."""
    refunds = list(
        Refund.objects.filter(aftersale_id=aftersale_id)
        .exclude(status=Refund.CLOSED)
        .select_related("payment__gift_card")
        .order_by("pk")
    )
    causes = [f"refund:{one.pk}" for one in refunds]
    reversals = EffectReversal.objects.filter(order=order, cause__in=causes)
    return OrderMoney(
        goods_fen=0,
        back=refund_sources(refunds),
        points_back=points_back(reversals) if order.points_used else 0,
    )


def refund_sources(refunds: Iterable[Refund]) -> list[Source]:
    """Refunds by where the money goes; `payment__gift_card` at hand."""
    return _sources(
        (one.payment, one.amount_fen, one.status == Refund.SUCCESS) for one in refunds if one.amount_fen
    )


def points_back(reversals: Iterable[EffectReversal]) -> int:
    return sum(one.points for one in reversals)


def _savings(rows: Iterable[OrderDiscount]) -> list[Saving]:
    sums: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.step, row.source, row.title)
        sums[key] = sums.get(key, 0) + row.amount_fen
    return [
        Saving(step, source, title or saving_label(step), amount)
        for (step, source, title), amount in sorted(sums.items(), key=lambda one: _place(one[0][0]))
    ]


def _place(step: str) -> int:
    return STEPS.index(step) if step in STEPS else len(STEPS)


def saving_label(step: str) -> str:
    """The word on the badge of a saving."""
    return step_label(step) if step in STEPS and step != STAFF else _("From the shop")


def _sources(parts: Iterable[tuple[Payment, int, bool]]) -> list[Source]:
    """Added up by source, in the order in which they come."""
    sums: dict[tuple[str, str, bool], int] = {}
    for payment, amount_fen, is_done in parts:
        card_end = payment.gift_card.code_end if payment.gift_card else ""
        key = (WECHAT if payment.is_wechat else payment.kind, card_end, is_done)
        sums[key] = sums.get(key, 0) + amount_fen
    return [Source(kind, amount, end, is_done) for (kind, end, is_done), amount in sums.items()]
