"""Placing an order: price it, write it with everything it takes, all or nothing, in few round trips."""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, money, statements
from core.events import publish
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
from shop.events import OrderPlaced
from shop.models import Order, Sku
from shop.pricing.types import Choices, Discount, Quote, QuotedLine
from shop.services import pricing, routing
from shop.services.addresses import NOWHERE, AddressInput
from shop.services.bundles import Packed, keep_bundles, take_apart
from shop.services.limits import limit_refusal
from shop.services.payments import settle_free_order
from shop.services.presale import open_presale, presale_choices, presale_terms
from shop.services.routing import Serving
from shop.services.stock import WAREHOUSE
from shop.services.virtual import pieces_left, take_pieces


class _Goods(NamedTuple):
    """One SKU as the database sells it at this moment."""

    sku_id: int
    price_fen: int
    sku_name: str
    product_name: str
    is_sold: bool
    image: str
    supply: str

    @property
    def name(self) -> str:
        return f"{self.product_name} {self.sku_name}".strip()


class _Ground(NamedTuple):
    order_id: int
    store_id: int | None
    goods: dict[int, _Goods]


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
) -> Order:
    """Order SKUs, (sku id, quantity) each, priced at this moment by `services.pricing.quote`; all of them or nothing.

    With the order its discounts, gifts, coupons, offers and the hold of its points are written. Bundles are taken
    apart into lines of their parts; an order without a parcel keeps no address and needs none (None). Locks, in the
    last statements before the commit: terms, stock, coupons, offers, the member's points, what counts against her
    limits. Idempotent on: (member, idempotency_key): the earlier order is returned. Publishes: OrderPlaced.
    `expected_total_fen` is what the shopper was shown; None: no matter. Raises SoldOut (naming what and how many are
    left), LimitReached, OfferGone, CouponRefused, PointsRefused, PresaleRefused, PriceChanged, NotForSale,
    BadQuantity, BadAddress, EmptyOrder; then nothing was written.
    """
    wanted = rules.merged_lines(lines)
    _check(wanted, idempotency_key)
    receiver = address.checked() if address is not None else None
    note = " ".join(note.split())[:200]
    for attempt in range(_ATTEMPTS):
        try:
            with transaction.atomic():
                order = _place(
                    member_id,
                    wanted,
                    receiver,
                    note,
                    idempotency_key,
                    choices,
                    from_cart,
                    expected_total_fen,
                )
                return order if order.total_fen else settle_free_order(order_id=order.pk)
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
) -> Order:
    moment = clock.now()
    asked = sorted({*(sku for sku, _quantity in wanted), *choices.add_on_sku_ids})
    ground = _read(member_id, asked, idempotency_key)
    _refuse_what_is_not_sold(wanted, ground.goods)
    province = receiver.province if receiver is not None else ""
    quote = pricing.quote(member_id=member_id, lines=wanted, choices=choices, region=province, at=moment)
    terms = None
    if quote.deposit_fen:
        choices = presale_choices(choices)
        quote = pricing.quote(member_id=member_id, lines=wanted, choices=choices, region=province, at=moment)
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
    quote, servings = _route(quote, goods, receiver.region, choices)
    if expected_total_fen is not None and quote.total_fen != expected_total_fen:
        raise PriceChanged(
            _("The price has changed: this order is now ¥%(total)s.") % {"total": money.yuan(quote.total_fen)}
        )
    order = _write(
        member_id=member_id,
        ground=ground,
        goods=goods,
        quote=quote,
        packed=packed,
        servings=servings,
        receiver=receiver,
        note=note,
        idempotency_key=idempotency_key,
        choices=choices,
        from_cart=from_cart,
        moment=moment,
    )
    if terms is not None:
        open_presale(order=order, terms=terms, quote=quote)
    return order


def _read(member_id: int, sku_ids: Sequence[int], idempotency_key: str) -> _Ground:
    """A fresh order id, the warehouse and what is sold, in one statement. Raises _PlacedBefore."""
    rows = statements.rows(_GROUND, [WAREHOUSE, member_id, idempotency_key, list(sku_ids)])
    if rows[0][2] is not None:
        raise _PlacedBefore
    return _Ground(rows[0][0], rows[0][1], {row[3]: _Goods(*row[3:]) for row in rows if row[3] is not None})


