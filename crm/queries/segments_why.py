"""Why a member is in a segment or not: every condition with what is so of her, and its verdict."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import F, Q, QuerySet, Sum

from core import clock
from core.models import LedgerAccount
from crm import bitmap_asks, bitmap_rows, bitmaps, segments
from crm.bitmaps import Asked, Facts
from crm.days import SOLAR, YearDay, next_returns
from crm.models import (
    Contact,
    Member,
    MemberAipl,
    MemberDay,
    MemberFieldValue,
    MemberGroup,
    MemberLife,
    MemberTraits,
    Segment,
    Staff,
)
from crm.models.lifecycle import rfm_cell
from crm.queries import segments_told
from crm.segments_values import STAGE_WORDS, WAY_WORDS


@dataclass(frozen=True)
class Verdict:
    """A node of the rules as it judges one member. `join`: "" for a condition, else all, any, not.

    `value` is what is so of her in the condition's unit: days ago, a number, fen, how many times, her tier, ids of
    tags, codes, accounts or segments; None when there is nothing.
    """

    is_true: bool
    join: str = ""
    wanted: str = ""  # "tags: has any of 玫瑰"
    value: Any = None
    hers: str = ""  # the value in words: "rose, musk"
    children: list["Verdict"] = field(default_factory=list)

    @property
    def title(self) -> str:
        return segments_told.join_label(self.join)

    def conditions(self) -> list["Verdict"]:
        """The conditions within, in the order of the rules."""
        return [one for child in self.children for one in child.conditions()] if self.join else [self]


@dataclass(frozen=True)
class Explanation:
    is_in: bool
    is_living: bool  # a merged or unknown member is in no segment
    tree: Verdict


def explain(rules: Segment | dict[str, Any], member_id: int) -> Explanation:
    """Why the member is in the segment or not, condition by condition, as the tree of the rules. Raises WrongRules.

    A handful of statements and one for each condition about the timeline.
    """
    checked = segments.check(rules.rules, rules.pk) if isinstance(rules, Segment) else segments.check(rules)
    hers = _Hers(member_id)
    judged = {id(leaf): hers.judge(leaf) for leaf in segments.conditions(checked)}
    names = segments_told.names_in(
        segments.conditions(checked), values=[value for value, _holds in judged.values()]
    )

    def tell(node: dict[str, Any]) -> Verdict:
        if "field" in node:
            value, holds = judged[id(node)]
            told = segments_told.hers_in_words(node, value, names) if hers.is_living else ""
            return Verdict(holds, wanted=segments_told.in_words(node, names), value=value, hers=told)
        if "not" in node:
            inner = tell(node["not"])
            return Verdict(not inner.is_true, "not", children=[inner])
        join = "any" if "any" in node else "all"
        children = [tell(child) for child in node[join]]
        # An empty group asks nothing, also where any would do.
        some = any if join == "any" and children else all
        return Verdict(some(child.is_true for child in children), join, children=children)

    tree = tell(checked)
    return Explanation(hers.is_living and tree.is_true, hers.is_living, tree)


class _Hers:
    """A member's own values, each read once."""

    def __init__(self, member_id: int) -> None:
        self._member_id = member_id
        self._today = clock.today()
        state = dict(bitmap_rows.states_of([member_id])).get(member_id)
        self.is_living = state is not None
        self._state: bitmaps.State = state or {}
        self._times: dict[Asked, int] = {}

    def judge(self, condition: dict[str, Any]) -> tuple[Any, bool]:
        """What is so of her, and whether that is what the condition wants."""
        if not self.is_living:
            return None, False
        holds = self._holds(condition)
        name = condition["field"]
        if name == "segment":
            return [
                pk for pk in condition["value"] if self._holds({**condition, "op": "in", "value": [pk]})
            ], holds
        if name in ("fact", "touches"):
            return next(iter(self._times_of(self._plan(condition)).values()), 0), holds
        if name in TOLD:
            return TOLD[name](self._member_id, condition), holds
        return VALUES[name](self._state, self._today), holds

    def _plan(self, condition: dict[str, Any]) -> bitmaps.Plan:
        return bitmaps.plan_of(segments.expanded({"all": [condition]}), self._today)

    def _holds(self, condition: dict[str, Any]) -> bool:
        plan = self._plan(condition)
        done = {leaf for leaf, times in self._times_of(plan).items() if times >= _least(leaf)}
        return bitmaps.holds(plan, self._state, done)

    def _times_of(self, plan: bitmaps.Plan) -> dict[Asked, int]:
        wanted = [leaf for leaf in bitmaps.leaves(plan) if not isinstance(leaf, bitmaps.Within)]
        for leaf in wanted:
            if leaf not in self._times:
                self._times[leaf] = bitmap_asks.times_of(leaf, self._member_id)
        return {leaf: self._times[leaf] for leaf in wanted}


