"""Buying a hot offer at once (抢购): one piece, to her usual address, without a checkout between.

The order is what `place_order` would write, priced by the same pipeline; only where the offer and the parcel's fee
alone decide the price, everything else goes to the checkout. Who comes together is written together: two statements
per batch, and nobody hears "placed" before the commit.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from core import clock
from core.batching import Batcher
from core.events import listeners, payload_of, wake_listeners
from shop import rules
from shop.errors import SoldOut
from shop.events import OrderPlaced
from shop.pricing.types import Choices, Quote
from shop.queries.pricing import tier_words
from shop.services import pricing, routing
from shop.services.hot_gone import MOST_TAKERS, find_gone, note_gone
from shop.services.placing import payment_time

PLACED, BEFORE = "placed", "before"
GONE, LIMIT, CLOSED = "gone", "limit", "closed"
LOGIN, CHECKOUT = "login", "checkout"

PLAN_SECONDS = 1.0
LINGER_SECONDS = 0.005
MOST_PLANS = 2_000
MOST_OFFERS = 200
ROUNDS = 3
NO_COUPONS = Choices(coupon_ids=())


class HotAnswer(NamedTuple):
    """`state`: placed, before (placed with this key earlier): her order is `number`. gone: sold out. limit: she has as
    many as one person may. closed: not open, over, or no such offer. login: her login was ended. checkout: this
    order needs the checkout (no address yet, or more than the offer decides its price).
    """

    state: str
    number: str = ""
    product_id: int = 0
    sku_id: int = 0


@dataclass(frozen=True, slots=True)
class _Ask:
    offer_id: int
    member_id: int
    session_version: int | None
    key: str


class _Buyer(NamedTuple):
    """Who asks and what is known of her, in one row; `earlier` is the number of the order under her key."""

    place: int
    order_id: int
    member_id: int
    session_version: int
    earlier: str | None
    tally: int
    receiver: str | None
    phone: str
    province: str
    city: str
    district: str
    street: str
    postal_code: str

    @property
    def region(self) -> str:
        return " ".join(part for part in (self.province, self.city, self.district) if part)

    @property
    def has_address(self) -> bool:
        return bool(self.receiver and self.phone and self.province and self.city and self.street)


class _Offer(NamedTuple):
    is_open: bool
    left: int
    limit: int
    price_fen: int
    sku_id: int
    product_id: int


class _Plan(NamedTuple):
    """What an order of the offer to one region costs and where it comes from; `words` as the SQL reads it."""

    store_id: int
    total_fen: int
    words: dict[str, Any]


def buy_offer(*, offer_id: int, member_id: int, key: str, session_version: int | None = None) -> HotAnswer:
    """Order one piece of a running flash offer for a member, at this moment's price, to her first address.

    Locks: stock, offer. Idempotent on: (member, offer, key), `key` of 16 to 40 characters. Publishes: OrderPlaced.
    Raises nothing that a shopper could cause: the answer says how it went, and all but "placed" wrote nothing.
    `session_version` is the one her login carries; another one of now is answered with "login".
    """
    if gone := find_gone(offer_id, member_id):
        return HotAnswer(GONE, "", gone.product_id)
    return _batcher(offer_id).submit(_Ask(offer_id, member_id, session_version, f"hot:{offer_id}:{key}"))


_batchers: OrderedDict[int, Batcher[_Ask, HotAnswer]] = OrderedDict()
_batchers_lock = threading.Lock()


def _batcher(offer_id: int) -> Batcher[_Ask, HotAnswer]:
    """One per offer: who wants the same rows writes together. A forgotten one only shares less."""
    with _batchers_lock:
        found = _batchers.get(offer_id)
        if found is None:
            found = _batchers[offer_id] = Batcher(_answer, linger=LINGER_SECONDS)
            while len(_batchers) > MOST_OFFERS:
                _batchers.popitem(last=False)
        return found


def _answer(asks: Sequence[_Ask]) -> list[HotAnswer]:
    # The connection is not asked first whether it lives, see wechat.services.notices: a dead one is replaced, and what
    # was asked, which may be asked twice, is asked once more.
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return _take(asks)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        return _take(asks)


def _take(asks: Sequence[_Ask]) -> list[HotAnswer]:
    """All asks are for one offer. Who asks twice with one key in the same batch gets one order."""
    offer_id, moment = asks[0].offer_id, clock.now()
    firsts: dict[tuple[int, str], int] = {}
    for place, ask in enumerate(asks):
        firsts.setdefault((ask.member_id, ask.key), place)
    offer, buyers = _read(offer_id, [(place, asks[place]) for place in firsts.values()], moment)
    answers: dict[int, HotAnswer] = {}
    wanting: dict[int, _Buyer] = {}
    for place in firsts.values():
        buyer, version = buyers.get(place), asks[place].session_version
        if buyer is None or (version is not None and version != buyer.session_version):
            answers[place] = HotAnswer(LOGIN)
        elif buyer.earlier is not None:
            answers[place] = HotAnswer(BEFORE, buyer.earlier)
        elif offer is None:
            answers[place] = HotAnswer(CLOSED)
        elif refusal := _refusal(offer, buyer):
            answers[place] = HotAnswer(refusal, "", offer.product_id, offer.sku_id)
        else:
            wanting[place] = buyer
    if offer is not None:
        _write(offer_id, offer, asks, wanting, answers, moment)
        if any(one.state == GONE for one in answers.values()):
            _note_gone(offer_id, offer)
    return [answers[firsts[ask.member_id, ask.key]] for ask in asks]


def _refusal(offer: _Offer, buyer: _Buyer) -> str:
    if not offer.is_open:
        return CLOSED
    if buyer.tally >= offer.limit:
        return LIMIT
    if offer.left <= 0:
        return GONE
    return "" if buyer.has_address else CHECKOUT


def _read(
    offer_id: int, asks: Sequence[tuple[int, _Ask]], moment: datetime
) -> tuple[_Offer | None, dict[int, _Buyer]]:
    """The offer and, by place, who asks. One statement, locks nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM shop_read_hot(%s, %s::int[], %s::bigint[], %s::text[], %s)",
            [
                offer_id,
                [place for place, _ask in asks],
                [ask.member_id for _place, ask in asks],
                [ask.key for _place, ask in asks],
                moment,
            ],
        )
        rows = cursor.fetchall()
    offer = None if rows[0][0] is None else _Offer(*rows[0][:6])
    return offer, {row[6]: _Buyer(*row[6:]) for row in rows if row[6] is not None}