_GOODS = """
SELECT s.id, s.price_fen, s.name, p.name AS product_name, s.is_active AND p.status = 'on_sale',
       coalesce((
           SELECT coalesce(nullif(i.thumbnail, ''), i.image) FROM shop_productimage i
           WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
       ), ''), s.supply
FROM shop_sku s
JOIN shop_product p ON p.id = s.product_id
WHERE s.id = ANY(%s)
"""
_GROUND = f"""
WITH ground AS MATERIALIZED (
    SELECT nextval('shop_order_id_seq') AS order_id,
           (SELECT id FROM crm_store WHERE code = %s) AS store_id,
           (SELECT id FROM shop_order WHERE member_id = %s AND idempotency_key = %s) AS earlier_id
)
SELECT g.order_id, g.store_id, g.earlier_id, s.* FROM ground g LEFT JOIN ({_GOODS}) s ON true
"""  # noqa: S608  two statements of ours


def _with_gifts(goods: dict[int, _Goods], quote: Quote) -> dict[int, _Goods]:
    """What the quote gives beyond what was asked for is read too; no statement when there is nothing."""
    more = sorted({line.sku_id for line in quote.lines} - goods.keys())
    if not more:
        return goods
    with connection.cursor() as cursor:
        cursor.execute(_GOODS, [more])
        return {**goods, **{row[0]: _Goods(*row) for row in cursor.fetchall()}}


def _refuse_what_is_not_sold(wanted: Sequence[tuple[int, int]], goods: dict[int, _Goods]) -> None:
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


def _route(
    quote: Quote, goods: dict[int, _Goods], region: str, choices: Choices
) -> tuple[Quote, list[Serving]]:
    """Which store serves which pieces of what is a parcel. Raises SoldOut.

    Gifts of promotions are given while they last: one that no store has is left out. The gift of a coupon is what the
    coupon is worth, and counts as goods.
    """
    try:
        return quote, _plan(_needed(quote.lines, goods, Sku.STOCK), region, choices)
    except SoldOut as refusal:
        short = {shortage.sku_id for shortage in refusal.shortages}
        kept = tuple(line for line in quote.lines if not (line.sku_id in short and _is_extra(line)))
        if len(kept) == len(quote.lines):
            raise
        without = replace(quote, lines=kept)
        return without, _plan(_needed(kept, goods, Sku.STOCK), region, choices)


def _plan(needed: list[tuple[int, int]], region: str, choices: Choices) -> list[Serving]:
    return routing.plan(lines=needed, region=region, choices=choices) if needed else []


def _is_extra(line: QuotedLine) -> bool:
    return (
        line.kind == "gift" and line.total_fen == 0 and all(one.step == "promotion" for one in line.discounts)
    )


def _needed(lines: Iterable[QuotedLine], goods: dict[int, _Goods], supply: str) -> list[tuple[int, int]]:
    """(SKU, pieces) of what comes from there, goods and gifts together."""
    return rules.merged_lines(
        (line.sku_id, line.quantity) for line in lines if goods[line.sku_id].supply == supply
    )


