"""A member's vouchers, and what an order delivers without a parcel."""

from dataclasses import dataclass, field

from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _

from core import clock
from core.errors import NotFound
from shop.models import GoodsTerms, Order, OrderLine, Sku, Voucher

MOST_SHOWN = 100


def redeemed_of(order_id: int) -> dict[int, int]:
    """Order line → how many of its vouchers were redeemed: these pieces cannot be given back. One statement."""
    used = Voucher.objects.filter(line__order_id=order_id, state=Voucher.REDEEMED)
    return dict(used.values_list("line_id").annotate(count=Count("pk")).order_by())


def lines_with_unused_vouchers(order_id: int) -> set[int]:
    """The lines of which somebody may still redeem a voucher: their money may be asked back as long. One statement."""
    unused = Voucher.objects.filter(line__order_id=order_id, state=Voucher.UNUSED, expires_at__gt=clock.now())
    return set(unused.values_list("line_id", flat=True))


def _vouchers() -> QuerySet[Voucher]:
    return Voucher.objects.select_related("line__order", "line__sku__terms", "store").prefetch_related(
        "line__sku__terms__stores"
    )


def vouchers_of(member_id: int) -> list[Voucher]:
    """A member's vouchers: those that can be used first, soonest to end first. Two statements."""
    mine = _vouchers().filter(line__order__member_id=member_id).order_by("-pk")[:MOST_SHOWN]
    usable = sorted((one for one in mine if is_usable(one)), key=lambda one: (one.expires_at, one.pk))
    return usable + [one for one in mine if not is_usable(one)]


def is_usable(voucher: Voucher) -> bool:
    return voucher.state == Voucher.UNUSED and voucher.expires_at > clock.now()


def voucher_for(pk: int, *, member_id: int) -> Voucher:
    """One of her own. Raises NotFound, also for another member's."""
    found = _vouchers().filter(pk=pk, line__order__member_id=member_id).first()
    if found is None:
        raise NotFound(_("This voucher does not exist."))
    return found


def redeemed_here(store_id: int) -> list[Voucher]:
    """What a store redeemed last, newest first. Two statements."""
    return list(_vouchers().filter(store_id=store_id, state=Voucher.REDEEMED).order_by("-redeemed_at")[:20])


@dataclass(frozen=True, slots=True)
class DeliveredLine:
    """What a paid order line delivers: its text, its codes in plain words, or its vouchers."""

    line: OrderLine
    text: str
    codes: list[str] = field(default_factory=list)
    vouchers: list[Voucher] = field(default_factory=list)


def delivered_of(order: Order) -> list[DeliveredLine]:
    """The lines of a paid order that are no parcel, without what was given back. Four statements, one without any."""
    if order.paid_at is None:
        return []
    lines = (
        OrderLine.objects.filter(order=order, store__isnull=True, sku__supply=Sku.PIECES)
        .select_related("sku__terms")
        .prefetch_related("codes", "vouchers__store", "sku__terms__stores")
        .order_by("pk")
    )
    for line in lines:
        line.order = order
    return [
        DeliveredLine(
            line,
            line.sku.terms.text,
            [code.code for code in line.codes.all() if code.state == code.GIVEN],
            sorted(line.vouchers.all(), key=lambda one: one.number),
        )
        for line in lines
        if line.quantity > line.refunded_quantity or line.sku.terms.delivers == GoodsTerms.VOUCHER
    ]


def voucher_name(pk: int) -> str:
    """What a voucher is good for, in words; "" for one that is not there."""
    found = Voucher.objects.filter(pk=pk).values_list("line__product_name", flat=True).first()
    return found or ""
