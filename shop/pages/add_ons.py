"""Add-ons (加价购) in cart and checkout: which she ticked, and what the page offers."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from shop import queries
from shop.forms import whole_numbers
from shop.pages.pictures import of_url
from shop.pricing.types import Choices, Quote

_MOST = 20
_PAIR = re.compile(r"&addon=[0-9]+")


def add_ons_in(values: QueryDict) -> tuple[int, ...]:
    """`addon=SKU`, repeated. What is no add-on of her cart is ignored by pricing."""
    return tuple(sorted(set(whole_numbers(values.getlist("addon")[: 2 * _MOST]))))[:_MOST]


def with_add_ons(choices: Choices, sku_ids: tuple[int, ...]) -> Choices:
    return replace(choices, add_on_sku_ids=sku_ids)


def add_on_pairs(sku_ids: Iterable[int]) -> list[tuple[str, str]]:
    return [("addon", str(sku_id)) for sku_id in sku_ids]


def add_on_panel(quote: Quote, here: str = "") -> list[dict[str, Any]]:
    """The promotions with their add-ons: what is ticked, what may be, and why not. At most one statement.

    `here` is the page's address with her other choices: each tick is a link then, so it works without a script.
    """
    found = queries.add_ons_of(quote)
    ticked = {one.sku_id for one in found if one.is_taken}
    panel = []
    for (_source, title), group in groupby(found, key=lambda one: (one.source, one.title)):
        ones = list(group)
        count = sum(one.is_taken for one in ones)
        times = ones[0].times
        words = ones[0].reason or ngettext("Choose up to %(num)d", "Choose up to %(num)d", times) % {
            "num": times
        }
        panel.append(
            {
                "title": title,
                "words": words,
                "possible": not ones[0].reason,
                "rows": [_row(one, ones, ticked, count, here) for one in ones],
            }
        )
    return panel


def _row(
    one: queries.AddOn, others: list[queries.AddOn], ticked: set[int], count: int, here: str
) -> dict[str, Any]:
    is_full = count >= one.times > 1 and not one.is_taken
    if one.is_taken:
        after = ticked - {one.sku_id}
    elif one.times == 1:  # the new one instead of the old one
        after = (ticked - {other.sku_id for other in others}) | {one.sku_id}
    else:
        after = ticked | {one.sku_id}
    return {
        "sku_id": one.sku_id,
        "address": reverse("shop:product", args=[one.product_id]),
        "name": one.name,
        "image": of_url(one.image_url, 0, 0),
        "price_fen": one.price_fen,
        "usual_fen": one.usual_fen if one.usual_fen > one.price_fen else None,
        "is_taken": one.is_taken,
        "possible": one.is_taken or (one.is_left and not one.reason and not is_full),
        "words": "" if one.is_left or one.is_taken else _("Sold out"),
        "toggle": _toggled(here, after) if here else "",
    }


def _toggled(here: str, sku_ids: set[int]) -> str:
    pairs = urlencode(add_on_pairs(sorted(sku_ids)))
    return _PAIR.sub("", here) + (f"&{pairs}" if pairs else "")
