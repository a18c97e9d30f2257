"""Judging one line of a foreign file: what it is, or why it cannot be brought in. No database, no clock."""

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.sheets import moment, without_point

GOODS, SHIPPING, CANCELLATION = "goods", "shipping", "cancellation"

# Reasons that a line alone shows; those that need other lines are in writing.py.
BAD_ROW = "bad_row"
NO_ORDER_NUMBER = "no_order_number"
NO_CODE = "no_code"
BAD_QUANTITY = "bad_quantity"
BAD_DATE = "bad_date"
BAD_PRICE = "bad_price"
ZERO_PRICE = "zero_price"
ZERO_QUANTITY = "zero_quantity"
STOCK_CORRECTION = "stock_correction"
SERVICE = "service"
SERVICE_BACK = "service_back"

_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
LARGEST_QUANTITY = 1_000_000
LARGEST_PRICE = 10**12


class Line(NamedTuple):
    """What was read. `kind` is empty and `reason` is set for a line that is refused at once."""

    number: int
    kind: str
    reason: str
    order_number: str
    code: str
    name: str
    quantity: int  # always positive for goods, shipping and cancellations
    price: int  # smallest unit of the currency
    placed_at: datetime | None
    customer: str
    fingerprint: uuid.UUID | None
    customer_name: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Judge:
    """Reads rows by the positions of their columns."""

    positions: dict[str, int]
    width: int
    zone: ZoneInfo
    cancellation_prefix: str
    shipping_codes: frozenset[str]
    service_codes: frozenset[str]
    service_prefixes: tuple[str, ...]

    def line(self, number: int, row: Sequence[str]) -> Line:
        """The line with its kind or its reason."""
        if len(row) < self.width:
            return Line(number, "", BAD_ROW, "", "", "", 0, 0, None, "", None)
        get = self._getter(row)
        order_number, code, name = get("order_number")[:80], get("code"), get("name")[:200]
        customer = without_point(get("customer"))[:80]

        def refused(reason: str) -> Line:
            return Line(number, "", reason, order_number, code[:64], name, 0, 0, None, customer, None)

        if not order_number:
            return refused(NO_ORDER_NUMBER)
        if not code or len(code) > 64:
            return refused(NO_CODE)
        quantity = whole_number(get("quantity"))
        if quantity is None or abs(quantity) > LARGEST_QUANTITY:
            return refused(BAD_QUANTITY)
        placed_at = moment(get("placed_at"), self.zone)
        if placed_at is None:
            return refused(BAD_DATE)
        price = smallest_unit(get("price"))
        if price is None or not 0 <= price <= LARGEST_PRICE:
            return refused(BAD_PRICE)
        kind, reason = self._kind(order_number, code, quantity, price)
        content = "\x1f".join(
            (order_number, code, str(quantity), str(price), placed_at.isoformat(), customer)
        )
        return Line(
            number,
            kind,
            reason,
            order_number,
            code,
            name,
            abs(quantity),
            price,
            placed_at,
            customer,
            uuid.UUID(bytes=hashlib.blake2b(content.encode(), digest_size=16).digest()),
            get("customer_name")[:80],
            get("phone")[:20],
        )

    def _getter(self, row: Sequence[str]) -> Callable[[str], str]:
        positions = self.positions

        def get(name: str) -> str:
            position = positions.get(name)
            return "" if position is None else row[position].strip().replace("\x00", "")

        return get

    def _kind(self, order_number: str, code: str, quantity: int, price: int) -> tuple[str, str]:
        is_cancellation = bool(self.cancellation_prefix) and order_number.startswith(self.cancellation_prefix)
        folded = code.upper()
        is_service = folded in self.service_codes or folded.startswith(self.service_prefixes)
        if quantity == 0:
            return "", ZERO_QUANTITY
        if quantity < 0 and not is_cancellation:
            return "", STOCK_CORRECTION
        if price == 0:
            return "", ZERO_PRICE
        if is_service or (folded in self.shipping_codes and is_cancellation):
            return "", SERVICE_BACK if is_cancellation else SERVICE
        if is_cancellation:
            return (CANCELLATION, "") if quantity < 0 else ("", BAD_QUANTITY)
        return (SHIPPING, "") if folded in self.shipping_codes else (GOODS, "")


def _ungrouped(text: str) -> str:
    """ "1,299.50" → "1299.50"; nothing of "12,50", in which the comma is no thousand."""
    return text.replace(",", "") if "," not in text or _GROUPED.fullmatch(text) else ""


def whole_number(text: str) -> int | None:
    """ "6", "-1", "1,200", "6.0" → int; None when it is not one."""
    try:
        return int(text)
    except ValueError:
        cleaned = without_point(_ungrouped(text))
    try:
        return int(cleaned)
    except ValueError:
        return None


def smallest_unit(text: str) -> int | None:
    """ "3.39" → 339, exactly; None when it is no amount or has a part of the smallest unit."""
    cleaned = _ungrouped(text.lstrip("¥$£€ "))
    sign = -1 if cleaned.startswith("-") else 1
    whole, _point, part = cleaned.removeprefix("-").partition(".")
    part = part.rstrip("0")
    if len(part) > 2 or not (whole + part).isascii() or not (whole + part or "x").isdigit():
        return None
    return sign * (int(whole or 0) * 100 + int(part.ljust(2, "0")))
