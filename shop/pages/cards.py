"""Cards of products: what everybody sees of one, and at what her tier pays for it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.http import HttpRequest

from shop import queries
from shop.pages.frame import visitor_met
from shop.pages.pictures import Picture, of_url

HERS = "mine=1"  # in the address of a list's next page: she has a tier, look at whose prices


class Card(NamedTuple):
    """A product as its card shows it; `tier` when the price is that of a tier, `was_fen` is then the usual one."""

    pk: int
    address: str
    name: str
    subtitle: str
    min_price_fen: int
    max_price_fen: int
    was_fen: int | None
    image: Picture | None
    sold_out: bool
    tier: str = ""


def card(row: queries.ProductRow) -> Card:
    return Card(
        pk=row.pk,
        address=f"/p/{row.pk}/",  # reverse() twenty times is a tenth of the page
        name=row.name,
        subtitle=row.subtitle,
        min_price_fen=row.min_price_fen,
        max_price_fen=row.max_price_fen,
        was_fen=row.list_price_fen,
        image=of_url(row.image_url, row.image_width, row.image_height),
        sold_out=row.is_sold_out,
    )


def tier_of(request: HttpRequest) -> str:
    """The word of her tier, "" without one. No statement on a page that has met her."""
    here = visitor_met(request)
    if here is not None:
        return here.tier
    member = getattr(request, "member", None)
    return member.tier if member else ""


def tier_of_next(request: HttpRequest) -> str:
    """The same for the next cards of a list: who they are for is asked only where the page before was a tier's."""
    return tier_of(request) if "mine" in request.GET else ""


def at_tier(values: dict[str, Any], tier: str, *names: str) -> dict[str, Any]:
    """The cards among a page's values (those under `names`) at what the tier pays. One statement; none without."""
    if not tier:
        return values
    shelves: dict[str, Iterable[Card]] = {name: values[name] for name in names if values.get(name)}
    costs = queries.tier_costs({one.pk for cards in shelves.values() for one in cards}, tier)
    hers = {name: [_cheaper(one, costs, tier) for one in cards] for name, cards in shelves.items()}
    more = values.get("more")
    return {**values, **hers, **({"more": f"{more}&{HERS}"} if more else {})}


def _cheaper(one: Card, costs: dict[int, tuple[int, int]], tier: str) -> Card:
    if one.pk not in costs:
        return one
    least, most = costs[one.pk]
    was = one.min_price_fen if one.min_price_fen > least else None
    return one._replace(min_price_fen=least, max_price_fen=most, was_fen=was, tier=tier)
