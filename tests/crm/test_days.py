"""Birthdays by either calendar, anniversaries, regions, devices: kept, shown, found, and worth their points."""

import datetime as dt
import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_check
from crm import queries, services
from crm.days import YearDay, device_of, kept_between, kept_on, next_on, region_of, there_is
from crm.errors import WrongProfile
from crm.models import Earning, Member, MemberDay, MemberStats, MemberTraits, PointsRules
from tests.crm.test_mydata import until_somebody_waits
from tests.crm.test_people import race

LUNAR_815 = YearDay("lunar", 8, 15)
NOON = clock.day_start(dt.date(2026, 9, 25)) + dt.timedelta(hours=12)


def test_days_are_kept_by_their_calendar() -> None:
    """Against published dates of the mid-autumn festival, the new year and the leap sixth month of 2025."""
    for date in (dt.date(2024, 9, 17), dt.date(2025, 10, 6), dt.date(2026, 9, 25)):
        assert LUNAR_815 in kept_on(date)
        assert next_on(LUNAR_815, date) == date
        assert next_on(LUNAR_815, date - dt.timedelta(days=100)) == date
    assert YearDay("lunar", 1, 1) in kept_on(dt.date(2026, 2, 17))
    ordinary, leap = YearDay("lunar", 6, 10), YearDay("lunar", 6, 10, True)
    in_2025 = [dt.date(2025, 7, 4), dt.date(2025, 8, 3)]
    assert [ordinary in kept_on(day) for day in in_2025] == [True, False]
    assert [leap in kept_on(day) for day in in_2025] == [False, True]
    assert leap in kept_on(next_on(ordinary, dt.date(2026, 1, 1)) or dt.date.min), (
        "no leap month: the month itself"
    )
    thirtieth = YearDay("lunar", 12, 30)
    assert next_on(thirtieth, dt.date(2026, 1, 1)) == dt.date(2026, 2, 16), "the last day, be it the 29th"
    assert YearDay("solar", 2, 29) in kept_on(dt.date(2026, 2, 28))
    assert YearDay("solar", 2, 29) not in kept_on(dt.date(2028, 2, 28))
    assert next_on(YearDay("solar", 2, 29), dt.date(2026, 3, 1)) == dt.date(2027, 2, 28)
    assert next_on(YearDay("solar", 2, 30), dt.date(2026, 3, 1)) is None
    assert (
        len(
            {
                one
                for one in kept_between(dt.date(2026, 9, 1), dt.date(2026, 9, 30))
                if one.calendar == "solar"
            }
        )
        == 30
    )
    assert [str(one) for one in (LUNAR_815, leap, YearDay("solar", 3, 5))] == [
        "农历八月十五",
        "农历闰六月初十",
        "03-05",
    ]
    assert not any(
        map(
            there_is,
            (
                YearDay("solar", 4, 31),
                YearDay("lunar", 13, 1),
                YearDay("lunar", 1, 31),
                YearDay("lunar", 1, 0),
            ),
        )
    )


@pytest.mark.parametrize(
    ("said", "device"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) MicroMessenger/8.0.50", "ios"),
        ("Mozilla/5.0 (Linux; Android 14; V2324) MicroMessenger/8.0.50", "android"),
        ("Mozilla/5.0 (Phone; OpenHarmony 5.0) ArkWeb MicroMessenger/8.0.50", "harmony"),
        ("Mozilla/5.0 (Windows NT 10.0) WindowsWechat", "desktop"),
        ("curl/8 😀" + "长" * 10_000, ""),
    ],
)
def test_a_browser_says_what_it_is(said: str, device: str) -> None:
    assert device_of(said) == device


