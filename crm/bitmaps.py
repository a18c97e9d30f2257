"""Segments as set operations: what is kept as bitmaps, how rules become operations on them, how these are done.

A dimension is one thing that members differ by, and a value of it is shared by the members of one bitmap. Numbers of
`BANDED` dimensions share a bitmap with their neighbours; who stands in a band through which a rule cuts is *unsure*
until her own numbers are read. Nothing here asks the database.
"""

import datetime as dt
from calendar import isleap
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyroaring import BitMap

from crm.days import LUNAR, key_of, next_returns
from crm.models.lifecycle import cell_scores
from crm.segments_values import CONSENTS, STAGE_WORDS, WAY_WORDS

# Dimension → what its values are. `tier:NAME` has the value 0 only; a birthday is month * 100 + day; ways of joining
# and stages are places in WAY_WORDS and STAGE_WORDS, from 1.
LIVING, TAG, SOURCE, CONSENT, FOLLOWS, CONTACT = "living", "tag", "source", "consent", "follows", "contact"
PAID_DAY, JOINED_DAY, SILENT_DAY, TOUCH_DAY = "paid_day", "joined_day", "silent_day", "touch_day"
ORDERS, SPEND, NET, VISITS = "orders", "spend", "net", "visits"
BIRTHDAY, WAY, STAGE, RFM = "birthday", "way", "stage", "rfm"
BANDED = frozenset({ORDERS, SPEND, NET, VISITS})
EPOCH = dt.date(1970, 1, 1)
FARTHEST_DAYS = 36_500
OLDEST_YEARS = 40
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
class Rows:
    """Members of whom a table says so: a question of `crm.bitmap_asks`, asked when the rule is."""

    question: str
    params: tuple[Any, ...]


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


Asked = Facts | Rows
Plan = Within | Facts | Rows | Every | Some | Without
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
        case "fact" | "touches":
            kind = value["kind"] if field == "fact" else "touched"
            first = today - dt.timedelta(days=value["days"] - 1)
            subjects = tuple(value.get("subjects", ()))
            return _asked(Facts(kind, subjects, value["times"], first, today), op == "at_least")
        case "joined_via":
            return _asked(_one_of(WAY, [WAY_WORDS.index(one) + 1 for one in value]), op == "in")
        case "stage":
            chosen = _one_of(STAGE, [STAGE_WORDS.index(one) + 1 for one in value if one])
            never = (Without(Within(STAGE, LOWEST, HIGHEST)),) if "" in value else ()
            return _asked(Some((chosen, *never)), op == "in")
        case "rfm":
            return _asked(_one_of(RFM, cell_scores(value)), op == "in")
        case "birthday_month":
            months = tuple(Within(BIRTHDAY, month * 100, month * 100 + 99) for month in value)
            return _asked(Some(months), op == "in")
        case "birthday_days":
            solar = Some(tuple(Within(BIRTHDAY, *ends) for ends in birthdays_within(value, today)))
            lunar = Rows("day_returns", ("birthday", returning_keys(value, today, calendar=LUNAR)))
            return Some((Every((solar, Without(LUNAR_BIRTHDAY))), lunar))
        case "birthday_calendar":
            born = Within(BIRTHDAY, LOWEST, HIGHEST)
            parts: dict[str, Plan] = {
                "lunar": LUNAR_BIRTHDAY,
                "solar": Every((born, Without(LUNAR_BIRTHDAY))),
                "": Every((Without(born), Without(LUNAR_BIRTHDAY))),
            }
            return _asked(Some(tuple(parts[one] for one in dict.fromkeys(value))), op == "in")
        case "anniversary":
            return _anniversary(value, today)
        case "points" | "growth" | "stored_fen":
            return _balance(BALANCES[field], *value)
        case "chance_percent":
            low, high = (None if end is None else min(end, 101) * 100 for end in value)
            return Rows("chance", (low or 0, 10_000 if high is None else high))
        case "aipl" | "guide" | "store" | "group" | "region" | "device":
            return _asked(Rows(field, (tuple(value),) * QUESTIONS_TAKE[field]), op == "in")
        case "custom":
            return _custom(op, value)
        case "consent":
            answer = CONSENTS[value]
            return (
                Without(Within(CONSENT, 0, 1))
                if answer is None
                else Within(CONSENT, int(answer), int(answer))
            )
    raise ValueError(f"nothing is known about {field}")


BALANCES = {
    "points": ("points",),
    "growth": ("growth",),
    "stored_fen": ("stored_value", "stored_value.bonus"),
}
"""Field → the kinds of ledger accounts whose balances add up to it."""
QUESTIONS_TAKE = {
    "aipl": 1,
    "guide": 1,
    "store": 3,
    "group": 1,
    "region": 1,
    "device": 1,
}  # how often the chosen ones stand in the question


def _balance(kinds: tuple[str, ...], low: int | None, high: int | None) -> Plan:
    """Who has no account has nothing: a range with 0 in it is everybody but those above it."""
    above = Rows("balance", (kinds, HIGHEST if high is None else high + 1, HIGHEST))
    if not low:
        return EVERYBODY if high is None else Without(above)
    return Rows("balance", (kinds, low, HIGHEST if high is None else high))


