"""Placing an order: read and price it, then write it with everything it takes, all or nothing: two round trips."""

import contextlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, money
from shop import rules
from shop.errors import (
    BadAddress,
    BadQuantity,
    CouponRefused,
    EmptyOrder,
    NotForSale,
    OfferGone,
    PointsRefused,
    PriceChanged,
    Shortage,
    SoldOut,
)
from shop.models import Order, Presale, Sku
from shop.pricing.types import Choices, Quote, QuotedLine
from shop.services import pricing, routing
from shop.services.addresses import NOWHERE, AddressInput
from shop.services.bundles import Packed, keep_bundles, take_apart
from shop.services.limits import limit_refusal
from shop.services.payments_booked import settle_free_order
from shop.services.placing_ground import AskedOrder, Goods, OrderGround, read_goods, read_order_ground
from shop.services.placing_rows import order_rows
from shop.services.placing_together import PLACED, worded, write_order
from shop.services.presale import open_presale, presale_choices, presale_terms
from shop.services.routing import Serving
from shop.services.virtual import pieces_left, take_pieces


class _PlacedBefore(Exception):
    """Another request with the same key was first."""


class _OutOfStep(Exception):
    """The stock, or a coupon that was chosen for her, changed between two looks at it."""


def place_order(
    *,
    member_id: int,
    lines: Iterable[tuple[int, int]],
    address: AddressInput | None,
    idempotency_key: str,
    choices: Choices = Choices(),  # noqa: B008  frozen
    note: str = "",
    from_cart: bool = False,
    expected_total_fen: int | None = None,
    ground: OrderGround | None = None,
) -> Order:
    """Order SKUs, (sku id, quantity) each, priced at this moment by `services.pricing.quote`; all of them or nothing.

    With the order its discounts, gifts, coupons, offers and the hold of its points are written. Bundles are taken
    apart into lines of their parts; an order without a parcel keeps no address and needs none (None). Locks, in the
    last statements before the commit: terms, stock, coupons, offers, the member's points, what counts against her
    limits. Most orders are written by one statement, which is then a transaction by itself. Idempotent on: (member,
    idempotency_key): the earlier order is returned. Publishes: OrderPlaced.
    `expected_total_fen` is what the shopper was shown; None: no matter. `ground`: what was read a moment ago, of this
    member, for just this (see `order_words`). Raises SoldOut (naming what and how many are
    left), LimitReached, OfferGone, CouponRefused, PointsRefused, PresaleRefused, PriceChanged, NotForSale,
    BadQuantity, BadAddress, EmptyOrder; then nothing was written.
    """
    wanted = rules.merged_lines(lines)
    _check(wanted, idempotency_key)
    receiver = address.checked() if address is not None else None
    note = " ".join(note.split())[:200]
    asked = AskedOrder.of(wanted, choices, idempotency_key)
    for attempt in range(_ATTEMPTS):
        if ground is None or ground.asked != asked or attempt:
            ground = read_order_ground(member_id=member_id, asked=asked, at=clock.now())
        try:
            return _place(
                member_id,
                wanted,
                receiver,
                note,
                idempotency_key,
                choices,
                from_cart,
                expected_total_fen,
                ground,
            )
        except _PlacedBefore:
            return Order.objects.get(member_id=member_id, idempotency_key=idempotency_key)
        except (
            _OutOfStep
        ):  # somebody was faster: look again, which names what is left, or finds it given back
            if attempt == _ATTEMPTS - 1:
                raise PriceChanged(
                    _("Too many people are buying this right now. Please try again.")
                ) from None
    raise AssertionError("the last attempt answers or raises")


_ATTEMPTS = 50


def payment_time() -> timedelta:
    """How long an unpaid order keeps its stock."""
    return timedelta(minutes=settings.ORDER_PAYMENT_MINUTES)


def _check(wanted: Sequence[tuple[int, int]], idempotency_key: str) -> None:
    if not wanted:
        raise EmptyOrder(_("There is nothing to order. Please choose something first."))
    if len(wanted) > rules.MAX_LINES:
        raise BadQuantity(_("At most %(count)d different items in one order.") % {"count": rules.MAX_LINES})
    if any(not 1 <= quantity <= rules.MAX_QUANTITY for _sku, quantity in wanted):
        raise BadQuantity(_("Choose between 1 and %(most)d pieces.") % {"most": rules.MAX_QUANTITY})
    if not 8 <= len(idempotency_key) <= 64:
        raise ValueError("an idempotency key has 8 to 64 characters")


