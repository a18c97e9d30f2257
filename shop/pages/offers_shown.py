"""Offers in the words and numbers of the product page."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from core import clock
from shop import queries
from shop.pages import words
from shop.pages.presale import shown_offer_terms


def shown_offers(
    offers: Iterable[queries.OfferRow], marks: Mapping[int, queries.OfferMark]
) -> list[dict[str, Any]]:
    """Values of `offers.html` for one person, one per SKU that has a special price now or soon.

    One statement when there are presales, else none.
    """
    kinds = {
        "flash": _("Flash sale"),
        "member": _("For members"),
        "presale": _("Presale"),
        "first_order": _("First order"),
    }
    shown = []
    live = queries.live_offers(offers, marks)
    presales = queries.presales_of(one.offer_id for one in live if one.kind == "presale")
    for one in live:
        until = one.starts_at if one.state == "soon" else one.ends_at
        shown.append(
            {
                "pk": one.offer_id,
                "kind": kinds.get(one.kind, one.name),
                "name": one.name,
                "variant": one.sku_name,
                "price_fen": one.price_fen,
                "usual_fen": one.usual_fen if one.usual_fen > one.price_fen else None,
                "state": one.state,
                "left": one.left,
                # A fresh key per page: however often the button is tapped, there is one order.
                "key": secrets.token_urlsafe(18) if one.kind == "flash" and one.state == "open" else "",
                "quota": one.quota,
                "limit": one.per_member_limit,
                "is_waiting": one.is_waiting,
                "seconds_left": words.seconds_left(until),
                "presale": shown_offer_terms(presales[one.offer_id], one.price_fen)
                if one.offer_id in presales
                else None,
                "starts": f"{clock.local(one.starts_at):%m-%d %H:%M}",
            }
        )
    return shown
