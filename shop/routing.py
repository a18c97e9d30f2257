"""Where an order is served from: pure rules, each decision with its reason. No Django, no clock, no database.

Among the stores that serve online the order is: smaller rank first (the warehouse is 0), then nearer to the shopper.
One store that has everything wins; else as few stores as possible, because every store is a parcel of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import asin, cos, radians, sin, sqrt
from typing import Literal

Reason = Literal["pickup", "warehouse", "nearest", "only_here", "split"]
"""pickup: the shopper collects there. warehouse, nearest: it has everything and comes first. only_here: the only
store that has everything. split: no store has everything, so the fewest stores that have it together.
"""

# Sets of two or three stores are tried one by one; beyond that, and among more stores, the next store is always the
# one that has most of what is still missing.
MOST_TRIED = {2: 60, 3: 16}


@dataclass(frozen=True)
class Line:
    """What is wanted of one SKU."""

    sku_id: int
    quantity: int


@dataclass(frozen=True)
class Place:
    """A store as routing sees it. Coordinates in degrees (WGS-84 or GCJ-02, the difference does not matter here)."""

    store_id: int
    rank: int = 1
    is_warehouse: bool = False
    ships: bool = True
    allows_pickup: bool = False
    province: str = ""
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """A place with what it keeps back: `safety_stock` of each SKU that has no number of its own is not sent online."""

    place: Place
    safety_stock: int = 0
    is_active: bool = True


@dataclass(frozen=True)
class Rules:
    """`region` is the shopper's "province city district"; `pickup_store_id` names the store where she collects."""

    places: Sequence[Place]
    region: str = ""
    pickup_store_id: int | None = None


@dataclass(frozen=True)
class Decision:
    """So many of a SKU from one store, and why from there."""

    sku_id: int
    store_id: int
    quantity: int
    reason: Reason


class CannotServe(Exception):
    """`available`: SKU → how many could be served in all, for each SKU of which more is wanted."""

    def __init__(self, available: dict[int, int]) -> None:
        self.available = available
        super().__init__(available)


class NoPickupThere(Exception):
    """The named store does not hand out orders."""


def route(lines: Iterable[Line], stocks: Mapping[tuple[int, int], int], rules: Rules) -> list[Decision]:
    """Decide for every piece; `stocks` says how many a store may give: (sku id, store id) → pieces.

    The decisions of a SKU sum to what is wanted of it, whatever the order of the lines. Raises CannotServe (nothing is
    decided then) and NoPickupThere.
    """
    wanted: dict[int, int] = {}
    for line in lines:
        if line.quantity > 0:
            wanted[line.sku_id] = wanted.get(line.sku_id, 0) + line.quantity
    wanted = dict(sorted(wanted.items()))
    if not wanted:
        return []
    if rules.pickup_store_id is not None:
        return _collected(wanted, stocks, rules)
    places = serving(rules)
    _refuse_shortage(wanted, stocks, places)
    for place in places:
        if _has_all(wanted, stocks, (place,)):
            return _from_one(wanted, place, places, stocks)
    return _shared_out(wanted, stocks, _fewest(wanted, stocks, places))


def serving(rules: Rules) -> list[Place]:
    """The stores that send online orders, best first for this shopper."""
    here = _whereabouts(rules.region)
    return sorted(
        (place for place in rules.places if place.ships),
        key=lambda place: (place.rank, *_distance(rules.region, here, place), place.store_id),
    )


def _collected(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], rules: Rules
) -> list[Decision]:
    store = next((place for place in rules.places if place.store_id == rules.pickup_store_id), None)
    if store is None or not store.allows_pickup:
        raise NoPickupThere
    _refuse_shortage(wanted, stocks, [store])
    return [Decision(sku, store.store_id, quantity, "pickup") for sku, quantity in wanted.items()]


def _refuse_shortage(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], places: Sequence[Place]
) -> None:
    sums = {sku: sum(_has(stocks, sku, place) for place in places) for sku in wanted}
    short = {sku: sums[sku] for sku, quantity in wanted.items() if sums[sku] < quantity}
    if short:
        raise CannotServe(short)


def _has(stocks: Mapping[tuple[int, int], int], sku_id: int, place: Place) -> int:
    return max(stocks.get((sku_id, place.store_id), 0), 0)


def _has_all(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], places: Sequence[Place]
) -> bool:
    return all(
        sum(_has(stocks, sku, place) for place in places) >= quantity for sku, quantity in wanted.items()
    )


def _from_one(
    wanted: Mapping[int, int],
    place: Place,
    places: Sequence[Place],
    stocks: Mapping[tuple[int, int], int],
) -> list[Decision]:
    reason: Reason = "warehouse" if place.is_warehouse else "nearest"
    if len(places) > 1 and not any(
        _has_all(wanted, stocks, (other,)) for other in places if other is not place
    ):
        reason = "warehouse" if place.is_warehouse else "only_here"
    return [Decision(sku, place.store_id, quantity, reason) for sku, quantity in wanted.items()]


