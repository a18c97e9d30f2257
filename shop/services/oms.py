"""What other systems of a store tell: many changes of stock at once, and sales over the counter."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import advisory_lock
from crm import queries as crm_queries
from crm import services as crm_services
from shop import rules
from shop.errors import BadQuantity, BadSale, StockRefused
from shop.events import OrderPaid
from shop.models import Order, OrderDiscount, OrderLine, Sku, Stock, StockMovement
from shop.pricing.types import Discount, Quote, QuotedLine
from shop.services.bundles import Packed, keep_bundles, take_apart
from shop.services.order_log import write_log
from shop.services.stock import Move, move_stock, refuse_without_stock

OLDEST_SALE = timedelta(days=400)
MOST_FEN = 10_000_000_000


@dataclass(frozen=True)
class SoldLine:
    """One line of a receipt; `total_fen` is what was paid for it, discounts of the till taken off."""

    sku_id: int
    quantity: int
    total_fen: int


@transaction.atomic
def change_stocks(
    *,
    store_id: int,
    changes: Sequence[tuple[int, int]],
    cause: str,
    reason: str,
    note: str = "",
    by: str = "",
) -> list[Stock]:
    """Add to or take from many SKUs of a store, (sku id, change), all or nothing.

    Locks: stock, by SKU. Idempotent on: cause, when the caller keeps its answer; a second use of a cause changes
    nothing. Raises BadQuantity, StockRefused (naming what is not free, or has no stock of its own).
    """
    wanted = dict(rules.merged_lines(changes))
    if not wanted or any(not change or abs(change) > 10_000_000 for change in wanted.values()):
        raise BadQuantity(_("Every change is between -10,000,000 and 10,000,000, and not 0."))
    refuse_without_stock(wanted)
    rows = Stock.objects.filter(store_id=store_id, sku_id__in=wanted)
    if not StockMovement.objects.filter(stock__in=rows, cause=cause).exists():
        Stock.objects.bulk_create(
            [Stock(sku_id=sku_id, store_id=store_id) for sku_id in wanted], ignore_conflicts=True
        )
        moves = [Move(sku_id, store_id, on_hand=change) for sku_id, change in wanted.items()]
        if not move_stock(moves, cause=cause, reason=reason, actor=by, note=note):
            raise StockRefused(
                _names_of_what_is_short(store_id, {sku: -change for sku, change in wanted.items()})
            )
    return list(rows.select_related("sku", "store").order_by("sku_id"))


@transaction.atomic
def record_sale(
    *,
    store_id: int,
    number: str,
    lines: Sequence[SoldLine],
    sold_at: datetime,
    member_id: int | None = None,
    note: str = "",
    by: str = "",
) -> Order:
    """Book a sale over a store's counter as an order of the member: paid, received, out of that store's stock.

    A bundle leaves as its parts, which cost together what the till took for it. Vouchers and codes are delivered to
    the buyer with her payment in the mall: the till does not sell them.
    Locks: the receipt's number, stock, memberstats. Idempotent on: (store, number): the first is returned, unless it
    cost something else.
    Publishes: OrderPaid. Raises BadSale, StockRefused: what the till sold must lie in the book, count it first.
    """
    store = crm_queries.stores(only_active=False).get(pk=store_id)
    channel, number = f"store:{store.code}"[:40], " ".join(number.split())
    _check(number, lines, sold_at)
    advisory_lock("sale", channel, number)
    earlier = Order.objects.filter(channel=channel, external_id=number).first()
    if earlier is not None:
        if earlier.total_fen != sum(line.total_fen for line in lines):
            raise BadSale(_("Receipt %(number)s was sent before, with another total.") % {"number": number})
        return earlier
    sold, bundles, reasons = _sold(lines)
    total = sum(line.total_fen for line in sold)
    order = Order.objects.create(
        number=f"S{store.pk}-{clock.local(sold_at):%y%m%d}-{_short(channel, number)}"[:32],
        member_id=member_id,
        status=Order.RECEIVED,
        channel=channel,
        external_id=number,
        store_id=store_id,
        delivery=Order.PICKUP,
        items_fen=sum(line.unit_price_fen * line.quantity for line in sold),
        discount_fen=sum(line.discount_fen for line in sold),
        total_fen=total,
        paid_fen=total,
        note=note[:200],
        placed_at=sold_at,
        paid_at=sold_at,
        received_at=sold_at,
    )
    for line in sold:
        line.order, line.store_id = order, store_id
    OrderLine.objects.bulk_create(sold)
    if bundles:
        places = {place: reason.bundle for place, reason in enumerate(reasons) if reason.bundle is not None}
        keep_bundles(order.pk, bundles, places)
        _keep_what_bundles_save(sold, reasons)
    write_log(order, "paid", actor=by, note=store.name)
    _take(order, store_id, sold, by)
    if member_id is not None:
        _book(order, member_id, total, sold_at)
    return order


def _check(number: str, lines: Sequence[SoldLine], sold_at: datetime) -> None:
    if not number or len(number) > 80:
        raise BadSale(_("A sale needs the number of its receipt, of at most 80 characters."))
    if not 1 <= len(lines) <= rules.MAX_LINES:
        raise BadSale(_("A sale has between 1 and %(most)d lines.") % {"most": rules.MAX_LINES})
    if any(not 1 <= line.quantity <= 99_999 or not 0 <= line.total_fen <= MOST_FEN for line in lines):
        raise BadSale(_("A line has at least one piece, and a total that is not negative."))
    moment = clock.now()
    if not moment - OLDEST_SALE <= sold_at <= moment + timedelta(minutes=10):
        raise BadSale(_("The moment of the sale lies in the future or too long ago."))


def _short(channel: str, number: str) -> str:
    """Ten digits that stand for the receipt: order numbers are short and hold no strange letters."""
    return f"{int(hashlib.sha256(f'{channel}:{number}'.encode()).hexdigest(), 16) % 10**10:010d}"


def _sold(lines: Sequence[SoldLine]) -> tuple[list[OrderLine], list[Packed], list[QuotedLine]]:
    """The order's lines, not saved yet, the bundles that some of them are parts of, and what each line was made from.

    Raises BadSale, NotForSale (a bundle without parts).
    """
    goods = _goods([line.sku_id for line in lines])
    codes = sorted(sku.code for sku in goods.values() if sku.supply == Sku.PIECES)
    if codes:
        raise BadSale(
            _(
                "Vouchers and codes are delivered with a payment in the mall, the till cannot sell them: %(codes)s"
            )
            % {"codes": "、".join(codes[:10])}
        )
    packs = {
        sku.pk: (f"{sku.product.name} {sku.name}".strip(), "")
        for sku in goods.values()
        if sku.supply == Sku.PARTS
    }
    quote, bundles = take_apart(Quote(lines=tuple(_line(line) for line in lines)), packs)
    goods |= _goods([line.sku_id for line in quote.lines if line.sku_id not in goods])
    sold = [
        OrderLine(
            sku=goods[line.sku_id],
            product_name=goods[line.sku_id].product.name,
            sku_name=goods[line.sku_id].name,
            unit_price_fen=line.unit_price_fen,
            quantity=line.quantity,
            discount_fen=line.discount_fen,
            total_fen=line.total_fen,
            kind=line.kind,
        )
        for line in quote.lines
    ]
    return sold, bundles, list(quote.lines)


def _goods(sku_ids: Sequence[int]) -> dict[int, Sku]:
    return Sku.objects.select_related("product").in_bulk(sku_ids)


def _line(line: SoldLine) -> QuotedLine:
    """The till's total is to the fen; what does not divide by the pieces is a discount of the dearest price."""
    unit = -(-line.total_fen // line.quantity)
    rest = unit * line.quantity - line.total_fen
    off = (Discount("promotion", "till", "", rest),) if rest else ()
    return QuotedLine(line.sku_id, unit, line.quantity, discounts=off)


def _keep_what_bundles_save(sold: Sequence[OrderLine], reasons: Sequence[QuotedLine]) -> None:
    """What a bundle takes off the prices of its parts, as orders of the mall keep it."""
    OrderDiscount.objects.bulk_create(
        OrderDiscount(
            order_id=line.order_id,
            line=line,
            step=one.step,
            source=one.source,
            title=one.title,
            amount_fen=one.amount_fen,
        )
        for line, reason in zip(sold, reasons, strict=True)
        for one in reason.discounts
        if one.step == "bundle"
    )


def _take(order: Order, store_id: int, lines: Sequence[OrderLine], by: str) -> None:
    pieces = dict(rules.merged_lines((line.sku_id, line.quantity) for line in lines))
    if not move_stock(
        [Move(sku_id, store_id, on_hand=-count) for sku_id, count in pieces.items()],
        cause=f"order:{order.pk}:sell",
        reason=StockMovement.SELL,
        actor=by,
        order_id=order.pk,
    ):
        raise StockRefused(_names_of_what_is_short(store_id, pieces))


def _names_of_what_is_short(store_id: int, wanted: dict[int, int]) -> str:
    free = {
        stock.sku_id: stock.available for stock in Stock.objects.filter(store_id=store_id, sku_id__in=wanted)
    }
    codes = dict(Sku.objects.filter(pk__in=wanted).values_list("pk", "code"))
    names = [
        f"{codes[sku_id]} ({free.get(sku_id, 0)})"
        for sku_id, count in wanted.items()
        if free.get(sku_id, 0) < count
    ]
    return _(
        "Nothing was booked: fewer are free in this store than asked for of %(names)s. Count them first."
    ) % {"names": "、".join(names[:10])}


def _book(order: Order, member_id: int, total: int, sold_at: datetime) -> None:
    crm_services.prepare_timeline(since=clock.local(sold_at).date(), until=clock.local(sold_at).date())
    crm_services.book_purchase(member_id=member_id, paid_fen=total, at=sold_at)
    crm_services.record_activity(
        member_id=member_id,
        kind="paid",
        at=sold_at,
        subject=f"order:{order.pk}",
        amount_fen=total,
        data={"store": order.channel.removeprefix("store:")},
    )
    publish(
        OrderPaid(order_id=order.pk, member_id=member_id, paid_fen=total, at=sold_at), key=f"order:{order.pk}"
    )


@transaction.atomic
def buyer_of_sale(
    *, phone: str = "", member_id: int | None = None, external_id: str = "", source: str = "pos"
) -> int:
    """Whom a till means: a member's number, her phone, or the number that the old system gave her; made when new.

    A confirmed phone names one member; an unconfirmed one only when a single member has it. Raises BadSale.
    """
    if member_id is not None:
        member = crm_queries.find_member(member_id)
        if member is None:
            raise BadSale(_("No member has this number."))
        return int(member.pk)
    if phone:
        cleaned = crm_services.cleaned_phone(phone)
        if not cleaned:
            raise BadSale(_("This is not a phone number."))
        found = crm_queries.member_by_phone(cleaned)
        if found is not None:
            return found
        return int(
            crm_services.member_for_import(
                source=source, external_id=external_id or cleaned, phone=cleaned
            ).pk
        )
    return int(crm_services.member_for_import(source=source, external_id=external_id[:80]).pk)
