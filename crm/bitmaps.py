"""Segments as set operations: what is kept as bitmaps, how rules become operations on them, how these are done.

A dimension is one thing that members differ by, and a value of it is shared by the members of one bitmap. Numbers of
`BANDED` dimensions share a bitmap with their neighbours; who stands in a band through which a rule cuts is *unsure*
until her own numbers are read. Nothing here asks the database.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pyroaring import BitMap

from crm.segments import CONSENTS

# Dimension → what its values are. `tier:NAME` has the value 0 only.
LIVING, TAG, SOURCE, CONSENT, FOLLOWS, CONTACT = "living", "tag", "source", "consent", "follows", "contact"
PAID_DAY, JOINED_DAY, SILENT_DAY, TOUCH_DAY = "paid_day", "joined_day", "silent_day", "touch_day"
ORDERS, SPEND, NET, VISITS = "orders", "spend", "net", "visits"
BANDED = frozenset({ORDERS, SPEND, NET, VISITS})
EPOCH = dt.date(1970, 1, 1)
FARTHEST_DAYS = 36_500
LOWEST, HIGHEST = -(2**62), 2**62

State = dict[str, tuple[int, ...]]
"""One member as the dimensions see her: dimension → her own values, exact; a dimension without value is missing."""


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01, as the function crm_shop_day of the database counts them."""
    return (day - EPOCH).days


def tier_dimension(tier: str) -> str:
    return f"tier:{tier}"


def band_of(number: int) -> int:
    """The band of a number, as the function crm_band of the database has it."""
    if number < 100:
        return max(number, -1)
    digits = str(number)
    return 100 + (len(digits) - 3) * 90 + int(digits[:2]) - 10


def band_ends(band: int) -> tuple[int, int]:
    """The least and the greatest number of a band, both within it."""
    if band < 0:
        return LOWEST, -1
    if band < 100:
        return band, band
    decade, lead = divmod(band - 100, 90)
    width = 10 ** (decade + 1)
    return (lead + 10) * width, (lead + 11) * width - 1


def bits_of(state: State) -> Iterator[tuple[str, int]]:
    """The bitmaps that a member stands in."""
    for dimension, values in state.items():
        for value in values:
            yield dimension, band_of(value) if dimension in BANDED else value


# --- Plans


@dataclass(frozen=True)
class Within:
    """Members with a value of the dimension from `low` to `high`, both within."""

    dimension: str
    low: int
    high: int

    def bands(self) -> tuple[tuple[int, int], list[int]]:
        """(first, last) bitmap of which everybody is meant, and the bitmaps of which some may be."""
        if self.dimension not in BANDED:
            return (self.low, self.high), []
        if self.low > self.high:
            return (0, -1), []
        first = -1 if self.low < 0 else band_of(self.low)
        last = HIGHEST if self.high >= HIGHEST else band_of(self.high)
        cut = []
        if self.low > LOWEST and band_ends(first)[0] < self.low:
            cut.append(first)
        if last < HIGHEST and band_ends(last)[1] > self.high:
            cut.append(last)
        return (first + (first in cut), last - (last in cut)), sorted(set(cut))


@dataclass(frozen=True)
class Facts:
    """Members with at least `times` facts of the kind from the day `first` to `last`, about one of the subjects."""

    kind: str
    subjects: tuple[str, ...]  # none: whatever it is about
    times: int
    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Every:
    parts: tuple["Plan", ...]


@dataclass(frozen=True)
class Some:
    """Members of at least one part; without parts nobody."""

    parts: tuple["Plan", ...]


@dataclass(frozen=True)
class Without:
    part: "Plan"


Plan = Within | Facts | Every | Some | Without
EVERYBODY = Within(LIVING, 0, 0)


def plan_of(node: dict[str, Any], today: dt.date) -> Plan:
    """Checked rules, with segments in place of their names → the plan; `today` is the day that ages count from."""
    if "all" in node:
        return Every(tuple(plan_of(child, today) for child in node["all"])) if node["all"] else EVERYBODY
    if "any" in node:
        return Some(tuple(plan_of(child, today) for child in node["any"])) if node["any"] else EVERYBODY
    if "not" in node:
        return Without(plan_of(node["not"], today))
    return plan_of_condition(node["field"], node["op"], node["value"], today)