def _least(leaf: Asked) -> int:
    return leaf.times if isinstance(leaf, Facts) else 1


Value = Callable[[bitmaps.State, dt.date], Any]


def _days_ago(dimension: str) -> Value:
    def days(state: bitmaps.State, today: dt.date) -> int | None:
        found = state.get(dimension)
        return bitmaps.day_number(today) - found[0] if found else None

    return days


def _number(dimension: str) -> Value:
    return lambda state, _today: next(iter(state.get(dimension, ())), None)


def _several(dimension: str) -> Value:
    return lambda state, _today: sorted(state.get(dimension, ()))


def _tier(state: bitmaps.State, _today: dt.date) -> str:
    return next(name.removeprefix("tier:") for name in state if name.startswith("tier:"))


def _consent(state: bitmaps.State, _today: dt.date) -> str:
    answers = {1: "given", 0: "withdrawn"}
    return answers[state[bitmaps.CONSENT][0]] if bitmaps.CONSENT in state else "unasked"


def _stage(state: bitmaps.State, _today: dt.date) -> str | None:
    return STAGE_WORDS[state[bitmaps.STAGE][0] - 1] if bitmaps.STAGE in state else None


def _cell(state: bitmaps.State, _today: dt.date) -> str | None:
    return rfm_cell(state[bitmaps.RFM][0]) if bitmaps.RFM in state else None


def _birth_month(state: bitmaps.State, _today: dt.date) -> int | None:
    return state[bitmaps.BIRTHDAY][0] // 100 if bitmaps.BIRTHDAY in state else None


def _way(state: bitmaps.State, _today: dt.date) -> str | None:
    return WAY_WORDS[state[bitmaps.WAY][0] - 1] if bitmaps.WAY in state else None


VALUES: dict[str, Value] = {
    "tags": _several(bitmaps.TAG),
    "tier": _tier,
    "last_order_days": _days_ago(bitmaps.PAID_DAY),
    "joined_days": _days_ago(bitmaps.JOINED_DAY),
    "touched_days": _days_ago(bitmaps.TOUCH_DAY),
    "untouched_days": _days_ago(bitmaps.TOUCH_DAY),
    "silent_days": _days_ago(bitmaps.SILENT_DAY),
    "orders": _number(bitmaps.ORDERS),
    "visits": _number(bitmaps.VISITS),
    "spend_fen": _number(bitmaps.SPEND),
    "net_fen": _number(bitmaps.NET),
    "source": _several(bitmaps.SOURCE),
    "following": _several(bitmaps.FOLLOWS),
    "contact": _several(bitmaps.CONTACT),
    "consent": _consent,
    "stage": _stage,
    "rfm": _cell,
    "birthday_month": _birth_month,
    "joined_via": _way,
}
"""Field → what is so of a member, from her values by dimensions."""


def _balance(member_id: int, condition: dict[str, Any]) -> int:
    accounts = LedgerAccount.objects.filter(kind__in=bitmaps.BALANCES[condition["field"]], owner_id=member_id)
    return int(accounts.aggregate(total=Sum("balance"))["total"] or 0)


def _chance(member_id: int, _condition: dict[str, Any]) -> float | None:
    bps = MemberLife.objects.filter(pk=member_id).values_list("chance_bps", flat=True).first()
    return None if bps is None else bps / 100


def _told(rows: QuerySet[Any], member_id: int, column: str) -> list[Any]:
    hers = rows.filter(Q(member=member_id) | Q(member__merged_into=member_id))
    return sorted(set(hers.values_list(column, flat=True)))


