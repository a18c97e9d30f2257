"""Which store serves which line: reads what routing needs, in one statement, and lets the pure rules decide."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, statements
from crm import services as crm_services
from shop import routing, rules
from shop.errors import NotForSale, Shortage, SoldOut
from shop.models import Sku
from shop.pricing.types import Choices
from shop.services.carts import add_to_cart
from shop.services.stock import WAREHOUSE


class Serving(NamedTuple):
    """So many of a SKU from one store; `reason` is a word of `shop.routing.Reason`, see `reason_words`."""

    sku_id: int
    store_id: int
    quantity: int
    reason: str


# One row per store and SKU; a store without any of the SKUs still comes once, so that it can be named for pickup.
_GROUND = """
SELECT p.id, CASE WHEN p.code = %(warehouse)s THEN 0 ELSE p.online_rank END, p.code = %(warehouse)s,
       p.ships_online OR p.code = %(warehouse)s, p.allows_pickup, p.province, p.city, p.latitude, p.longitude,
       st.sku_id, greatest(st.on_hand - st.reserved - CASE WHEN %(pickup)s THEN 0
                                                           ELSE coalesce(st.safety, p.safety_stock) END, 0)
FROM crm_store p
LEFT JOIN shop_stock st ON st.store_id = p.id AND st.sku_id = ANY(%(skus)s) AND st.on_hand > st.reserved
WHERE p.is_active AND CASE WHEN %(pickup)s THEN p.id = %(store)s ELSE p.ships_online OR p.code = %(warehouse)s END
"""


def plan(
    *, lines: Iterable[tuple[int, int]], region: str = "", choices: Choices | None = None
) -> list[Serving]:
    """Which stores serve (sku id, quantity) for a shopper in `region` ("province city district"); by SKU and store.

    One statement; two when something is short and has to be named. Nothing is reserved: `shop_move_stock` decides,
    and who is told there that somebody was faster plans anew. What a store keeps as safety stock is not sent online,
    but may be collected there. Raises SoldOut, NotForSale (no pickup in that store).
    """
    chosen = choices or Choices()
    is_pickup = chosen.delivery == "pickup"
    if is_pickup and chosen.pickup_store_id is None:
        raise NotForSale(_("Please choose the store where you collect it."), code="no_pickup_there")
    wanted = [routing.Line(sku_id, quantity) for sku_id, quantity in rules.merged_lines(lines)]
    places, stocks = _ground([line.sku_id for line in wanted], chosen.pickup_store_id if is_pickup else None)
    try:
        decisions = routing.route(
            wanted,
            stocks,
            routing.Rules(places, region, chosen.pickup_store_id if is_pickup else None),
        )
    except routing.NoPickupThere:
        raise NotForSale(
            _("Orders cannot be collected in this store. Please choose another one."), code="no_pickup_there"
        )
    except routing.CannotServe as short:
        raise SoldOut(_shortages(wanted, short.available))
    return [Serving(one.sku_id, one.store_id, one.quantity, one.reason) for one in decisions]


def _ground(
    sku_ids: list[int], pickup_store_id: int | None
) -> tuple[list[routing.Place], dict[tuple[int, int], int]]:
    rows = statements.named(
        _GROUND,
        {
            "warehouse": WAREHOUSE,
            "pickup": pickup_store_id is not None,
            "store": pickup_store_id,
            "skus": sku_ids,
        },
    )
    places = {
        row[0]: routing.Place(
            *row[:7], *(None if degrees is None else float(degrees) for degrees in row[7:9])
        )
        for row in rows
    }
    return list(places.values()), {(row[9], row[0]): row[10] for row in rows if row[9] is not None}


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
    places, stocks = _ground(list(wanted), None)
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