def _place(
    member_id: int,
    wanted: Sequence[tuple[int, int]],
    receiver: AddressInput | None,
    note: str,
    idempotency_key: str,
    choices: Choices,
    from_cart: bool,
    expected_total_fen: int | None,
    ground: OrderGround,
) -> Order:
    moment = ground.at
    if ground.is_placed:
        raise _PlacedBefore
    _refuse_what_is_not_sold(wanted, ground.goods)
    province = receiver.province if receiver is not None else ""

    def priced(chosen: Choices) -> Quote:
        return pricing.quote(
            member_id=member_id,
            lines=wanted,
            choices=chosen,
            region=province,
            at=moment,
            ground=ground.prices,
        )

    quote = priced(choices)
    terms = None
    if quote.deposit_fen:
        choices = presale_choices(choices)
        quote = priced(choices)
        terms = presale_terms(quote, choices)
    _refuse_what_was_not_applied(choices, quote)
    quote, packed = take_apart(
        quote, {one.sku_id: (one.name, one.image) for one in ground.goods.values() if one.supply == Sku.PARTS}
    )
    goods = _with_gifts(ground.goods, quote)
    if not any(goods[line.sku_id].supply == Sku.STOCK for line in quote.lines):
        receiver, choices = NOWHERE, replace(choices, delivery="ship", pickup_store_id=None)
    elif receiver is None:
        raise BadAddress({"street": _("Please choose where to send it.")})
    quote, servings = _route(quote, goods, receiver.region, choices, ground.stores)
    if expected_total_fen is not None and quote.total_fen != expected_total_fen:
        raise PriceChanged(
            _("The price has changed: this order is now ¥%(total)s.") % {"total": money.yuan(quote.total_fen)}
        )
    order = _values(member_id, ground, quote, servings, receiver, note, idempotency_key, choices, moment)
    cart_sku_ids = [sku_id for sku_id, _quantity in wanted] if from_cart else []
    return _write(order, quote, goods, packed, servings, terms, choices, cart_sku_ids, moment)


def _refuse_what_is_not_sold(wanted: Sequence[tuple[int, int]], goods: dict[int, Goods]) -> None:
    gone = [sku for sku, _quantity in wanted if sku not in goods or not goods[sku].is_sold]
    if gone:
        names = [goods[sku].name if sku in goods else _("An item") for sku in gone]
        raise NotForSale(_("No longer sold: %(names)s. Please take it out.") % {"names": "、".join(names)})


def _refuse_what_was_not_applied(choices: Choices, quote: Quote) -> None:
    """A coupon that she chose is used or the order is not placed: nobody pays more than she meant to."""
    if choices.points < 0:
        raise PointsRefused(_("Points cannot be negative."))
    if set(choices.coupon_ids or ()) - set(quote.coupon_ids):
        raise CouponRefused(_("A chosen coupon cannot be used for this order. Please choose again."))


def _with_gifts(goods: dict[int, Goods], quote: Quote) -> dict[int, Goods]:
    """What the quote gives beyond what was asked for is read too; no statement when there is nothing."""
    more = sorted({line.sku_id for line in quote.lines} - goods.keys())
    return {**goods, **read_goods(more)} if more else goods


def _route(
    quote: Quote, goods: dict[int, Goods], region: str, choices: Choices, stores: routing.Stores
) -> tuple[Quote, list[Serving]]:
    """Which store serves which pieces of what is a parcel. Raises SoldOut.

    Gifts of promotions are given while they last: one that no store has is left out. The gift of a coupon is what the
    coupon is worth, and counts as goods.
    """
    try:
        return quote, _plan(_needed(quote.lines, goods, Sku.STOCK), region, choices, stores)
    except SoldOut as refusal:
        short = {shortage.sku_id for shortage in refusal.shortages}
        kept = tuple(line for line in quote.lines if not (line.sku_id in short and _is_extra(line)))
        if len(kept) == len(quote.lines):
            raise
        without = replace(quote, lines=kept)
        return without, _plan(_needed(kept, goods, Sku.STOCK), region, choices, stores)


def _plan(
    needed: list[tuple[int, int]], region: str, choices: Choices, stores: routing.Stores
) -> list[Serving]:
    """By what was read with the prices; what came in later (gifts, parts of bundles) is read anew."""
    if not needed:
        return []
    if all(sku_id in stores.sku_ids for sku_id, _quantity in needed):
        return routing.planned(needed, stores, region, routing.pickup_of(choices))
    return routing.plan(lines=needed, region=region, choices=choices)


def _is_extra(line: QuotedLine) -> bool:
    return (
        line.kind == "gift" and line.total_fen == 0 and all(one.step == "promotion" for one in line.discounts)
    )


def _needed(lines: Iterable[QuotedLine], goods: dict[int, Goods], supply: str) -> list[tuple[int, int]]:
    """(SKU, pieces) of what comes from there, goods and gifts together."""
    return rules.merged_lines(
        (line.sku_id, line.quantity) for line in lines if goods[line.sku_id].supply == supply
    )


