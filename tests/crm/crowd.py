"""Members of whom everything may be anything, random rules about them, and who is meant as one finds it on paper."""

import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from core import clock
from core.models import LedgerAccount
from crm import segments, segments_values
from crm.days import YearDay, next_on
from crm.models import (
    Activity,
    ChannelCode,
    Contact,
    Identity,
    Member,
    MemberAipl,
    MemberDay,
    MemberField,
    MemberFieldValue,
    MemberGroup,
    MemberLife,
    MemberStats,
    MemberTag,
    MemberTraits,
    Segment,
    Staff,
    Store,
)
from crm.models.lifecycle import rfm_cell
from tests.crm.conftest import MORNING
from wechat.models import Account

CROWD = 24
AMOUNTS = [0, 1, 99, 100, 9_900, 50_000, 50_001, 51_234, 99_999, 100_000, 1_234_567]
DAYS = [0, 1, 6, 7, 8, 29, 30, 31, 90, 91, 400]
TIERS = ["", "金卡", "银卡"]
BALANCES = [0, 1, 99, 500, 12_345]
BIRTHDAYS = [date(1990, 3, 4), date(1991, 3, 3), date(1992, 2, 29), date(1993, 12, 31), date(1994, 1, 1)]
PROVINCES = ["浙江", "广东", "上海"]
DEVICES = ["ios", "android", ""]
# On 4 March 2026 it is the 16th of the first lunar month; the 30th of a short month is kept on the 29th.
LUNAR_DAYS = [
    YearDay("lunar", 1, 16),
    YearDay("lunar", 1, 30),
    YearDay("lunar", 2, 1, True),
    YearDay("lunar", 12, 8),
]
KEPT_DAYS = [*LUNAR_DAYS, YearDay("solar", 2, 29), YearDay("solar", 3, 4), YearDay("solar", 3, 3)]
WORDS, NUMBERS, DATES = ["香", "茶"], [-1, 0, 38, 39], [date(2026, 1, 1), date(2026, 3, 4)]


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
        stores = [Store.objects.create(code=f"s{number}", name=f"店{number}") for number in range(2)]
        self.stores = [store.pk for store in stores]
        self.guides = [
            Staff.objects.create(work_userid=f"u{number}", name=f"导购{number}", store=store)
            for number, store in enumerate([*stores, None])
        ]
        self.codes = [
            ChannelCode.objects.create(
                name="码", account=brand, scene=f"c{n}", store=store, staff=guide, created_at=MORNING
            )
            for n, (store, guide) in enumerate([(stores[0], None), (None, self.guides[1]), (None, None)])
        ]
        made = (
            ("爱好", "text", []),
            ("尺码", "number", []),
            ("纪念日", "date", []),
            ("肤质", "choice", ["干", "油"]),
        )
        self.fields = [
            MemberField.objects.create(name=name, kind=kind, choices=some) for name, kind, some in made
        ]
        for member in self.members:
            self.change(member.pk)
        for number, member in enumerate(self.members[:3]):  # told of somebody who is a tombstone now
            gone = Member.objects.create(created_at=MORNING, merged_into=member)
            MemberGroup.objects.create(member=gone, group_id=1 + number % 2)
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
        Member.objects.filter(pk=pk).update(
            tier=chance.choice(TIERS),
            birthday=chance.choice([None, *BIRTHDAYS]),
            joined_via=chance.choice(["follow", "login", "import"]),
            source=chance.choice([None, *self.codes]),
        )
        MemberLife.objects.filter(member=pk).delete()
        if chance.random() < 0.7:
            day = clock.today()
            MemberLife.objects.create(
                member_id=pk, frequency=0, first_day=day, last_day=day, spent_fen=1, repeat_fen=0,
                chance_bps=chance.choice([0, 2_999, 3_000, 3_001, 10_000]), vigour_bps=1, orders_milli=0,
                rfm=chance.choice([111, 345, 555]), stage=chance.choice(["new", "lost", "dormant"]),
                since=day, scored_on=day,
            )  # fmt: skip
        MemberAipl.objects.filter(pk=pk).delete()
        if chance.random() < 0.7:
            step = chance.choice(["aware", "interested", "loyal"])
            MemberAipl.objects.create(member_id=pk, step=step, since=clock.today(), seen_orders=0, seen_refunded_fen=0,
                                      seen_visits=0)  # fmt: skip
        LedgerAccount.objects.filter(owner_id=pk).delete()
        LedgerAccount.objects.bulk_create(
            LedgerAccount(kind=kind, owner_id=pk, balance=chance.choice(BALANCES))
            for kind in ("points", "growth", "stored_value", "stored_value.bonus")
            if chance.random() < 0.7
        )
        MemberGroup.objects.filter(member=pk).delete()
        MemberGroup.objects.bulk_create(
            MemberGroup(member_id=pk, group_id=group) for group in (1, 2) if chance.random() < 0.4
        )
        MemberTraits.objects.filter(member=pk).delete()
        if chance.random() < 0.6:
            MemberTraits.objects.create(
                member_id=pk, province=chance.choice(PROVINCES), device=chance.choice(DEVICES)
            )
        MemberDay.objects.filter(member=pk).delete()
        MemberDay.objects.bulk_create(
            MemberDay(
                member_id=pk,
                kind=kind,
                calendar=one.calendar,
                month=one.month,
                day=one.day,
                is_leap=one.is_leap,
            )
            for kind in ("birthday", "wedding")
            if chance.random() < 0.4
            and (one := chance.choice(LUNAR_DAYS if kind == "birthday" else KEPT_DAYS))
        )
        MemberFieldValue.objects.filter(member=pk).delete()
        values = zip(
            self.fields,
            ("text", "number", "date", "text"),
            (WORDS, NUMBERS, DATES, ["干", "油"]),
            strict=True,
        )
        MemberFieldValue.objects.bulk_create(
            MemberFieldValue(member_id=pk, field=field, **{column: chance.choice(some)})
            for field, column, some in values
            if chance.random() < 0.6
        )
        MemberTag.objects.filter(member=pk).delete()
        MemberTag.objects.bulk_create(
            MemberTag(member_id=pk, tag_id=one, origin="staff:1", at=MORNING)
            for one in self.tags
            if chance.random() < 0.4
        )
        Identity.objects.filter(member=pk).delete()  # with the contacts of hers
        Identity.objects.bulk_create(
            Identity(member_id=pk, kind=kind, account=account, value=f"{kind}-{pk}", is_following=True,
                     followed_at=MORNING, created_at=MORNING)
            for kind, account in self.accounts.items() if chance.random() < 0.5
        )  # fmt: skip
        address = Identity.objects.filter(member=pk, kind=Identity.EXTERNAL_USERID).first()
        if address:
            Contact.objects.bulk_create(
                Contact(identity=address, userid=guide.work_userid, added_at=MORNING,
                        removed_at=chance.choice([None, MORNING, MORNING - timedelta(days=1)]))
                for guide in self.guides if chance.random() < 0.5
            )  # fmt: skip
        Activity.objects.bulk_create(
            Activity(member_id=pk, kind=chance.choice(["viewed_product", "touched"]),
                     at=of_day(chance, chance.choice(DAYS)), subject=f"product:{chance.randrange(3)}")
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
        windows = {"times": st.integers(1, 3), "days": st.sampled_from([1, 7, 8, 500])}

        def some(values: Sequence[Any]) -> st.SearchStrategy[list[Any]]:
            return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)

        hobby, size, day, skin = (field.pk for field in self.fields)

        def own(ops: list[str], **value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
            return st.builds(condition, st.just("custom"), st.sampled_from(ops), st.fixed_dictionaries(value))

        def ends(field: int, values: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
            pairs = between(values)
            return pairs.map(
                lambda pair: condition("custom", "between", {"field": field, "from": pair[0], "to": pair[1]})
            )

        def returning(
            of: list[str], pairs: st.SearchStrategy[list[int | None]], **more: st.SearchStrategy[Any]
        ) -> st.SearchStrategy[dict[str, Any]]:
            day = st.fixed_dictionaries({"of": st.sampled_from(of), **more})
            return st.builds(
                lambda day, pair: condition(
                    "anniversary", "between", {**day, "from": pair[0], "to": pair[1]}
                ),
                day,
                pairs,
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
            made("consent", st.sampled_from(list(segments_values.CONSENTS))),
            made("segment", st.just([self.segment.pk])),
            made("fact", fact),
            made("touches", st.fixed_dictionaries(windows)),
            *(made(field, between(BALANCES)) for field in ("points", "growth", "stored_fen")),
            made("chance_percent", between([0, 29, 30, 31, 100, 10**15])),
            made("stage", some(["new", "lost", "active", ""])),
            made("aipl", some(["aware", "loyal", "bought"])),
            made("rfm", some(["key_valued", "leaving", "key_fading"])),
            made("birthday_month", some([1, 2, 3, 12])),
            made("birthday_days", between([0, 1, 30, 359, 360, 361, 400])),
            made("region", some(PROVINCES)),
            made("device", some(["ios", "android", "desktop"])),
            made("birthday_calendar", some(["solar", "lunar", ""])),
            returning(["joined", "wedding", "child"], between([0, 1, 30, 354, 365, 366, 400])),
            returning(["field"], between([0, 1, 303, 365]), field=st.sampled_from([day, 10**9])),
            made("joined_via", some(["follow", "login", "staff"])),
            made("guide", some([*(guide.pk for guide in self.guides), 10**9])),
            made("store", some(self.stores)),
            made("group", some([1, 2, 3])),
            own(["in", "not_in"], field=st.sampled_from([hobby, skin]), values=some([*WORDS, "干"])),
            own(["known", "unknown"], field=st.sampled_from([hobby, size, 10**9])),
            ends(size, [-1, 0, 38, 39]),
            ends(day, ["2026-01-01", "2026-03-04", "2026-12-31"]),
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
        rows = rows.prefetch_related(
            "member_tags", "identities__contacts", "activities", "field_values", "tombstones"
        ).select_related("source__staff")
        self.lives = {life.pk: life for life in MemberLife.objects.all()}
        self.steps = dict(MemberAipl.objects.values_list("pk", "step"))
        self.balances = {(row.kind, row.owner_id): row.balance for row in LedgerAccount.objects.all()}
        self.groups = set(MemberGroup.objects.values_list("member_id", "group_id"))
        self.regions = dict(MemberTraits.objects.values_list("member_id", "province"))
        self.devices = dict(MemberTraits.objects.values_list("member_id", "device"))
        self.days: dict[tuple[int, str], YearDay] = {
            (row.member_id, row.kind): YearDay(row.calendar, row.month, row.day, row.is_leap)
            for row in MemberDay.objects.all()
        }
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
        if field in ("fact", "touches"):
            kind = value.get("kind", "touched")
            facts = [one for one in member.activities.all() if one.kind == kind]
            about = value.get("subjects")
            times = sum(days(one.at) < value["days"] and (not about or one.subject in about) for one in facts)
            return (times >= value["times"]) == (op == "at_least")
        life = self.lives.get(member.pk)
        numbers = [member.pk, *(gone.pk for gone in member.tombstones.all())]
        open_to = {
            contact.userid
            for one in member.identities.all()
            for contact in one.contacts.all()
            if contact.is_open
        }
        guides = [guide for guide in self.guides if guide.work_userid in open_to]
        code = member.source
        stores = {guide.store_id for guide in guides}
        stores |= {code.store_id, code.staff.store_id if code.staff else None} if code else set()

        def balance(*kinds: str) -> int:
            return sum(self.balances.get((kind, member.pk), 0) for kind in kinds)

        lunar = self.days.get((member.pk, "birthday"))
        born = lunar or (solar_day(member.birthday) if member.birthday else None)

        def is_near(of: str, low: int | None, high: int | None, field: int = 0) -> bool:
            kept = self.days.get((member.pk, of))
            if of == "joined":
                joined = clock.local(member.created_at).date()
                kept = solar_day(joined) if joined < clock.today() else None
            if of == "field":
                own = next(
                    (row for row in member.field_values.all() if row.field_id == field and row.date), None
                )
                kept = solar_day(own.date) if own else None
            return (
                kept is not None and (low or 0) <= _days_to(kept) and (high is None or _days_to(kept) <= high)
            )

        def is_asked(answer: bool) -> bool:
            return answer == (op in ("in", "known"))

        def is_own() -> bool:
            kept = next((row for row in member.field_values.all() if row.field_id == value["field"]), None)
            if op in ("known", "unknown"):
                return is_asked(kept is not None)
            if op in ("in", "not_in"):
                return is_asked(kept is not None and kept.text in value["values"])
            low, high = value["from"], value["to"]
            hers = None if kept is None else kept.date.isoformat() if kept.date else kept.number
            return hers is not None and (low is None or low <= hers) and (high is None or hers <= high)

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
            "consent": lambda: stats.marketing_consent is segments_values.CONSENTS[value],
            "points": lambda: within(balance("points")),
            "growth": lambda: within(balance("growth")),
            "stored_fen": lambda: within(balance("stored_value", "stored_value.bonus")),
            "stage": lambda: is_asked((life.stage if life else "") in value),
            "aipl": lambda: is_asked(self.steps.get(member.pk) in value),
            "rfm": lambda: is_asked(life is not None and rfm_cell(life.rfm) in value),
            "chance_percent": lambda: (
                life is not None
                and (value[0] or 0) * 100 <= life.chance_bps <= (100 if value[1] is None else value[1]) * 100
            ),
            "birthday_month": lambda: is_asked(
                member.birthday is not None and member.birthday.month in value
            ),
            "birthday_days": lambda: born is not None and within(_days_to(born)),
            "birthday_calendar": lambda: is_asked(("lunar" if lunar else "solar" if born else "") in value),
            "anniversary": lambda: is_near(value["of"], value["from"], value["to"], value.get("field", 0)),
            "device": lambda: is_asked(self.devices.get(member.pk) in value),
            "region": lambda: is_asked(self.regions.get(member.pk) in value),
            "joined_via": lambda: is_asked(member.joined_via in value),
            "guide": lambda: is_asked(any(guide.pk in value for guide in guides)),
            "store": lambda: is_asked(bool(stores & set(value))),
            "group": lambda: is_asked(any((one, group) in self.groups for one in numbers for group in value)),
            "custom": is_own,
            "segment": lambda: (stats.orders_count >= 1) == (op == "in"),
            "contact": lambda: any(one.kind == "external_userid" for one in addresses) == (op == "yes"),
            "following": lambda: (
                any(one.kind == "openid" and value in (None, one.account_id) for one in addresses)
                == (op == "yes")
            ),
        }
        return plain[field]()


def solar_day(day: date) -> YearDay:
    return YearDay("solar", day.month, day.day)


def _days_to(day: YearDay) -> int:
    return _days_from(clock.today(), day)


@lru_cache(maxsize=500)
def _days_from(today: date, day: YearDay) -> int:
    """Day by day until it is kept."""
    found = next_on(day, today)
    assert found is not None
    return (found - today).days


def _depth(node: dict[str, Any]) -> int:
    children = [child for join in ("all", "any") for child in node.get(join, [])] + [
        node[join] for join in ("not",) if join in node
    ]
    return 1 + max(map(_depth, children), default=0)