def _fewest(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], places: Sequence[Place]
) -> list[Place]:
    """The smallest set of stores that has everything together; among equals the one that comes first."""
    useful = [place for place in places if any(_has(stocks, sku, place) for sku in wanted)]
    for size, most in MOST_TRIED.items():
        if len(useful) > most:
            break
        for some in combinations(useful, size):
            if _has_all(wanted, stocks, some):
                return list(some)
    return _greedy(wanted, stocks, useful)


def _greedy(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], useful: Sequence[Place]
) -> list[Place]:
    missing, chosen, left = dict(wanted), [], list(useful)
    while any(missing.values()):
        gains = [
            sum(min(_has(stocks, sku, place), count) for sku, count in missing.items()) for place in left
        ]
        best = left.pop(gains.index(max(gains)))  # the first of the best: `left` is in order of preference
        chosen.append(best)
        for sku in missing:
            missing[sku] -= min(_has(stocks, sku, best), missing[sku])
    # A store taken early may have become superfluous.
    for place in list(reversed(chosen)):
        rest = [other for other in chosen if other is not place]
        if rest and _has_all(wanted, stocks, rest):
            chosen = rest
    return [place for place in useful if place in chosen]


def _shared_out(
    wanted: Mapping[int, int], stocks: Mapping[tuple[int, int], int], chosen: Sequence[Place]
) -> list[Decision]:
    """Each SKU whole from the first store that has enough of it, else from several in order of preference."""
    decisions = []
    for sku, quantity in wanted.items():
        whole = next((place for place in chosen if _has(stocks, sku, place) >= quantity), None)
        for place in (whole,) if whole is not None else chosen:
            part = min(_has(stocks, sku, place), quantity)
            if part:
                decisions.append(Decision(sku, place.store_id, part, "split"))
                quantity -= part
    return decisions


# --- Near and far --------------------------------------------------------------------------------------------------
# Capitals of the provinces in degrees north and east: an address names its province, hardly anybody's coordinates.
CAPITALS: dict[str, tuple[float, float]] = {
    "北京": (39.90, 116.40), "天津": (39.13, 117.20), "河北": (38.04, 114.51), "山西": (37.87, 112.55),
    "内蒙古": (40.84, 111.75), "辽宁": (41.80, 123.43), "吉林": (43.88, 125.32), "黑龙江": (45.80, 126.53),
    "上海": (31.23, 121.47), "江苏": (32.06, 118.80), "浙江": (30.27, 120.15), "安徽": (31.82, 117.23),
    "福建": (26.07, 119.30), "江西": (28.68, 115.86), "山东": (36.67, 117.00), "河南": (34.76, 113.65),
    "湖北": (30.58, 114.30), "湖南": (28.23, 112.94), "广东": (23.13, 113.26), "广西": (22.82, 108.37),
    "海南": (20.04, 110.35), "重庆": (29.56, 106.55), "四川": (30.57, 104.07), "贵州": (26.65, 106.63),
    "云南": (25.04, 102.71), "西藏": (29.65, 91.14), "陕西": (34.34, 108.94), "甘肃": (36.06, 103.83),
    "青海": (36.62, 101.78), "宁夏": (38.49, 106.23), "新疆": (43.82, 87.62), "香港": (22.32, 114.17),
    "澳门": (22.20, 113.55), "台湾": (25.03, 121.57),
}  # fmt: skip
EARTH_KM, FAR_KM = 6371.0, 99_999


@lru_cache(maxsize=5_000)
def _whereabouts(region: str) -> tuple[float, float] | None:
    return next((point for name, point in CAPITALS.items() if region.strip().startswith(name)), None)


@lru_cache(maxsize=20_000)
def _distance(region: str, here: tuple[float, float] | None, place: Place) -> tuple[int, int]:
    """(0 same city, 1 same province, 2 elsewhere; kilometres): nothing known counts as far."""
    words = region.split()
    city, province = _bare(place.city), _bare(place.province)
    if city and any(_bare(word) == city for word in words[:2]):
        return 0, 0
    if province and words and _bare(words[0]) == province:
        return 1, 0
    if place.latitude is not None and place.longitude is not None:
        there: tuple[float, float] | None = (place.latitude, place.longitude)
    else:
        there = _whereabouts(place.province)
    if here is None or there is None:
        return 2, FAR_KM
    return 2, _kilometres(here, there)


def _bare(name: str) -> str:
    """ "上海市" and "上海" are one place."""
    name = name.strip()
    for ending in ("维吾尔自治区", "壮族自治区", "回族自治区", "特别行政区", "自治区", "省", "市"):
        if name.endswith(ending) and len(name) > len(ending):
            return name.removesuffix(ending)
    return name


def _kilometres(here: tuple[float, float], there: tuple[float, float]) -> int:
    (north, east), (other_north, other_east) = here, there
    half = (
        sin(radians(other_north - north) / 2) ** 2
        + cos(radians(north)) * cos(radians(other_north)) * sin(radians(other_east - east) / 2) ** 2
    )
    return round(2 * EARTH_KM * asin(sqrt(min(half, 1.0))))