def _write(
    offer_id: int,
    offer: _Offer,
    asks: Sequence[_Ask],
    wanting: dict[int, _Buyer],
    answers: dict[int, HotAnswer],
    moment: datetime,
) -> None:
    """Place what can be placed and put every answer into `answers`. A store that ran out is planned around."""
    for last in (False,) * (ROUNDS - 1) + (True,):
        planned: dict[int, _Plan] = {}
        for place, buyer in wanting.items():
            plan = _plan(offer_id, offer, buyer, moment)
            if isinstance(plan, str):
                answers[place] = HotAnswer(plan, "", offer.product_id, offer.sku_id)
            else:
                planned[place] = plan
        if not planned:
            return
        again: dict[int, _Buyer] = {}
        for place, state, number in _call(offer_id, offer, asks, wanting, planned, moment):
            if state in ("stock", CLOSED) and not last:
                again[place] = wanting[place]
            else:
                answer = GONE if state == "stock" else state
                answers[place] = HotAnswer(answer, number or "", offer.product_id, offer.sku_id)
        if not again:
            return
        _forget_plans(offer_id)
        fresh, _buyers = _read(offer_id, [], moment)
        if fresh is None or not fresh.is_open:
            answers.update({place: HotAnswer(CLOSED, "", offer.product_id, offer.sku_id) for place in again})
            return
        offer, wanting = fresh, again


def _call(
    offer_id: int,
    offer: _Offer,
    asks: Sequence[_Ask],
    wanting: dict[int, _Buyer],
    planned: dict[int, _Plan],
    moment: datetime,
) -> list[tuple[int, str, str | None]]:
    """One round trip: (place, what became of it, the order's number)."""
    local = clock.local(moment)
    payload = payload_of(OrderPlaced(order_id=0, member_id=0, total_fen=0, at=moment))
    plans: dict[int, int] = {}
    wanted, worded = [], []
    for place, plan in planned.items():
        number = plans.get(id(plan))
        if number is None:
            number = plans[id(plan)] = len(plans)
            worded.append({**plan.words, "plan": number})
        buyer = wanting[place]
        wanted.append(
            {
                "place": place,
                "plan": number,
                "order_id": buyer.order_id,
                "member_id": buyer.member_id,
                "key": asks[place].key,
                "number": rules.order_number(local, secrets.randbelow(10**12)),
                "receiver": buyer.receiver,
                "phone": buyer.phone,
                "region": buyer.region,
                "street": buyer.street,
                "postal_code": buyer.postal_code,
                "event": {
                    **payload,
                    "order_id": buyer.order_id,
                    "member_id": buyer.member_id,
                    "total_fen": plan.total_fen,
                },
            }
        )
    event, handlers, queues = listeners(OrderPlaced)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM shop_take_hot_orders(%s, %s, %s, %s, %s, %s, %s::text[], %s::text[], %s, %s)",
            [
                *(
                    offer_id,
                    offer.sku_id,
                    offer.price_fen,
                    orjson.dumps(wanted).decode(),
                    orjson.dumps(worded).decode(),
                ),
                *(event, handlers, queues, moment, moment + payment_time()),
            ],
        )
        rows: list[tuple[int, str, str | None]] = cursor.fetchall()
    if any(state == PLACED for _place, state, _number in rows):
        wake_listeners(OrderPlaced)
    return rows


