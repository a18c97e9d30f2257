"""Pure rules of the shop: words of states, order numbers, totals, search tokens. No database, no clock."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.money import allocate
from shop.pricing.types import Discount, QuotedLine

PENDING_PAYMENT, PAID, SHIPPED = "pending_payment", "paid", "shipped"
RECEIVED, CANCELLED, REFUNDED = "received", "cancelled", "refunded"
ORDER_STATUSES = (PENDING_PAYMENT, PAID, SHIPPED, RECEIVED, CANCELLED, REFUNDED)

# Which state may follow which. Cancelled → paid is money that came late while the stock was still there.
TRANSITIONS: dict[str, frozenset[str]] = {
    PENDING_PAYMENT: frozenset({PAID, CANCELLED}),
    PAID: frozenset({SHIPPED, REFUNDED}),
    SHIPPED: frozenset({RECEIVED, REFUNDED}),
    RECEIVED: frozenset({REFUNDED}),
    CANCELLED: frozenset({PAID}),
    REFUNDED: frozenset(),
}
HOLDS_STOCK = (PENDING_PAYMENT, PAID)

MAX_LINES = 50
MAX_QUANTITY = 999
RECEIPT_TIME = timedelta(days=10)
# When to ask WeChat about a payment whose notice has not come, counted from the start of the payment.
QUERY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 31, 60, 180, 720, 1440))


def may_become(old: str, new: str) -> bool:
    return new in TRANSITIONS[old]


@dataclass(frozen=True)
class PricedLine:
    unit_price_fen: int
    quantity: int
    discount_fen: int = 0

    @property
    def total_fen(self) -> int:
        return self.unit_price_fen * self.quantity - self.discount_fen


@dataclass(frozen=True)
class Totals:
    items_fen: int
    shipping_fen: int
    discount_fen: int

    @property
    def total_fen(self) -> int:
        return self.items_fen + self.shipping_fen - self.discount_fen


def totals(lines: Iterable[PricedLine], *, shipping_fen: int = 0) -> Totals:
    """Sums of an order: goods at full price, discounts of its lines, shipping."""
    items = discount = 0
    for line in lines:
        items += line.unit_price_fen * line.quantity
        discount += line.discount_fen
    return Totals(items_fen=items, shipping_fen=shipping_fen, discount_fen=discount)


def merged_lines(lines: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(sku id, quantity) with equal SKUs added up, sorted by SKU: the order in which stock is locked."""
    sums: dict[int, int] = {}
    for sku_id, quantity in lines:
        sums[sku_id] = sums.get(sku_id, 0) + quantity
    return sorted(sums.items())


def split_line(line: QuotedLine, quantities: Sequence[int]) -> list[QuotedLine]:
    """A quoted line as several, of the given quantities, which sum to its own: each discount shared out to the fen,
    and none larger than what its part still costs.
    """
    if list(quantities) == [line.quantity]:
        return [line]
    room = [line.unit_price_fen * quantity for quantity in quantities]
    shares: list[list[Discount]] = [[] for _part in quantities]
    for discount in line.discounts:
        amounts = [
            min(off, most)
            for off, most in zip(allocate(discount.amount_fen, list(quantities)), room, strict=True)
        ]
        rest = discount.amount_fen - sum(amounts)
        for place, amount in enumerate(amounts):
            more = min(rest, room[place] - amount)
            rest -= more
            room[place] -= amount + more
            if amount + more:
                shares[place].append(replace(discount, amount_fen=amount + more))
    return [
        replace(line, quantity=quantity, discounts=tuple(mine))
        for quantity, mine in zip(quantities, shares, strict=True)
    ]


def order_number(day: datetime, chance: int) -> str:
    """Six digits of the date, twelve of chance: easy to read out, not to guess. `chance` in [0, 10**12)."""
    return f"{day:%y%m%d}{chance:012d}"


def next_query_at(started_at: datetime, queries: int) -> datetime | None:
    """When to ask for the (queries+1)th time; None when asked often enough."""
    return started_at + QUERY_AFTER[queries] if queries < len(QUERY_AFTER) else None


# New arrivals come every Tuesday at ten (上新).
ARRIVAL_WEEKDAY, ARRIVAL_HOUR = 1, 10


def next_arrival(moment: datetime) -> datetime:
    """The next Tuesday 10:00 after `moment`, in its time zone."""
    day = moment + timedelta(days=(ARRIVAL_WEEKDAY - moment.weekday()) % 7)
    arrival = day.replace(hour=ARRIVAL_HOUR, minute=0, second=0, microsecond=0)
    return arrival if arrival > moment else arrival + timedelta(days=7)


# Chinese, kana and hangul are written without spaces between words.
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]+|[0-9a-z]+")


def words_of(text: str) -> list[str]:
    """Runs of Chinese characters, and Latin words or numbers, in small letters and normal width."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).lower())


def search_tokens(texts: Sequence[str]) -> list[str]:
    """What a product is found by: Latin words and numbers whole, Chinese as single characters and bigrams."""
    tokens: set[str] = set()
    for text in texts:
        for word in words_of(text):
            if word.isascii():
                tokens.add(word[:64])
            else:
                tokens.update(word)
                tokens.update(word[i : i + 2] for i in range(len(word) - 1))
    return sorted(tokens)
