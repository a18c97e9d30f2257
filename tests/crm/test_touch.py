"""May we touch her now: the rules, their set-based twin, and the budget under a race."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from core import clock
from core.audits import run_check
from crm import queries, rules, services, sessions
from crm.errors import NoSuchChannel
from crm.models import (
    Activity,
    Consent,
    Holiday,
    Identity,
    Member,
    MemberMerge,
    MemberStats,
    Touch,
    TouchPolicy,
)
from tests.crm.conftest import MORNING
from tests.crm.test_people import race
from wechat.models import Account

ZONES = ["Asia/Shanghai", "Asia/Urumqi", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]
times = st.times(min_value=time(0), max_value=time(23, 59)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)
policies = st.builds(
    rules.Policy,
    quiet_from=times,
    quiet_until=times,
    holidays=st.frozensets(st.dates(date(2026, 3, 1), date(2026, 4, 10)), max_size=6),
    max_per_day=st.integers(1, 3),
    max_per_week=st.integers(1, 5),
    max_per_month=st.integers(1, 9),
    needs_explicit_consent=st.booleans(),
)
moments = st.datetimes(datetime(2026, 3, 1), datetime(2026, 4, 1), timezones=st.just(UTC))
zones = st.sampled_from(ZONES).map(ZoneInfo)
facts = st.builds(
    rules.Facts,
    is_tombstone=st.booleans(),
    has_channel=st.booleans(),
    is_reachable=st.booleans(),
    consent=st.sampled_from([None, True, False]),
    today=st.integers(0, 4),
    week=st.integers(0, 6),
    month=st.integers(0, 10),
)


@settings(max_examples=30, deadline=None)
@given(at=moments, zone=zones, policy=policies)
def test_the_next_allowed_moment_is_allowed_and_not_in_the_past(
    at: datetime, zone: ZoneInfo, policy: rules.Policy
) -> None:
    opens = rules.next_allowed(at, zone, policy)
    local = opens.astimezone(zone)
    assert opens >= at
    assert local.date() not in policy.holidays
    assert not rules.is_quiet(local.time(), policy.quiet_from, policy.quiet_until)
    assert rules.next_allowed(opens, zone, policy) == opens


@settings(max_examples=40, deadline=None)
@given(
    facts=facts, policy=policies, at=moments, zone=zones, purpose=st.sampled_from(["marketing", "service"])
)
def test_a_verdict_says_until_when_exactly_if_it_defers_and_why_unless_it_sends(
    facts: rules.Facts, policy: rules.Policy, at: datetime, zone: ZoneInfo, purpose: str
) -> None:
    wait = rules.wait_at(at, zone, policy, at + timedelta(hours=9))
    said = rules.verdict(facts, policy, wait, purpose)
    assert (said.until is not None) == (said.answer == rules.DEFER)
    assert (said.reason == "") == (said.answer == rules.SEND)
    if said.until:
        assert said.until > at
    if facts.is_tombstone or not facts.is_reachable:
        assert said.answer == rules.SKIP
    if purpose == "marketing" and (facts.consent is False or facts.month >= policy.max_per_month):
        assert said.answer == rules.SKIP
    if purpose == "service":
        assert said.answer != rules.DEFER


def test_the_evening_waits_for_the_morning_and_a_day_of_rest_for_the_next() -> None:
    policy = rules.Policy(time(21, 30), time(8, 30), frozenset({date(2026, 4, 5)}), 1, 3, 8, False)
    shanghai = ZoneInfo("Asia/Shanghai")

    def local(day: int, hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 4, day, hour, minute, tzinfo=shanghai)

    assert rules.next_allowed(local(3, 21, 29), shanghai, policy) == local(3, 21, 29)
    assert rules.next_allowed(local(3, 21, 30), shanghai, policy) == local(4, 8, 30)
    assert rules.next_allowed(local(3, 2), shanghai, policy) == local(3, 8, 30)
    assert rules.next_allowed(local(4, 22), shanghai, policy) == local(6, 8, 30)


def seed_members(chance: random.Random, count: int, brand: Account, corp: Account) -> None:
    """Members of every kind: followers, lost ones, contacts, tombstones, full budgets, several zones."""
    members = Member.objects.bulk_create(
        Member(
            created_at=MORNING,
            time_zone=chance.choice(["", "", "", "Asia/Urumqi", "America/New_York", "Nowhere"]),
        )
        for _ in range(count)
    )
    tombstones = chance.sample(members[1:], count // 20)
    for member in tombstones:
        member.merged_into = members[0]
    Member.objects.bulk_update(tombstones, ["merged_into"])
    MemberStats.objects.bulk_create(
        MemberStats(member=member, marketing_consent=chance.choice([None, None, True, False]))
        for member in members
        if member.merged_into_id is None
    )
    identities = []
    for member in members:
        for account, kind in ((brand, "openid"), (corp, "external_userid")):
            if chance.random() < 0.6:
                identities.append(
                    Identity(
                        member=member,
                        kind=kind,
                        account=account,
                        value=f"{kind}-{member.pk}",
                        is_following=chance.random() < 0.8,
                        takes_marketing=chance.random() < 0.8,
                        created_at=MORNING,
                    )
                )
    Identity.objects.bulk_create(identities)
    Touch.objects.bulk_create(
        Touch(
            member=member,
            purpose=chance.choice(["marketing", "marketing", "service"]),
            origin=f"broadcast:{number}",
            answer=chance.choice(["send", "send", "send", "skip"]),
            at=MORNING
            - timedelta(hours=chance.choice([1, 9, 11, 30, 24 * 6, 24 * 7, 24 * 20, 24 * 29, 24 * 31])),
        )
        for member in members
        for number in range(chance.choice([0, 0, 1, 2, 3, 6, 10]))
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("hour", "purpose", "consent_rule"),  # UTC: morning, evening, quiet, before dawn
    [
        (2, "marketing", "implied"),
        (14, "marketing", "explicit"),
        (15, "service", "implied"),
        (23, "marketing", "explicit"),
    ],
)
def test_the_set_based_verdict_says_the_same_as_the_single_one_for_every_member(
    hour: int, purpose: str, consent_rule: str, brand: Account, corp: Account
) -> None:
    at = MORNING.replace(hour=hour)
    policy = TouchPolicy.objects.create(
        consent_rule=consent_rule, max_per_day=2, max_per_week=3, max_per_month=6
    )
    Holiday.objects.create(policy=policy, day=date(2026, 3, 5), name="静默日")
    with clock.travel(at):
        seed_members(random.Random(hour), 20, brand, corp)
        for account_id in (None, brand.pk, [brand.pk, corp.pk]):
            found = queries.with_touch_verdict(
                Member.objects.all(), purpose=purpose, at=at, account_id=account_id
            ).values_list("pk", "touch_answer", "touch_reason", "touch_until")
            assert len(found) == 20
            for pk, answer, reason, until in found:
                single = queries.touch_verdict(pk, purpose, at, account_id=account_id)
                assert rules.Verdict(answer, reason, until) == single


@pytest.mark.django_db
def test_verdicts_and_labels_are_words_for_people(follower: Callable[..., Member], morning: datetime) -> None:
    member = follower()
    services.withdraw_consent(member_id=member.pk, purpose=Consent.MARKETING, channel="page")
    said = queries.touch_verdict(member.pk, "marketing", morning)
    assert (said.answer, said.reason) == ("skip", "consent_withdrawn")
    assert set(queries.reasons_labels()) >= {said.reason}
    assert queries.touch_verdict(member.pk, "service", morning).answer == "send"
    services.give_consent(
        member_id=member.pk, purpose=Consent.MARKETING, channel="page", text_version="2026-01"
    )
    assert queries.touch_verdict(member.pk, "marketing", morning).answer == "send"
    services.withdraw_consent(
        member_id=member.pk, purpose=Consent.MARKETING, channel="page", at=morning - timedelta(days=1)
    )
    assert queries.touch_verdict(member.pk, "marketing", morning).answer == "send", (
        "an older answer came late"
    )
    assert Consent.objects.count() == 3


@pytest.mark.django_db
def test_a_booked_touch_is_a_fact_once_and_a_refused_one_keeps_its_reason(
    follower: Callable[..., Member], brand: Account, morning: datetime
) -> None:
    happy, lost = follower("o-1"), follower("o-2")
    services.note_unfollow(
        identity_id=Identity.objects.get(value="o-2").pk, at=morning + timedelta(seconds=1)
    )
    for _ in range(2):
        booked = services.book_touches(
            origin="broadcast:1", member_ids=[happy.pk, lost.pk], channel="mass", account_id=brand.pk
        )
        assert booked in (1, 0)
    assert list(Touch.objects.order_by("member").values_list("member", "answer", "reason")) == [
        (happy.pk, "send", ""),
        (lost.pk, "skip", "unfollowed"),
    ]
    assert list(queries.touched_member_ids("broadcast:1")) == [happy.pk]
    assert Activity.objects.filter(kind="touched", subject="broadcast:1").count() == 1
    assert MemberStats.objects.get(pk=happy.pk).last_touch_at == morning
    assert services.release_touches(origin="broadcast:1", member_ids=[happy.pk]) == 1
    assert not Activity.objects.filter(kind="touched").exists()


@pytest.mark.django_db(transaction=True)
def test_broadcasts_at_the_same_moment_cannot_exceed_the_cap(
    follower: Callable[..., Member], morning: datetime
) -> None:
    members = [follower(f"o-{number}") for number in range(10)]
    ids = [member.pk for member in members]
    raised = race(
        *[
            lambda number=number: services.book_touches(
                origin=f"broadcast:{number}", member_ids=ids, at=morning
            )
            for number in range(4)
        ]
    )
    assert raised == []
    booked = Touch.objects.filter(answer="send")
    assert booked.count() == 10, "one a day each, whoever asked"
    assert Touch.objects.filter(answer="defer", reason="day_cap").count() == 30


@pytest.mark.django_db
def test_marketing_is_refused_on_one_account_and_stays_welcome_on_another(
    follower: Callable[..., Member], brand: Account, corp: Account, morning: datetime
) -> None:
    her = follower("o-1", unionid="u-1")
    services.member_for_contact(account_id=corp.pk, external_userid="wm-1", unionid="u-1", userid="lina")
    stranger = follower("o-2")
    page, client = reverse("crm:privacy"), Client()
    carried = HttpResponse()
    sessions.log_in(carried, her)
    client.cookies[sessions.COOKIE] = carried.cookies[sessions.COOKIE].value
    for account in (corp.pk, corp.pk + 1_000, "x" * 10_000, "😀"):
        client.post(page, {"purpose": "marketing", "account": account, "answer": "no"})
    row = Consent.objects.get()
    assert (row.account_id, row.is_given, row.channel, row.text_version) == (
        corp.pk,
        False,
        "page",
        "2026-11",
    )
    assert "此处不接收" in client.get(page).content.decode()

    def answers(purpose: str = "marketing") -> list[tuple[str, str]]:
        found = []
        for account_id in (brand.pk, corp.pk, [brand.pk, corp.pk], None):
            one = queries.touch_verdict(her.pk, purpose, morning, account_id=account_id)
            many: Any = queries.with_touch_verdict(
                Member.objects.filter(pk=her.pk), purpose=purpose, at=morning, account_id=account_id
            )
            assert (one.answer, one.reason) == many.values_list("touch_answer", "touch_reason").get()
            found.append((one.answer, one.reason))
        return found

    refused = ("skip", "channel_refused")
    assert answers() == [("send", ""), refused, ("send", ""), refused], "who names no account asks them all"
    assert answers("service") == [("send", "")] * 4
    assert services.book_touches(origin="broadcast:1", member_ids=[her.pk], at=morning) == 0
    assert (
        services.book_touches(origin="broadcast:2", member_ids=[her.pk], at=morning, account_id=corp.pk) == 0
    )
    with pytest.raises(NoSuchChannel):
        services.withdraw_consent(
            member_id=stranger.pk, purpose="marketing", channel="page", account_id=corp.pk
        )
    late = morning - timedelta(days=1)
    services.give_consent(
        member_id=her.pk, purpose="marketing", channel="page", text_version="1", account_id=corp.pk, at=late
    )
    assert answers()[1] == ("skip", "channel_refused"), "an answer that comes late does not undo a newer one"
    assert run_check("crm.channel_consents") == []
    services.withdraw_consent(member_id=her.pk, purpose="marketing", channel="page", account_id=brand.pk)
    services.merge_members(kept_id=her.pk, merged_id=stranger.pk)
    assert run_check("crm.channel_consents") == [], "two openids on one account, one answer"
    services.undo_merge(merge_id=MemberMerge.objects.get().pk)
    assert run_check("crm.channel_consents") == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_identity SET takes_marketing = NOT takes_marketing WHERE value = 'wm-1'")
    assert [finding.subject for finding in run_check("crm.channel_consents")] == [f"member {her.pk}"]