# --- What an order of the offer costs, and where it comes from -----------------------------------------------------
_plans: dict[tuple[int, int, str], tuple[float, "_Plan | str"]] = {}


def _plan(offer_id: int, offer: _Offer, buyer: _Buyer, moment: datetime) -> "_Plan | str":
    """The plan for her region, at most a second old, or the answer to who cannot have one. Price and stock are looked
    at again under the lock.
    """
    key = (offer_id, offer.price_fen, buyer.region)
    kept = _plans.get(key)
    if kept is not None and kept[0] > time.monotonic():
        return kept[1]
    made = _made_plan(offer_id, offer, buyer, moment)
    if made == GONE:
        return made  # the next buyer may find a piece that came back
    if len(_plans) >= MOST_PLANS:
        _plans.clear()
    lifetime = getattr(settings, "HOT_SECONDS", 0.0 if settings.TESTING else PLAN_SECONDS)
    _plans[key] = (time.monotonic() + lifetime, made)
    return made


def _forget_plans(offer_id: int) -> None:
    for key in [key for key in _plans if key[0] == offer_id]:
        _plans.pop(key, None)


def _made_plan(offer_id: int, offer: _Offer, buyer: _Buyer, moment: datetime) -> "_Plan | str":
    """Through the shop's own pricing and routing, as the checkout of somebody without coupons and points."""
    lines = [(offer.sku_id, 1)]
    quote = pricing.quote(member_id=None, lines=lines, choices=NO_COUPONS, region=buyer.province, at=moment)
    if any(note.message == "offer_sold_out" and note.source == f"offer:{offer_id}" for note in quote.notes):
        return GONE  # a moment after it was looked at
    goods = _goods(offer.sku_id)
    if (
        goods is None
        or quote.offer_takes != ((offer_id, offer.sku_id, 1),)
        or len(quote.lines) != 1
        or quote.shipping_discounts
        or any(one.step != "offer" for one in quote.lines[0].discounts)
        or _differs_by_tier(quote, lines, buyer.province, moment)
        or not quote.total_fen
    ):
        return CHECKOUT
    try:
        servings = routing.plan(lines=lines, region=buyer.region, choices=NO_COUPONS)
    except SoldOut:
        return GONE
    line, serving = quote.lines[0], servings[0]
    product_name, sku_name, image = goods
    return _Plan(
        serving.store_id,
        quote.total_fen,
        {
            "store_id": serving.store_id,
            "price": line.unit_price_fen,
            "discount": line.discount_fen,
            "shipping": quote.shipping_fen,
            "product_name": product_name,
            "sku_name": sku_name,
            "image": image,
            "reason": serving.reason,
            "discounts": [
                {"step": one.step, "source": one.source, "title": one.title[:80], "amount": one.amount_fen}
                for one in line.discounts
                if one.amount_fen
            ],
        },
    )


def _differs_by_tier(quote: Quote, lines: list[tuple[int, int]], region: str, moment: datetime) -> bool:
    """Whether a tier pays another price than everybody; then the checkout asks whose she has."""
    words = tier_words(lines[0][0], moment)
    others = (
        pricing.quote(member_id=None, lines=lines, choices=NO_COUPONS, region=region, at=moment, tier=word)
        for word in words
    )
    return any((one.total_fen, one.offer_takes) != (quote.total_fen, quote.offer_takes) for one in others)


def _goods(sku_id: int) -> tuple[str, str, str] | None:
    """Names and picture of goods that a parcel can bring and that nobody counts per person; None of anything else."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.name, s.name, coalesce((
                SELECT coalesce(nullif(i.thumbnail, ''), i.image) FROM shop_productimage i
                WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
            ), '')
            FROM shop_sku s JOIN shop_product p ON p.id = s.product_id
            WHERE s.id = %s AND p.kind = 'goods' AND s.supply = 'stock' AND p.limit_per_member IS NULL
            """,
            [sku_id],
        )
        row: tuple[str, str, str] | None = cursor.fetchone()
    return row


def _note_gone(offer_id: int, offer: _Offer) -> None:
    """Remember that nothing is left, with those who have some. Not inside of somebody's transaction, which may not
    come true.
    """
    if connection.in_atomic_block:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT member_id FROM shop_offertally WHERE offer_id = %s AND taken > 0 LIMIT %s",
            [offer_id, MOST_TAKERS + 1],
        )
        note_gone(offer_id, offer.product_id, [row[0] for row in cursor.fetchall()])