@pytest.fixture
def people(db: Any) -> dict[str, Member]:
    """Born by either calendar; 阳 keeps the solar day although the lunar one of the same numbers is now."""
    made = {}
    for name, born in (
        ("阳", dt.date(1990, 9, 3)),
        ("阴", dt.date(1990, 1, 1)),
        ("无", None),
        ("八", dt.date(1991, 8, 15)),
    ):
        made[name] = Member.objects.create(name=name, birthday=born, created_at=NOON)
        MemberStats.objects.create(member=made[name])
    services.keep_day(member_id=made["阴"].pk, kind="birthday", day=LUNAR_815)
    services.keep_day(member_id=made["无"].pk, kind="wedding", day=YearDay("solar", 9, 30))
    return made


def keeping(kind: str, since: dt.date, until: dt.date) -> set[str]:
    ids = queries.members_keeping(kind, since=since, until=until)
    return set(Member.objects.filter(pk__in=ids).values_list("name", flat=True))


def test_whoever_has_a_birthday_this_month_is_found(people: dict[str, Member]) -> None:
    september, january = (
        (dt.date(2026, 9, 1), dt.date(2026, 9, 30)),
        (dt.date(2026, 1, 1), dt.date(2026, 1, 31)),
    )
    assert keeping("birthday", *september) == {"阳", "阴"}
    assert keeping("birthday", *january) == set(), "the lunar birthday takes the solar one's place"
    assert keeping("wedding", *september) == {"无"}
    assert keeping("birthday", dt.date(2026, 9, 25), dt.date(2026, 9, 25)) == {"阴"}


def test_a_lunar_birthday_multiplies_points(people: dict[str, Member]) -> None:
    PointsRules.objects.update_or_create(pk=1, defaults={"birthday_bps": 20_000, "birthday_when": "day"})
    assert queries.earner(people["阴"].pk, NOON).birthday_bps == 20_000
    assert queries.earner(people["阴"].pk, NOON + dt.timedelta(days=1)).birthday_bps == 10_000
    PointsRules.objects.update(birthday_when="month")
    assert queries.earner(people["阴"].pk, NOON - dt.timedelta(days=20)).birthday_bps == 20_000
    assert queries.earner(people["阴"].pk, NOON + dt.timedelta(days=20)).birthday_bps == 10_000
    assert queries.earner(people["阳"].pk, NOON).birthday_bps == 20_000
    # She writes another birthday each month: one a year counts.
    Earning.objects.create(
        member=people["阳"], kind="points", cause="order:1", source="order", given=1, earned_at=NOON,
        basis={"birthday_bps": 20_000},
    )  # fmt: skip
    assert queries.earner(people["阳"].pk, NOON).birthday_bps == 20_000, "the same month"
    later, year = NOON + dt.timedelta(days=40), NOON + dt.timedelta(days=365)
    assert queries.earner(people["阳"].pk, year).birthday_bps == 20_000
    Member.objects.filter(pk=people["阳"].pk).update(birthday=later.date())
    assert queries.earner(people["阳"].pk, later).birthday_bps == 10_000


def test_parcels_say_where_and_visits_with_what(people: dict[str, Member]) -> None:
    her = people["无"]
    assert region_of("内蒙古自治区 呼和浩特市 新城区") == ("内蒙古", "呼和浩特市")
    assert region_of("火星 一号") == region_of("") == ("", "")
    assert services.note_region(member_id=her.pk, address="广东省 深圳市 南山区", at=NOON)
    assert not services.note_region(member_id=her.pk, address="浙江省 杭州市", at=NOON - dt.timedelta(days=1))
    assert not services.note_region(member_id=her.pk, address="😀", at=NOON)
    with clock.travel(NOON):
        for hours, device in ((5, "ios"), (2, "android"), (1, "fridge")):
            at = NOON - dt.timedelta(hours=hours)
            services.record_activity(member_id=her.pk, kind="visited", at=at, data={"device": device})
        assert (services.fold_devices(), services.fold_devices()) == (1, 0)
    traits = MemberTraits.objects.get(member=her)
    assert (traits.province, traits.city, traits.device) == ("广东", "深圳市", "android")
    services.merge_members(kept_id=people["阳"].pk, merged_id=her.pk)
    assert MemberTraits.objects.get().member == people["阳"]
    assert MemberDay.objects.get(kind="wedding").member == people["阳"]