def _write(
    *,
    member_id: int,
    ground: _Ground,
    goods: dict[int, _Goods],
    quote: Quote,
    packed: Sequence[Packed],
    servings: Sequence[Serving],
    receiver: AddressInput,
    note: str,
    idempotency_key: str,
    choices: Choices,
    from_cart: bool,
    moment: datetime,
) -> Order:
    expires_at = moment + payment_time()
    lines, discounts = _rows(quote, goods, servings)
    stores = {line["store_id"] for line in lines if line["store_id"]} or {None}
    values: dict[str, Any] = {
        "id": ground.order_id,
        "number": rules.order_number(clock.local(moment), secrets.randbelow(10**12)),
        "member_id": member_id,
        "store_id": stores.pop() if len(stores) == 1 else ground.store_id,
        "items_fen": quote.items_fen,
        "shipping_fen": quote.shipping_fen,
        "discount_fen": quote.discount_fen,
        "total_fen": quote.total_fen,
        "delivery": choices.delivery,
        "points_used": quote.points_used,
        "receiver": receiver.receiver,
        "phone": receiver.phone,
        "region": receiver.region,
        "street": receiver.street,
        "postal_code": receiver.postal_code,
        "note": note,
        "idempotency_key": idempotency_key,
    }
    # Before the stock is taken: its rows are what other buyers wait for.
    publish(
        OrderPlaced(order_id=ground.order_id, member_id=member_id, total_fen=quote.total_fen, at=moment),
        key=f"order:{ground.order_id}",
    )
    pieces = dict(_needed(quote.lines, goods, Sku.PIECES))
    if pieces and not take_pieces(pieces, at=moment):
        _refuse_pieces(pieces, goods, member_id, idempotency_key)
    goods_lines = [line for line in lines if line["kind"] == "goods"]
    ((answer,),) = statements.rows(
        "SELECT shop_take_limits(shop_take_order(%s, %s, %s, %s, %s, %s, %s, %s), %s, %s, %s)",
        [
            json.dumps({**values, "expires_at": expires_at.isoformat()}),
            json.dumps(lines),
            json.dumps(discounts),
            list(quote.coupon_ids),
            [offer_id for offer_id, _sku, _quantity in quote.offer_takes],
            [quantity for _offer, _sku, quantity in quote.offer_takes],
            from_cart,
            moment,
            member_id,
            [line["sku_id"] for line in goods_lines],
            [line["quantity"] for line in goods_lines],
        ],
    )
    if answer.startswith("per_"):
        raise limit_refusal(answer, member_id=member_id)
    if answer != "placed":
        _refuse(answer, quote, choices)
    if packed:
        places = {line["place"]: line["bundle"] for line in lines if line["bundle"] is not None}
        keep_bundles(ground.order_id, packed, places, from_cart_of=member_id if from_cart else None)
    order = Order(
        **values, status=Order.PENDING_PAYMENT, placed_at=moment, expires_at=expires_at, due_at=expires_at
    )
    order._state.adding = False
    order._state.db = "default"
    return order


def _rows(
    quote: Quote, goods: dict[int, _Goods], servings: Sequence[Serving]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines and their discounts as `shop_take_order` reads them; `place` joins the two."""
    lines: list[dict[str, Any]] = []
    discounts: list[dict[str, Any]] = []
    reasons = {(one.sku_id, one.store_id): one.reason for one in servings}
    for line, store_id in _by_store(quote.lines, servings):
        place = len(lines)
        lines.append(
            {
                "place": place,
                "sku_id": line.sku_id,
                "store_id": store_id,
                "product_name": goods[line.sku_id].product_name,
                "sku_name": goods[line.sku_id].sku_name,
                "image": goods[line.sku_id].image,
                "price": line.unit_price_fen,
                "quantity": line.quantity,
                "discount": line.discount_fen,
                "kind": line.kind,
                "bundle": line.bundle,
                "reason": reasons.get((line.sku_id, store_id or 0), ""),
            }
        )
        discounts += [_discount(one, place) for one in line.discounts if one.amount_fen]
    discounts += [_discount(one, None) for one in quote.shipping_discounts if one.amount_fen]
    return lines, discounts


def _by_store(
    lines: Iterable[QuotedLine], servings: Sequence[Serving]
) -> Iterator[tuple[QuotedLine, int | None]]:
    """The lines, those that several stores serve taken apart; without a store what needs no stock."""
    left: dict[int, list[list[int]]] = {}
    for one in servings:
        left.setdefault(one.sku_id, []).append([one.store_id, one.quantity])
    for line in lines:
        parts: list[tuple[int | None, int]] = []
        missing = line.quantity
        for chunk in left.get(line.sku_id, []):
            here = min(chunk[1], missing)
            if here:
                parts.append((chunk[0], here))
                chunk[1] -= here
                missing -= here
        if missing:
            parts.append((None, missing))
        yield from zip(
            rules.split_line(line, [pieces for _s, pieces in parts]), [s for s, _p in parts], strict=True
        )


def _discount(one: Discount, place: int | None) -> dict[str, Any]:
    return {
        "place": place,
        "step": one.step,
        "source": one.source,
        "title": one.title[:80],
        "amount": one.amount_fen,
    }


def _refuse_pieces(
    pieces: dict[int, int], goods: dict[int, _Goods], member_id: int, idempotency_key: str
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


def _refuse(answer: str, quote: Quote, choices: Choices) -> None:
    """Turn what the database would not give into words; the transaction rolls back with the exception."""
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
