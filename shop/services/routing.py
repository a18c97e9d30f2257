"""Which store serves which line: reads what routing needs, in one statement, and lets the pure rules decide."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, statements
from crm import queries as crm_queries
from crm import services as crm_services
from shop import routing, rules
from shop.errors import NotForSale, Shortage, SoldOut, UnknownGuest
from shop.models import Sku
from shop.pricing.types import Choices
from shop.services.carts import add_to_cart
from shop.services.pricing_rules import STORE, store_of
from shop.services.stock import WAREHOUSE


class Serving(NamedTuple):
    """So many of a SKU from one store; `reason` is a word of `shop.routing.Reason`, see `reason_words`."""

    sku_id: int
    store_id: int
    quantity: int
    reason: str


class Stores(NamedTuple):
    """The stores that could serve some SKUs, and what each may give: (sku id, store id) → pieces."""

    places: list[routing.Place]
    free: dict[tuple[int, int], int]
    sku_ids: frozenset[int]


# What lies in all stores of some SKUs and belongs to nobody.
STOCKS = """
SELECT json_agg(json_build_array(st.sku_id, st.store_id, st.on_hand - st.reserved, st.safety))
FROM shop_stock st WHERE st.sku_id = ANY(%(skus)s) AND st.on_hand > st.reserved
"""


def stores_for(
    stores: Iterable[routing.Store],
    stocks: Iterable[Sequence[Any]] | None,
    sku_ids: Iterable[int],
    pickup_store_id: int | None,
) -> Stores:
    """Who serves (the store where she collects, else all that send), with what; `stocks` are the rows of `STOCKS`.

    What a store keeps as safety stock is not sent online, but may be collected there.
    """
    serving = {
        one.place.store_id: one
        for one in stores
        if one.is_active
        and (one.place.ships if pickup_store_id is None else one.place.store_id == pickup_store_id)
    }
    free = {}
    for sku_id, store_id, pieces, safety in stocks or ():
        if store_id in serving:
            safe = serving[store_id].safety_stock if safety is None else safety
            free[sku_id, store_id] = pieces if pickup_store_id is not None else max(pieces - safe, 0)
    return Stores([one.place for one in serving.values()], free, frozenset(sku_ids))


def plan(
    *, lines: Iterable[tuple[int, int]], region: str = "", choices: Choices | None = None
) -> list[Serving]:
    """Which stores serve (sku id, quantity) for a shopper in `region` ("province city district"); by SKU and store.

    One statement; two when something is short and has to be named. Nothing is reserved: `shop_move_stock` decides,
    and who is told there that somebody was faster plans anew. Raises SoldOut, NotForSale (no pickup in that store).
    """
    wanted = rules.merged_lines(lines)
    pickup_store_id = pickup_of(choices or Choices())
    return planned(
        wanted, _read([sku_id for sku_id, _quantity in wanted], pickup_store_id), region, pickup_store_id
    )


def pickup_of(choices: Choices) -> int | None:
    """The store where she collects it; None: by parcel. Raises NotForSale when she has not said where."""
    if choices.delivery != "pickup":
        return None
    if choices.pickup_store_id is None:
        raise NotForSale(_("Please choose the store where you collect it."), code="no_pickup_there")
    return choices.pickup_store_id


def planned(
    lines: Iterable[tuple[int, int]], stores: Stores, region: str, pickup_store_id: int | None
) -> list[Serving]:
    """The same with what was read of the stores. No statement unless something is short."""
    wanted = [routing.Line(sku_id, quantity) for sku_id, quantity in rules.merged_lines(lines)]
    try:
        decisions = routing.route(wanted, stores.free, routing.Rules(stores.places, region, pickup_store_id))
    except routing.NoPickupThere:
        raise NotForSale(
            _("Orders cannot be collected in this store. Please choose another one."), code="no_pickup_there"
        )
    except routing.CannotServe as short:
        raise SoldOut(_shortages(wanted, short.available))
    return [Serving(one.sku_id, one.store_id, one.quantity, one.reason) for one in decisions]


def _read(sku_ids: list[int], pickup_store_id: int | None) -> Stores:
    ((text,),) = statements.named(_GROUND, {"warehouse": WAREHOUSE, "skus": sku_ids})
    places, stocks = orjson.loads(text)
    return stores_for([store_of(row) for row in places or ()], stocks, sku_ids, pickup_store_id)


_GROUND = f"""
SELECT json_build_array(
    (SELECT json_agg(json_build_array({STORE})) FROM crm_store p WHERE p.is_active), ({STOCKS})
)::text
"""  # noqa: S608  our own words only


def _shortages(wanted: list[routing.Line], available: dict[int, int]) -> list[Shortage]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.id, trim(p.name || ' ' || s.name) FROM shop_sku s JOIN shop_product p ON p.id = s.product_id"
            " WHERE s.id = ANY(%s)",
            [list(available)],
        )
        names = dict(cursor.fetchall())
    return [
        Shortage(line.sku_id, names.get(line.sku_id, _("An item")), line.quantity, available[line.sku_id])
        for line in wanted
        if line.sku_id in available
    ]


def plan_instead(
    *, lines: Iterable[tuple[int, int]], region: str, without: Collection[int], only: int | None = None
) -> dict[int, int]:
    """SKU → the one store that sends all of (sku id, quantity) instead of those in `without`; `only` names it.

    As `plan`, but no SKU is taken apart: the order stands, and its lines have been paid. Raises SoldOut.
    """
    wanted = dict(rules.merged_lines(lines))
    places, stocks, _skus = _read(list(wanted), None)
    others = [place for place in places if place.store_id not in without and only in (None, place.store_id)]
    ids = {place.store_id for place in others}
    whole = {key: free for key, free in stocks.items() if key[1] in ids and free >= wanted[key[0]]}
    asked = [routing.Line(sku_id, quantity) for sku_id, quantity in wanted.items()]
    try:
        return {
            one.sku_id: one.store_id for one in routing.route(asked, whole, routing.Rules(others, region))
        }
    except routing.CannotServe as short:
        most = {
            sku_id: max(
                (free for (sku, place), free in stocks.items() if sku == sku_id and place in ids), default=0
            )
            for sku_id in short.available
        }
        raise SoldOut(_shortages(asked, most))


def guest_named(text: str) -> int:
    """The member whom a colleague names by her phone, or by her number (#42). Raises UnknownGuest."""
    text = text.strip()[:40]
    number, member_id = text.lstrip("#"), None
    if phone := crm_services.cleaned_phone(text):
        member_id = crm_queries.member_by_phone(phone)
    elif number.isascii() and number.isdigit() and len(number) < 19:
        member_id = int(number)
    member = crm_queries.find_member(member_id) if member_id else None
    if member is None:
        raise UnknownGuest(_("No member is known by this."))
    return int(member.pk)


@transaction.atomic
def order_elsewhere(*, member_id: int, sku_id: int, quantity: int = 1, by: str = "") -> list[Serving]:
    """A guide puts what her store lacks into the member's cart, when it can be sent from somewhere; from where.

    Locks: the cart line. Not idempotent: each call adds. Raises SoldOut, NotForSale, BadQuantity.
    """
    add_to_cart(member_id=member_id, sku_id=sku_id, quantity=quantity)
    served = plan(lines=[(sku_id, quantity)])
    product_id = Sku.objects.values_list("product_id", flat=True).get(pk=sku_id)
    crm_services.record_activity(
        member_id=member_id,
        kind="added_to_cart",
        at=clock.now(),
        subject=f"product:{product_id}",
        data={"by": by},
    )
    return served


def reason_words(reason: str) -> str:
    """A decision's reason for people; "" for a word that is not ours (or none)."""
    return {
        "pickup": _("collected in this store"),
        "warehouse": _("the warehouse has everything"),
        "nearest": _("the first store in line that has everything"),
        "only_here": _("the only store that has everything"),
        "split": _("no store has everything: as few parcels as possible"),
        "rerouted": _("another store could not serve it"),
    }.get(reason, "")