def _custom(op: str, value: dict[str, Any]) -> Plan:
    field = value["field"]
    match op:
        case "in" | "not_in":
            return _asked(Rows("field_words", (field, tuple(value["values"]))), op == "in")
        case "known" | "unknown":
            return _asked(Rows("field", (field,)), op == "known")
    low, high = value["from"], value["to"]
    if isinstance(low, str) or isinstance(high, str):
        return Rows("field_days", (field, low or "0001-01-01", high or "9999-12-31"))
    return Rows("field_numbers", (field, -(10**15) if low is None else low, 10**15 if high is None else high))


LUNAR_BIRTHDAY = Rows("keeps_day", ("birthday",))


def returning_keys(ends: list[int | None], today: dt.date, *, calendar: str = "") -> tuple[int, ...]:
    """Keys (`crm.days.key_of`) of the days of the year whose next return is so many days away."""
    low, high = ends[0] or 0, HIGHEST if ends[1] is None else ends[1]
    return tuple(
        sorted(
            key_of(day)
            for day, days in next_returns(today).items()
            if low <= days <= high and calendar in ("", day.calendar)
        )
    )


def _anniversary(value: dict[str, Any], today: dt.date) -> Plan:
    ends = [value["from"], value["to"]]
    if value["of"] == "joined":
        return Some(tuple(Within(JOINED_DAY, *run) for run in joinings_within(ends, today)))
    if value["of"] == "field":
        dates = (one for first, last in birthdays_within(ends, today) for one in range(first, last + 1))
        return Rows("field_returns", (value["field"], tuple(dates)))
    return Rows("day_returns", (value["of"], returning_keys(ends, today)))


def joinings_within(ends: list[int | None], today: dt.date) -> list[tuple[int, int]]:
    """Days of joining (first and last, as `day_number`) before today whose next anniversary is so many days away;
    of the last OLDEST_YEARS years.
    """
    days = sorted(
        day_number(dt.date(year, month, day))
        for year in range(today.year - OLDEST_YEARS, today.year + 1)
        for first, last in birthdays_within(ends, today)
        for month, day in (divmod(one, 100) for one in range(first, last + 1))
        if (month, day) != (2, 29) or isleap(year)
    )
    runs: list[tuple[int, int]] = []
    for one in days:
        if one >= day_number(today):
            break
        if runs and runs[-1][1] == one - 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return runs


def _one_of(dimension: str, values: Iterable[int]) -> Some:
    return Some(tuple(Within(dimension, one, one) for one in values))


def birthdays_within(ends: list[int | None], today: dt.date) -> list[tuple[int, int]]:
    """Birthdays (month * 100 + day, first and last) whose next return is so many days away, today being 0.

    The 29th of February is kept on the 28th in years without it.
    """
    low, high = ends[0] or 0, 366 if ends[1] is None else ends[1]
    chosen = sorted(birthday for birthday, days in days_until(today).items() if low <= days <= high)
    runs: list[tuple[int, int]] = []
    for one in chosen:
        if runs and runs[-1][1] == one - 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return runs


def days_until(today: dt.date) -> dict[int, int]:
    """Each birthday of a year → how many days until its next return."""
    found: dict[int, int] = {}
    for days in range(366):
        day = today + dt.timedelta(days=days)
        found.setdefault(day.month * 100 + day.day, days)
        if (day.month, day.day) == (2, 28) and not isleap(day.year):
            found.setdefault(229, days)
    return found


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


def leaves(plan: Plan) -> Iterator[Within | Asked]:
    match plan:
        case Within() | Facts() | Rows():
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
    sure: dict[Within | Asked, BitMap]
    possible: dict[Within | Asked, BitMap]


def evaluate(plan: Plan, sets: Sets) -> tuple[BitMap, BitMap]:
    """(who is surely meant, who is possibly meant), the first within the second; one and the same set where nothing
    is unsure. What is given is not changed.
    """
    match plan:
        case Within() | Facts() | Rows():
            return sets.sure[plan], sets.possible[plan]
        case Every(parts):
            return _joined(_met, [evaluate(part, sets) for part in parts])
        case Some(parts):
            return _joined(_any_of, [evaluate(part, sets) for part in parts])
        case Without(part):
            return _joined(lambda one: sets.living - one[0], [evaluate(part, sets)[::-1]])


def _joined(
    join: Callable[[list[BitMap]], BitMap], pairs: list[tuple[BitMap, BitMap]]
) -> tuple[BitMap, BitMap]:
    sure = join([one for one, _two in pairs])
    if all(one is two for one, two in pairs):
        return sure, sure
    return sure, join([two for _one, two in pairs])


def _any_of(parts: list[BitMap]) -> BitMap:
    return BitMap.union(*parts) if parts else BitMap()


def _met(parts: list[BitMap]) -> BitMap:
    """The members of all parts, the smallest first: every step is then at most as large."""
    ordered = sorted(parts, key=len)
    result = ordered[0]
    for part in ordered[1:]:
        result = result & part
    return result


def holds(plan: Plan, state: State, done: Collection[Asked]) -> bool:
    """The plan for one living member whose values are known; `done`: what of the plan is asked and so of her."""
    match plan:
        case Within(dimension, low, high):
            return any(low <= value <= high for value in state.get(dimension, ()))
        case Facts() | Rows():
            return plan in done
        case Every(parts):
            return all(holds(part, state, done) for part in parts)
        case Some(parts):
            return any(holds(part, state, done) for part in parts)
        case Without(part):
            return not holds(part, state, done)
