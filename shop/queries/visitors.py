"""Who looks at a page of the shop, and what of hers the page shows: one statement for all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from django.http import HttpRequest

from core import clock, statements
from crm import queries as crm_queries


class OfferMark(NamedTuple):
    """What an offer is to her: pieces she has of it, whether she waits for one, whether she ever paid an order."""

    taken: int = 0
    is_waiting: bool = False
    has_paid: bool = False


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody on a page; without a login all of it is empty.

    `tier` is the word of hers. Of one product: `awaited`, the SKUs of which she waits to hear, 0 for any; `offers` by
    id; `bought`, pieces of it, counted where there is a limit per member; `member_prices`, what her tier pays for its
    SKUs, in fen by SKU.
    """

    member_id: int | None = None
    cart_count: int = 0
    is_favourite: bool = False
    awaited: frozenset[int] = frozenset()
    bought: int = 0
    offers: Mapping[int, OfferMark] = field(default_factory=dict)
    tier: str = ""
    member_prices: Mapping[int, int] = field(default_factory=dict)


_CART = "coalesce((SELECT sum(c.quantity) FROM shop_cartline c WHERE c.member_id = m.living), 0)::int"
_PRODUCT = f"""
{_CART},
EXISTS (SELECT FROM shop_favourite f WHERE f.product_id = %s AND f.member_id = m.living),
(SELECT json_agg(coalesce(n.sku_id, 0)) FROM shop_stocknotice n
 WHERE n.product_id = %s AND n.member_id = m.living AND n.state = 'waiting'),
coalesce((SELECT y.taken FROM shop_producttally y WHERE y.product_id = %s AND y.member_id = m.living), 0),
(SELECT json_agg(json_build_array(o.id, coalesce(t.taken, 0), w.id IS NOT NULL,
            o.kind = 'first_order' AND EXISTS (
                SELECT FROM shop_order b WHERE b.member_id = m.living AND b.paid_at IS NOT NULL)))
 FROM shop_sku s JOIN shop_offer o ON o.sku_id = s.id AND o.is_active AND o.ends_at > %s
 LEFT JOIN shop_offertally t ON t.offer_id = o.id AND t.member_id = m.living
 LEFT JOIN shop_offerwaiting w ON w.offer_id = o.id AND w.member_id = m.living AND w.told_at IS NULL
 WHERE s.product_id = %s),
(SELECT json_build_array(t.tier, (
     SELECT json_agg(json_build_array(r.sku_id, r.price_fen))
     FROM shop_sku s JOIN shop_memberprice r ON r.sku_id = s.id AND r.tier = t.tier
     WHERE s.product_id = %s AND r.price_fen < s.price_fen))
 FROM crm_member t WHERE t.id = m.living AND t.tier <> '')
"""  # noqa: S608  our own words only


def visitor(request: HttpRequest) -> Visitor:
    """Who she is and how many pieces lie in her cart. One statement, none without a login."""
    return _visitor(request, _CART, ())


def product_visitor(request: HttpRequest, pk: int) -> Visitor:
    """The same with her marks on a product and on its offers. One statement, none without a login."""
    key = statements.bigint(pk)
    return _visitor(request, _PRODUCT, (key, key, key, clock.now(), key, key))


_ADDRESS_COLUMNS = ("receiver", "phone", "province", "city", "district", "street", "postal_code")
_ADDRESS = f"""
(SELECT json_build_array({", ".join(f"a.{name}" for name in _ADDRESS_COLUMNS)}) FROM shop_address a
 WHERE a.id = %(address)s AND a.member_id = m.living)
"""  # noqa: S608  our own words only


def visitor_address(
    request: HttpRequest, pk: int, also: str = "NULL", params: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, str] | None, Any]:
    """One of her own addresses by the names of its columns, None for anything else, and the value of an expression
    with `params` by name, None without a login. Settles who she is, as above; one statement for both.
    """
    named = {**params, "address": statements.bigint(pk)}
    _member, values = crm_queries.visitor(request, f"{_ADDRESS}, {also}", named)
    if not values:
        return None, None
    address, value = values
    return dict(zip(_ADDRESS_COLUMNS, address, strict=True)) if address else None, value


def _visitor(request: HttpRequest, also: str, params: Sequence[Any]) -> Visitor:
    member, values = crm_queries.visitor(request, also, params)
    if member is None:
        return Visitor()
    if len(values) == 1:
        return Visitor(member.pk, values[0], tier=member.tier)
    count, is_favourite, awaited, bought, offers, tier = values
    marks = {row[0]: OfferMark(*row[1:]) for row in offers or ()}
    word, prices = tier or ("", None)
    return Visitor(
        member.pk,
        count,
        is_favourite,
        frozenset(awaited or ()),
        bought,
        marks,
        word,
        dict(prices or ()),
    )
