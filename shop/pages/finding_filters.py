"""Filters in the address line: `brand=3&a7=12&a7=13&low=100&high=500&stock=1`. What makes no sense is left out."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _

from core import money
from shop import finding, queries
from shop.finding import Filters
from shop.forms import FULL_WIDTH, whole_numbers

_ATTRIBUTE = re.compile(r"a([0-9]{1,9})")
_MOST_GROUPS = 6
Pairs = list[tuple[str, str]]


class Chip(NamedTuple):
    """A filter that is on; its link takes it off."""

    label: str
    address: str


class Frame(NamedTuple):
    """Where a list lives, with all that its links have to keep."""

    address: str
    typed: str
    sort: str
    filters: Filters

    def link(self, *, filters: Filters | None = None, sort: str | None = None, after: str = "") -> str:
        pairs = self.pairs(filters=filters, sort=sort)
        if after:
            pairs.append(("after", after))
        return f"{self.address}?{urlencode(pairs)}" if pairs else self.address

    def pairs(self, *, filters: Filters | None = None, sort: str | None = None) -> Pairs:
        chosen = self.filters if filters is None else filters
        words: Pairs = [("q", self.typed)] if self.typed else []
        return [*words, ("sort", sort or self.sort), *parameters(chosen)]


def asked(values: QueryDict, category_id: int | None = None) -> Filters:
    """The filters that an address asks for. Never refuses: numbers too large, words and negatives are dropped."""
    chosen: dict[int, tuple[int, ...]] = {}
    for name in values:
        found = _ATTRIBUTE.fullmatch(name)
        ids = _ids(values.getlist(name)) if found and len(chosen) < _MOST_GROUPS else ()
        if found and ids:
            chosen[int(found[1])] = ids
    low, high = _fen(values.get("low", "")), _fen(values.get("high", ""))
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Filters(
        category_id=category_id,
        brand_ids=_ids(values.getlist("brand")),
        values=chosen,
        low_fen=low,
        high_fen=high,
        in_stock=values.get("stock") == "1",
    )


def _ids(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(sorted(set(whole_numbers(texts)[: finding.MAX_CHOICES])))


def _fen(text: str) -> int | None:
    try:
        fen = money.fen_from_yuan(text.strip().translate(FULL_WIDTH)) if text.strip() else None
    except ValueError:
        return None
    return fen if fen is not None and 0 <= fen <= finding.MAX_PRICE_FEN else None


def parameters(filters: Filters) -> Pairs:
    """The filters as the address line writes them."""
    pairs: Pairs = [("brand", str(pk)) for pk in filters.brand_ids]
    for attribute_id, ids in filters.values.items():
        pairs.extend((f"a{attribute_id}", str(pk)) for pk in ids)
    if filters.low_fen is not None:
        pairs.append(("low", yuan(filters.low_fen)))
    if filters.high_fen is not None:
        pairs.append(("high", yuan(filters.high_fen)))
    if filters.in_stock:
        pairs.append(("stock", "1"))
    return pairs


def yuan(fen: int | None) -> str:
    """As a shopper types it: 199 or 199.50."""
    return "" if fen is None else money.yuan(fen).replace(",", "").removesuffix(".00")


def chips(frame: Frame) -> list[Chip]:
    """What is on, each with the address without it. One statement, none when nothing is on."""
    filters = frame.filters
    if not filters.count:
        return []
    names = queries.filter_names(filters)
    found = []
    for pk in filters.brand_ids:
        rest = tuple(other for other in filters.brand_ids if other != pk)
        less = replace(filters, brand_ids=rest)
        found.append(Chip(names.get(("brand", pk), _("A brand")), frame.link(filters=less)))
    for attribute_id, ids in filters.values.items():
        for pk in ids:
            kept = {**filters.values, attribute_id: tuple(other for other in ids if other != pk)}
            less = replace(filters, values={key: some for key, some in kept.items() if some})
            found.append(Chip(names.get(("value", pk), _("A property")), frame.link(filters=less)))
    if filters.low_fen is not None or filters.high_fen is not None:
        less = replace(filters, low_fen=None, high_fen=None)
        found.append(Chip(price_words(filters), frame.link(filters=less)))
    if filters.in_stock:
        found.append(Chip(_("In stock"), frame.link(filters=replace(filters, in_stock=False))))
    return found


def price_words(filters: Filters) -> str:
    if filters.high_fen is None:
        return _("from ¥%(low)s") % {"low": yuan(filters.low_fen)}
    if filters.low_fen is None:
        return _("up to ¥%(high)s") % {"high": yuan(filters.high_fen)}
    return f"¥{yuan(filters.low_fen)}–{yuan(filters.high_fen)}"
