"""Members of whom everything may be anything, random rules about them, and who is meant as one finds it on paper."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from core import clock
from crm import segments
from crm.models import Activity, Identity, Member, MemberStats, MemberTag, Segment
from tests.crm.conftest import MORNING
from wechat.models import Account

CROWD = 24
AMOUNTS = [0, 1, 99, 100, 9_900, 50_000, 50_001, 51_234, 99_999, 100_000, 1_234_567]
DAYS = [0, 1, 6, 7, 8, 29, 30, 31, 90, 91, 400]
TIERS = ["", "金卡", "银卡"]


def condition(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def of_day(chance: random.Random, days_ago: int) -> datetime:
    """A moment of the shop's day so many days ago, its very first and last second among them."""
    start = clock.day_start(clock.today() - timedelta(days=days_ago))
    return start + timedelta(seconds=chance.choice([0, 86_399, chance.randrange(86_400)]))


class Crowd:
    """Members of whom everything may be anything, and what is true of them as plain values."""

    def __init__(self, brand: Account, corp: Account, tag: Callable[[str], Any], seed: int) -> None:
        self.chance = random.Random(seed)
        self.accounts = {Identity.OPENID: brand, Identity.EXTERNAL_USERID: corp}
        self.tags = [tag(name).pk for name in ("玫瑰", "木质", "送礼")]
        self.members = Member.objects.bulk_create(
            Member(created_at=of_day(self.chance, self.chance.choice(DAYS))) for _number in range(CROWD)
        )
        MemberStats.objects.bulk_create(MemberStats(member=member) for member in self.members)
        for member in self.members:
            self.change(member.pk)
        self.segment = Segment.objects.create(
            name="里面", rules=condition("orders", "between", [1, None]), created_at=MORNING
        )

    def change(self, pk: int) -> None:
        chance = self.chance
        paid = chance.choice(AMOUNTS)
        moments = [of_day(chance, chance.choice(DAYS)) if chance.random() < 0.7 else None for _ in range(3)]
        MemberStats.objects.filter(pk=pk).update(
            orders_count=chance.choice([0, 1, 2, 120]),
            paid_fen=paid,
            refunded_fen=chance.choice([0, paid // 2, paid]),
            visits_count=chance.choice([0, 3]),
            last_paid_at=moments[0],
            last_active_at=moments[1],
            last_touch_at=moments[2],
            marketing_consent=chance.choice([None, True, False]),
        )
        Member.objects.filter(pk=pk).update(tier=chance.choice(TIERS))
        MemberTag.objects.filter(member=pk).delete()
        MemberTag.objects.bulk_create(
            MemberTag(member_id=pk, tag_id=one, origin="staff:1", at=MORNING)
            for one in self.tags
            if chance.random() < 0.4
        )
        Identity.objects.filter(member=pk).delete()
        Identity.objects.bulk_create(
            Identity(member_id=pk, kind=kind, account=account, value=f"{kind}-{pk}", is_following=True,
                     followed_at=MORNING, created_at=MORNING)
            for kind, account in self.accounts.items() if chance.random() < 0.5
        )  # fmt: skip
        Activity.objects.bulk_create(
            Activity(member_id=pk, kind="viewed_product", at=of_day(chance, chance.choice(DAYS)),
                     subject=f"product:{chance.randrange(3)}")
            for _number in range(chance.randrange(4))
        )  # fmt: skip

    def trees(self) -> st.SearchStrategy[dict[str, Any]]:
        def between(values: list[int]) -> st.SearchStrategy[list[int | None]]:
            one = st.sampled_from(values)
            both = st.tuples(one, one).map(sorted)
            return both | one.map(lambda low: [low, None]) | one.map(lambda high: [None, high])

        def made(field: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
            return st.builds(condition, st.just(field), st.sampled_from(segments.OPS[field]), value)

        some_tags = st.lists(st.sampled_from(self.tags), min_size=1, max_size=3, unique=True)
        fact = st.fixed_dictionaries(
            {
                "kind": st.just("viewed_product"),
                "times": st.integers(1, 3),
                "days": st.sampled_from([1, 7, 8, 500]),
            },
            optional={
                "subjects": st.lists(
                    st.sampled_from(["product:0", "product:1"]), min_size=1, max_size=2, unique=True
                )
            },
        )
        accounts = st.sampled_from([None, self.accounts[Identity.OPENID].pk, 10**9])
        leaf = st.one_of(
            made("tags", some_tags),
            made("tier", st.lists(st.sampled_from(TIERS), min_size=1, max_size=2)),
            *(
                made(field, between(DAYS))
                for field in ("last_order_days", "joined_days", "touched_days", "orders")
            ),
            *(made(field, between(AMOUNTS)) for field in ("spend_fen", "net_fen")),
            *(made(field, st.sampled_from(DAYS[1:])) for field in ("silent_days", "untouched_days")),
            made("following", accounts),
            made("contact", st.none()),
            made("consent", st.sampled_from(list(segments.CONSENTS))),
            made("segment", st.just([self.segment.pk])),
            made("fact", fact),
        )
        return st.recursive(
            leaf,
            lambda inner: (
                st.lists(inner, max_size=3).map(lambda parts: {"all": parts})
                | st.lists(inner, max_size=3).map(lambda parts: {"any": parts})
                | inner.map(lambda part: {"not": part})
            ),
            max_leaves=6,
        ).filter(lambda tree: _depth(tree) <= segments.DEEPEST)

    def found_plainly(self, rules: dict[str, Any]) -> set[int]:
        """As one would do it on paper: member by member, condition by condition."""
        rows = Member.objects.filter(merged_into=None).select_related("stats")
        rows = rows.prefetch_related("member_tags", "identities", "activities")
        return {member.pk for member in rows if self.is_meant(rules, member)}

    def is_meant(self, node: dict[str, Any], member: Member) -> bool:
        if "all" in node:
            return all(self.is_meant(child, member) for child in node["all"])
        if "any" in node:
            return not node["any"] or any(self.is_meant(child, member) for child in node["any"])
        if "not" in node:
            return not self.is_meant(node["not"], member)
        return self.is_so(node["field"], node["op"], node["value"], member)

    def is_so(self, field: str, op: str, value: Any, member: Member) -> bool:
        stats = member.stats

        def days(moment: datetime | None) -> int | None:
            return None if moment is None else (clock.today() - clock.local(moment).date()).days

        def within(number: int | None) -> bool:
            low, high = value
            return number is not None and (low or 0) <= number and (high is None or number <= high)

        tags = {row.tag_id for row in member.member_tags.all()}
        addresses = [one for one in member.identities.all() if one.is_following]
        if field == "fact":
            facts = [one for one in member.activities.all() if one.kind == value["kind"]]
            about = value.get("subjects")
            times = sum(days(one.at) < value["days"] and (not about or one.subject in about) for one in facts)
            return (times >= value["times"]) == (op == "at_least")
        plain: dict[str, Callable[[], bool]] = {
            "tags": lambda: {
                "any": bool(tags & set(value)),
                "all": tags >= set(value),
                "none": not tags & set(value),
            }[op],
            "tier": lambda: (member.tier in value) == (op == "in"),
            "last_order_days": lambda: within(days(stats.last_paid_at)),
            "joined_days": lambda: within(days(member.created_at)),
            "touched_days": lambda: within(days(stats.last_touch_at)),
            "untouched_days": lambda: stats.last_touch_at is None or days(stats.last_touch_at) >= value,
            "silent_days": lambda: days(stats.last_active_at or member.created_at) >= value,
            "orders": lambda: within(stats.orders_count),
            "spend_fen": lambda: within(stats.paid_fen),
            "net_fen": lambda: within(stats.paid_fen - stats.refunded_fen),
            "consent": lambda: stats.marketing_consent is segments.CONSENTS[value],
            "segment": lambda: (stats.orders_count >= 1) == (op == "in"),
            "contact": lambda: any(one.kind == "external_userid" for one in addresses) == (op == "yes"),
            "following": lambda: (
                any(one.kind == "openid" and value in (None, one.account_id) for one in addresses)
                == (op == "yes")
            ),
        }
        return plain[field]()


def _depth(node: dict[str, Any]) -> int:
    children = [child for join in ("all", "any") for child in node.get(join, [])] + [
        node[join] for join in ("not",) if join in node
    ]
    return 1 + max(map(_depth, children), default=0)