def test_staff_keep_her_days_and_find_by_them(client: Client, people: dict[str, Member]) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    her = people["八"]
    services.note_region(member_id=her.pk, address="上海市 徐汇区", at=NOON)
    page = reverse("admin:crm_member_days", args=[her.pk])
    given = {"kind": "child", "name": "小满", "calendar": "lunar", "month": "8", "day": "16"}
    with clock.travel(NOON):
        assert client.post(page, given)["Location"] == page
        assert client.post(page, {**given, "day": "17"}).status_code == 302, "the same day again is changed"
        for wrong in (
            {"day": "31"},
            {"month": "-1"},
            {"name": "长" * 10_000},
        ):
            assert client.post(page, {**given, **wrong}).status_code == 400, wrong
        day = MemberDay.objects.get(member=her)
        assert (day.day, day.name) == (17, "小满")
        shown = client.get(reverse("admin:crm_member_change", args=[her.pk])).content.decode()
        for words in ("农历八月十七", "2026-09-27", "上海"):
            assert words in shown
        listed = reverse("admin:crm_member_changelist")
        for query, names in (
            ("birthday=month", {"阳", "阴"}),
            ("anniversary=week&province=上海", {"八"}),
            ("birthday=💥&province=x", set(people)),
        ):
            text = client.get(f"{listed}?{query}").content.decode()
            rows = {int(pk) for pk in re.findall(r'name="_selected_action" value="(\d+)"', text)}
            assert {name for name, one in people.items() if one.pk in rows} == names, query
    other = people["阳"]
    services.drop_day(member_id=other.pk, day_id=day.pk)
    assert MemberDay.objects.filter(pk=day.pk).exists(), "not hers"
    client.post(page, {"drop": str(day.pk)})
    assert not MemberDay.objects.filter(pk=day.pk).exists()
    for kind, day_of_year in (
        ("birthday", YearDay("solar", 1, 1)),
        ("paid", YearDay("solar", 1, 1)),
        ("other", YearDay("mayan", 1, 1)),
    ):
        with pytest.raises(WrongProfile):
            services.keep_day(member_id=her.pk, kind=kind, day=day_of_year)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["day", "region"])
def test_what_is_noted_while_she_is_merged_is_the_living_ones(what: str) -> None:
    kept, merged = (Member.objects.create(name=name, created_at=NOON) for name in ("林", "小林"))
    MemberStats.objects.bulk_create([MemberStats(member=kept), MemberStats(member=merged)])
    is_merging = threading.Event()

    def merge() -> None:
        with transaction.atomic():
            services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
            is_merging.set()
            until_somebody_waits()

    def note() -> None:
        is_merging.wait(20)
        if what == "day":
            services.keep_day(
                member_id=merged.pk, kind=MemberDay.OTHER, name="结婚", day=YearDay("solar", 5, 1)
            )
        else:
            services.note_region(member_id=merged.pk, address="上海市 上海市 徐汇区", at=NOON)

    assert race(merge, note) == []
    found = (MemberDay if what == "day" else MemberTraits)._default_manager.get()
    assert found.member_id == kept.pk  # type: ignore[attr-defined]
    assert run_check("crm.tombstones") == []


@pytest.mark.django_db(transaction=True)
def test_days_at_once_are_no_more_than_one_after_the_other() -> None:
    member = Member.objects.create(name="林", created_at=NOON)
    MemberDay.objects.bulk_create(
        MemberDay(member=member, kind=MemberDay.OTHER, name=f"{n}", calendar="solar", month=1, day=1)
        for n in range(11)
    )
    raised = race(
        *[
            lambda name=name: services.keep_day(
                member_id=member.pk, kind=MemberDay.OTHER, name=name, day=YearDay("solar", 5, 1)
            )
            for name in ("甲", "乙", "丙")
        ]
    )
    assert [type(one) for one in raised] == [WrongProfile] * 2
    assert MemberDay.objects.count() == 12