def _guides(member_id: int) -> QuerySet[Staff]:
    is_open = Q(removed_at__isnull=True) | Q(added_at__gt=F("removed_at"))
    contacts = Contact.objects.filter(is_open, added_at__isnull=False, identity__member=member_id)
    return Staff.objects.filter(work_userid__in=contacts.values("userid"))


def _stores(member_id: int) -> list[int]:
    of_code = Member.objects.filter(pk=member_id).values_list("source__store", "source__staff__store").first()
    of_guides = _guides(member_id).values_list("store_id", flat=True)
    return sorted({pk for pk in (*(of_code or ()), *of_guides) if pk is not None})


def _custom(member_id: int, condition: dict[str, Any]) -> dict[str, Any] | None:
    row = MemberFieldValue.objects.filter(member=member_id, field=condition["value"]["field"]).first()
    if row is None:
        return None
    kept = next(one for one in (row.text, row.number, row.date) if one is not None)
    return {
        "field": row.field_id,
        "value": f"{kept.normalize():f}" if isinstance(kept, Decimal) else str(kept),
    }


def _until(day: YearDay) -> int | None:
    return next_returns(clock.today()).get(day)


def _days_kept(member_id: int, kind: str) -> list[YearDay]:
    rows = MemberDay.objects.filter(member=member_id, kind=kind)
    return [YearDay(row.calendar, row.month, row.day, row.is_leap) for row in rows]


def _until_birthday(member_id: int, _condition: dict[str, Any]) -> int | None:
    """The lunar one where she keeps it."""
    if lunar := _days_kept(member_id, MemberDay.BIRTHDAY):
        return _until(lunar[0])
    born = Member.objects.filter(pk=member_id).values_list("birthday", flat=True).first()
    return None if born is None else _until(YearDay(SOLAR, born.month, born.day))


def _calendar(member_id: int, _condition: dict[str, Any]) -> str:
    if MemberDay.objects.filter(member=member_id, kind=MemberDay.BIRTHDAY).exists():
        return MemberDay.LUNAR
    is_known = Member.objects.filter(pk=member_id, birthday__isnull=False).exists()
    return MemberDay.SOLAR if is_known else ""


def _until_anniversary(member_id: int, condition: dict[str, Any]) -> int | None:
    """The nearest, where she keeps several of a kind."""
    of = condition["value"]["of"]
    if of == "joined":
        since = clock.local(Member.objects.values_list("created_at", flat=True).get(pk=member_id)).date()
        return _until(YearDay(SOLAR, since.month, since.day)) if since < clock.today() else None
    if of == "field":
        rows = MemberFieldValue.objects.filter(member=member_id, field=condition["value"]["field"])
        kept = rows.values_list("date", flat=True).first()
        return None if kept is None else _until(YearDay(SOLAR, kept.month, kept.day))
    days = [_until(day) for day in _days_kept(member_id, of)]
    return min((one for one in days if one is not None), default=None)


TOLD: dict[str, Callable[[int, dict[str, Any]], Any]] = {
    **dict.fromkeys(bitmaps.BALANCES, _balance),
    "chance_percent": _chance,
    "birthday_days": _until_birthday,
    "birthday_calendar": _calendar,
    "anniversary": _until_anniversary,
    "device": lambda member_id, _one: list(
        MemberTraits.objects.filter(pk=member_id).exclude(device="").values_list("device", flat=True)
    ),
    "aipl": lambda member_id, _one: (
        MemberAipl.objects.filter(pk=member_id).values_list("step", flat=True).first()
    ),
    "region": lambda member_id, _one: list(
        MemberTraits.objects.filter(pk=member_id).exclude(province="").values_list("province", flat=True)
    ),
    "group": lambda member_id, _one: _told(MemberGroup.objects.all(), member_id, "group_id"),
    "guide": lambda member_id, _one: sorted(_guides(member_id).values_list("pk", flat=True)),
    "store": lambda member_id, _one: _stores(member_id),
    "custom": _custom,
}
"""Field → what is so of a member, from the tables that bitmaps do not follow. One statement or two."""
