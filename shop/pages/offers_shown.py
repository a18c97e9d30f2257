"""Offers in the words and numbers of the product page, and flash sales on the front page."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.files.storage import default_storage
from django.utils.translation import gettext as _

from core import clock
from shop import queries
from shop.models import Presale
from shop.pages import words
from shop.pages.frame import hole
from shop.pages.pictures import of_url
from shop.pages.presale import shown_offer_terms


def shown_offers(live: Iterable[queries.LiveOffer], presales: Mapping[int, Presale]) -> list[dict[str, Any]]:
    """Values of `offers.html`, one per SKU that has a special price now or soon.

    The same for everybody for whom these offers are in the same state: `offer_fills` fills the holes. No statement.
    """
    kinds = {
        "flash": _("Flash sale"),
        "member": _("For members"),
        "presale": _("Presale"),
        "first_order": _("First order"),
    }
    return [
        {
            "pk": one.offer_id,
            "kind": kinds.get(one.kind, one.name),
            "name": one.name,
            "variant": one.sku_name,
            "price_fen": one.price_fen,
            "usual_fen": one.usual_fen if one.usual_fen > one.price_fen else None,
            "state": one.state,
            "left": one.left,
            "key": hole(f"key-{one.offer_id}") if one.kind == "flash" and one.state == "open" else "",
            "quota": one.quota,
            "limit": one.per_member_limit,
            "is_waiting": one.is_waiting,
            "seconds_left": hole(f"left-{one.offer_id}"),
            "presale": shown_offer_terms(presales[one.offer_id], one.price_fen)
            if one.offer_id in presales
            else None,
            "starts": f"{clock.local(one.starts_at):%m-%d %H:%M}",
        }
        for one in live
    ]


def at_offer_prices(skus: list[dict[str, Any]], live: Iterable[queries.LiveOffer]) -> list[dict[str, Any]]:
    """The variants to choose from at the special prices that she can have now, each with the usual one beside it."""
    special = {one.sku_id: one.price_fen for one in live if one.state == "open"}
    return [
        {**sku, "price_fen": special[sku["pk"]], "was_fen": sku["price_fen"]}
        if special.get(sku["pk"], sku["price_fen"]) < sku["price_fen"]
        else sku
        for sku in skus
    ]


def offer_fills(live: Iterable[queries.LiveOffer]) -> dict[str, str]:
    """What each page says anew: seconds to the moment, and a fresh key: however often the button is tapped, there is
    one order.
    """
    fills = {}
    for one in live:
        until = one.starts_at if one.state == "soon" else one.ends_at
        fills[f"left-{one.offer_id}"] = str(words.seconds_left(until))
        fills[f"key-{one.offer_id}"] = secrets.token_urlsafe(18)
    return fills


# --- The strip of flash sales on the front page --------------------------------------------------------------------
def shown_strip(rows: Iterable[queries.FlashRow]) -> list[dict[str, Any]]:
    """Values of `offers_strip.html`; the clocks are holes that `strip_fills` fills for each page."""
    moment = clock.now()
    return [
        {
            "address": f"/p/{one.product_id}/",
            "name": one.product_name,
            "variant": one.sku_name,
            "image": of_url(default_storage.url(one.image), one.image_width, one.image_height)
            if one.image
            else None,
            "price_fen": one.price_fen,
            "usual_fen": one.usual_fen if one.usual_fen > one.price_fen else None,
            "is_soon": one.starts_at > moment,
            "is_gone": not one.left,
            "sold_percent": (one.quota - one.left) * 100 // one.quota if one.quota else 100,
            "seconds_left": hole(f"left-{one.offer_id}"),
            "starts": f"{clock.local(one.starts_at):%m-%d %H:%M}",
            "ends": f"{clock.local(one.ends_at):%m-%d %H:%M}",
        }
        for one in rows
    ]


def strip_fills(rows: Iterable[queries.FlashRow]) -> dict[str, str]:
    """Seconds to the beginning or the end of each."""
    moment = clock.now()
    return {
        f"left-{one.offer_id}": str(
            words.seconds_left(one.starts_at if one.starts_at > moment else one.ends_at)
        )
        for one in rows
    }