def plan_of_condition(field: str, op: str, value: Any, today: dt.date) -> Plan:
    match field:
        case "tags":
            tags = tuple(Within(TAG, one, one) for one in value)
            return Every(tags) if op == "all" else _asked(Some(tags), op == "any")
        case "last_order_days":
            return _days_ago(PAID_DAY, value, today)
        case "joined_days":
            return _days_ago(JOINED_DAY, value, today)
        case "touched_days":
            return _days_ago(TOUCH_DAY, value, today)
        case "untouched_days":
            return Without(Within(TOUCH_DAY, _day(today, value - 1), HIGHEST))
        case "silent_days":
            return Within(SILENT_DAY, LOWEST, _day(today, value - 1) - 1)
        case "orders" | "visits" | "spend_fen" | "net_fen":
            return _number({"spend_fen": SPEND, "net_fen": NET}.get(field, field), value)
        case "source":
            return _asked(Some(tuple(Within(SOURCE, one, one) for one in value)), op == "in")
        case "tier":
            return _asked(Some(tuple(Within(tier_dimension(one), 0, 0) for one in value)), op == "in")
        case "following":
            ends = (LOWEST, HIGHEST) if value is None else (value, value)
            return _asked(Within(FOLLOWS, *ends), op == "yes")
        case "contact":
            return _asked(Within(CONTACT, LOWEST, HIGHEST), op == "yes")
        case "fact":
            first = today - dt.timedelta(days=value["days"] - 1)
            subjects = tuple(value.get("subjects", ()))
            return _asked(Facts(value["kind"], subjects, value["times"], first, today), op == "at_least")
        case "consent":
            answer = CONSENTS[value]
            return (
                Without(Within(CONSENT, 0, 1))
                if answer is None
                else Within(CONSENT, int(answer), int(answer))
            )
    raise ValueError(f"nothing is known about {field}")


def _asked(plan: Plan, is_asked: bool) -> Plan:
    return plan if is_asked else Without(plan)


def _day(today: dt.date, days_ago: int) -> int:
    return day_number(today) - min(days_ago, FARTHEST_DAYS)


def _days_ago(dimension: str, ends: list[int | None], today: dt.date) -> Plan:
    nearest, farthest = ends
    return Within(
        dimension,
        LOWEST if farthest is None else _day(today, farthest),
        _day(today, nearest) if nearest else HIGHEST,
    )


def _number(dimension: str, ends: list[int | None]) -> Plan:
    low, high = ends
    return Within(dimension, LOWEST if low is None else low, HIGHEST if high is None else high)


def leaves(plan: Plan) -> Iterator[Within | Facts]:
    match plan:
        case Within() | Facts():
            yield plan
        case Every(parts) | Some(parts):
            for part in parts:
                yield from leaves(part)
        case Without(part):
            yield from leaves(part)


# --- Evaluation


@dataclass(frozen=True)
class Sets:
    """What the leaves of a plan need: the living, and for each leaf who is surely and who is possibly meant."""

    living: BitMap
    sure: dict[Within | Facts, BitMap]
    possible: dict[Within | Facts, BitMap]


def evaluate(plan: Plan, sets: Sets) -> tuple[BitMap, BitMap]:
    """(who is surely meant, who is possibly meant), the first within the second; one and the same set where nothing
    is unsure. What is given is not changed.
    """
    match plan:
        case Within() | Facts():
            return sets.sure[plan], sets.possible[plan]
        case Every(parts):
            return _joined(_met, [evaluate(part, sets) for part in parts])
        case Some(parts):
            return _joined(lambda several: BitMap.union(*several), [evaluate(part, sets) for part in parts])
        case Without(part):
            return _joined(lambda one: sets.living - one[0], [evaluate(part, sets)[::-1]])


def _joined(
    join: Callable[[list[BitMap]], BitMap], pairs: list[tuple[BitMap, BitMap]]
) -> tuple[BitMap, BitMap]:
    sure = join([one for one, _two in pairs])
    if all(one is two for one, two in pairs):
        return sure, sure
    return sure, join([two for _one, two in pairs])


def _met(parts: list[BitMap]) -> BitMap:
    """The members of all parts, the smallest first: every step is then at most as large."""
    ordered = sorted(parts, key=len)
    result = ordered[0]
    for part in ordered[1:]:
        result = result & part
    return result


def holds(plan: Plan, state: State, done: Collection[Facts]) -> bool:
    """The plan for one living member whose values are known; `done` are the facts of the plan that are hers."""
    match plan:
        case Within(dimension, low, high):
            return any(low <= value <= high for value in state.get(dimension, ()))
        case Facts():
            return plan in done
        case Every(parts):
            return all(holds(part, state, done) for part in parts)
        case Some(parts):
            return any(holds(part, state, done) for part in parts)
        case Without(part):
            return not holds(part, state, done)