def _values(
    member_id: int,
    ground: OrderGround,
    quote: Quote,
    servings: Sequence[Serving],
    receiver: AddressInput,
    note: str,
    idempotency_key: str,
    choices: Choices,
    moment: datetime,
) -> dict[str, Any]:
    """The columns of the order, as `shop_place_orders` reads them."""
    stores = {one.store_id for one in servings}
    items_fen, discount_fen = quote.items_fen, quote.discount_fen
    return {
        "id": ground.order_id,
        "number": rules.order_number(clock.local(moment), secrets.randbelow(10**12)),
        "member_id": member_id,
        "store_id": stores.pop() if len(stores) == 1 else ground.store_id if stores else None,
        "items_fen": items_fen,
        "shipping_fen": quote.shipping_fen,
        "discount_fen": discount_fen,
        "total_fen": items_fen - discount_fen + quote.shipping_fen,
        "delivery": choices.delivery,
        "points_used": quote.points_used,
        "receiver": receiver.receiver,
        "phone": receiver.phone,
        "region": receiver.region,
        "street": receiver.street,
        "postal_code": receiver.postal_code,
        "note": note,
        "idempotency_key": idempotency_key,
        "expires_at": moment + payment_time(),
    }


def _write(
    values: dict[str, Any],
    quote: Quote,
    goods: dict[int, Goods],
    packed: Sequence[Packed],
    servings: Sequence[Serving],
    terms: Presale | None,
    choices: Choices,
    cart_sku_ids: Sequence[int],
    moment: datetime,
) -> Order:
    """One statement, which writes all or nothing; with what else an order may need, in a transaction around it."""
    pieces = dict(_needed(quote.lines, goods, Sku.PIECES))
    is_alone = not (pieces or packed or terms) and values["total_fen"] > 0 and not connection.in_atomic_block
    with contextlib.nullcontext() if is_alone else transaction.atomic():
        if pieces and not take_pieces(pieces, at=moment):
            _refuse_pieces(pieces, goods, values["member_id"], values["idempotency_key"])
        lines, discounts = order_rows(values["id"], quote, goods, servings)
        written = worded(
            values,
            lines,
            discounts,
            grant_ids=quote.coupon_ids,
            offers=[(offer_id, quantity) for offer_id, _sku, quantity in quote.offer_takes],
            cart_sku_ids=cart_sku_ids,
            at=moment,
        )
        answer = write_order(written, is_alone=is_alone)
        if answer != PLACED:
            _refuse(answer, quote, choices, values["member_id"])
        if packed:
            places = {line["place"]: line["bundle"] for line in lines if line["bundle"] is not None}
            keep_bundles(values["id"], packed, places)
        order = Order(**values, status=Order.PENDING_PAYMENT, placed_at=moment, due_at=values["expires_at"])
        order._state.adding = False
        order._state.db = "default"
        if terms is not None:
            open_presale(order=order, terms=terms, quote=quote)
        return order if order.total_fen else settle_free_order(order_id=order.pk)


def _refuse_pieces(
    pieces: dict[int, int], goods: dict[int, Goods], member_id: int, idempotency_key: str
) -> None:
    """Name what is short; a second click on the last piece finds the order that the first one placed."""
    if Order.objects.filter(member_id=member_id, idempotency_key=idempotency_key).exists():
        raise _PlacedBefore
    left = pieces_left(list(pieces))
    raise SoldOut(
        [
            Shortage(sku_id, goods[sku_id].name, wanted, left.get(sku_id, 0))
            for sku_id, wanted in pieces.items()
            if left.get(sku_id, 0) < wanted
        ]
        or [Shortage(sku_id, goods[sku_id].name, wanted, 0) for sku_id, wanted in pieces.items()]
    )


def _refuse(answer: str, quote: Quote, choices: Choices, member_id: int) -> None:
    """Turn what the database would not give into words; what was taken before rolls back with the exception."""
    if answer.startswith("per_"):
        raise limit_refusal(answer, member_id=member_id)
    if answer == "before":
        raise _PlacedBefore
    if answer == "stock":
        raise _OutOfStep
    if answer == "coupon":
        if choices.coupon_ids is None:
            raise _OutOfStep  # chosen for her: choose again among what she still has
        raise CouponRefused(_("This coupon was used or has expired meanwhile. Please choose again."))
    if answer == "points":
        raise PointsRefused(_("You have fewer points now than this order wants to use. Please choose again."))
    reason, _colon, offer_id = answer.partition(":")
    raise OfferGone(reason, offer_id=int(offer_id), name=_offer_name(quote, int(offer_id)))


def _offer_name(quote: Quote, offer_id: int) -> str:
    source = f"offer:{offer_id}"
    return next((one.title for line in quote.lines for one in line.discounts if one.source == source), "")
