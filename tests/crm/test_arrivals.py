"""What people do towards the accounts, told by events: born, attributed, tagged, welcomed."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps

from core import clock, events
from core.models import EventDelivery
from crm import queries, services
from crm.models import Activity, ChannelCode, ChannelScan, Identity, Member, MemberTag, Staff
from wechat import events as told
from wechat.models import Account


def tell(*happened: Any) -> None:
    """Publish and deliver, as the notice handlers and the worker do."""
    from django.db import transaction

    with transaction.atomic():
        events.publish(*happened)
    events.deliver_due()
    failed = EventDelivery.objects.filter(handler__startswith="crm.").exclude(status=EventDelivery.DONE)
    assert [delivery.last_error for delivery in failed] == []


def outbox() -> list[Any]:
    return list(apps.get_model("wechat", "OutboundMessage").objects.select_related("body").order_by("pk"))


@pytest.fixture
def code(brand: Account, tag: Callable[[str], Any], morning: datetime) -> ChannelCode:
    made = ChannelCode.objects.create(
        name="静安店收银台",
        account=brand,
        scene="c-jingan",
        welcome_text="欢迎光临",
        welcome_title="新客专享",
        welcome_url="/p/1/",
        created_at=morning,
    )
    made.tags.add(tag("静安店"))
    return made


@pytest.mark.django_db
def test_a_follow_through_a_code_makes_an_attributed_tagged_and_welcomed_member(
    code: ChannelCode, brand: Account, morning: datetime
) -> None:
    tell(told.Followed(brand.pk, "o-1", "c-jingan", morning))
    member = Member.objects.get()
    assert member.source == code
    assert MemberTag.objects.get().origin == f"code:{code.pk}"
    assert {fact.kind for fact in Activity.objects.all()} == {"joined", "followed", "scanned", "tagged"}
    scan = ChannelScan.objects.get()
    assert (scan.is_new, scan.greeting) == (True, "queued")
    sent = outbox()
    assert [(row.channel, row.to) for row in sent] == [("custom", "o-1")] * 2
    assert sent[0].body.content["text"] == "欢迎光临"
    assert sent[1].body.content["url"].endswith("/p/1/")
    assert Identity.objects.get(kind="openid").lookup_due_at == morning, (
        "her unionid is asked for after the commit"
    )


@pytest.mark.django_db
def test_the_first_source_stays_and_each_scan_is_a_fact(
    code: ChannelCode, brand: Account, morning: datetime
) -> None:
    other = ChannelCode.objects.create(name="包裹卡", account=brand, scene="c-parcel", created_at=morning)
    tell(told.Followed(brand.pk, "o-1", "c-jingan", morning))
    tell(told.Scanned(brand.pk, "o-1", "c-parcel", morning + timedelta(days=1)))
    tell(told.Scanned(brand.pk, "o-1", "gone-code", morning + timedelta(days=1)))
    assert Member.objects.get().source == code
    assert Activity.objects.filter(kind="scanned").count() == 3
    counts = queries.code_counts_by_day(other.pk, since=date(2026, 3, 1), until=date(2026, 3, 31))
    assert [(row.day, row.scans, row.new) for row in counts] == [(date(2026, 3, 5), 1, 0)]


@pytest.mark.django_db
def test_an_unfollow_keeps_the_history_and_a_second_follow_reopens_it(
    code: ChannelCode, brand: Account, morning: datetime
) -> None:
    tell(told.Unfollowed(brand.pk, "o-1", morning + timedelta(hours=1)))
    tell(told.Followed(brand.pk, "o-1", "", morning))
    identity = Identity.objects.get(kind="openid")
    assert not identity.is_following, "the unfollow came first but happened later"
    tell(told.Followed(brand.pk, "o-1", "c-jingan", morning + timedelta(hours=2)))
    identity.refresh_from_db()
    assert identity.is_following
    assert Member.objects.count() == 1
    assert ChannelScan.objects.get().is_new is False
    figures = queries.follower_figures(since=date(2026, 3, 4), until=date(2026, 3, 5))
    assert [(day.followed, day.unfollowed) for day in figures] == [(2, 1), (0, 0)]


@pytest.mark.django_db
def test_messages_taps_and_answers_are_facts_and_make_up_for_a_lost_follow_notice(
    brand: Account, morning: datetime
) -> None:
    tell(
        told.MessageReceived(brand.pk, "o-1", "text", "请问有小样吗", "m1", morning),
        told.MenuClicked(brand.pk, "o-1", "NEW", morning),
        told.SubscriptionAnswered(brand.pk, "o-1", "t-1", True, morning),
    )
    member = Member.objects.get()
    assert Identity.objects.get(kind="openid").is_following
    page = queries.timeline_of(member.pk)
    assert {fact.kind for fact in page.rows} == {"joined", "message", "menu", "subscribed"}
    assert member.stats.last_active_at == morning


@pytest.mark.django_db
def test_a_wecom_customer_is_welcomed_once_and_only_while_the_code_lives(
    corp: Account, morning: datetime
) -> None:
    staff = Staff.objects.create(name="李娜", work_userid="lina")
    ChannelCode.objects.create(
        name="李娜的活码",
        kind="work",
        account=corp,
        staff=staff,
        scene="c-lina",
        welcome_text="你好",
        created_at=morning,
    )
    tell(told.ContactAdded(corp.pk, "lina", "wm-1", "c-lina", "WELCOME", morning))
    scan = ChannelScan.objects.get()
    assert (scan.greeting, scan.is_new) == ("pending", True)
    with clock.travel(morning + timedelta(seconds=25)):
        assert services.send_due_welcomes() == 1
        assert services.send_due_welcomes() == 0
    scan.refresh_from_db()
    assert scan.greeting == "expired"
    tell(told.ContactAdded(corp.pk, "lina", "wm-2", "c-lina", "", morning))
    assert ChannelScan.objects.get(member__identities__value="wm-2").greeting == "none"
    tell(told.ContactRemoved(corp.pk, "lina", "wm-1", "customer", morning + timedelta(hours=1)))
    assert not Identity.objects.get(value="wm-1").is_following
    assert Activity.objects.filter(kind="contact_removed", data__by="customer").exists()


@pytest.mark.django_db
def test_the_same_delivery_twice_is_one_fact(brand: Account, code: ChannelCode, morning: datetime) -> None:
    tell(told.Followed(brand.pk, "o-1", "c-jingan", morning))
    events.deliver_due()
    assert Activity.objects.filter(kind="followed").count() == 1
    assert len(outbox()) == 2


@pytest.mark.django_db
def test_a_visit_is_counted_once_in_half_an_hour(brand: Account, morning: datetime) -> None:
    member = services.member_for_openid(account_id=brand.pk, openid="o-1")
    assert services.record_visit(member_id=member.pk)
    assert not services.record_visit(member_id=member.pk, at=morning + timedelta(minutes=29))
    assert services.record_visit(member_id=member.pk, at=morning + timedelta(minutes=31))
    member.stats.refresh_from_db()
    assert member.stats.visits_count == 2
    assert Activity.objects.filter(kind="visited").count() == 2


@pytest.mark.django_db
def test_the_timeline_is_paged_by_key_across_months_and_filtered_by_kind(
    brand: Account, morning: datetime
) -> None:
    member = services.member_for_openid(account_id=brand.pk, openid="o-1", at=morning - timedelta(days=100))
    assert services.prepare_timeline(since=date(2025, 12, 1), until=date(2026, 2, 1)) == 3
    assert services.prepare_timeline(since=date(2025, 12, 1), until=date(2026, 2, 1)) == 0
    services.record_activities(
        {
            "member_id": member.pk,
            "kind": "visited" if number % 2 else "opened",
            "at": morning - timedelta(days=number),
        }
        for number in range(90)
    )
    seen, key = [], ""
    while True:
        page = queries.timeline_of(member.pk, before=key, limit=20)
        seen += [row.at for row in page.rows]
        if not (key := page.next_key):
            break
    assert len(seen) == 91
    assert seen == sorted(seen, reverse=True)
    assert len(queries.timeline_of(member.pk, kinds=["opened"], limit=100).rows) == 45
    assert queries.timeline_of(member.pk, before="not a key").rows


@pytest.mark.django_db
def test_who_bought_and_then_did_nothing_is_silent(brand: Account, morning: datetime) -> None:
    def buyer(openid: str, paid_days: int, active_days: int | None) -> int:
        member = services.member_for_openid(account_id=brand.pk, openid=openid, at=morning)
        services.book_purchase(member_id=member.pk, paid_fen=100, at=morning - timedelta(days=paid_days))
        if active_days is not None:
            services.record_activity(
                member_id=member.pk, kind="opened", at=morning - timedelta(days=active_days)
            )
        return member.pk

    sleeper, awake, fresh = buyer("o-1", 90, None), buyer("o-2", 90, 10), buyer("o-3", 10, None)
    services.member_for_openid(account_id=brand.pk, openid="o-4", at=morning)
    silent = list(queries.silent_since(morning - timedelta(days=60)))
    assert silent == [sleeper]
    assert {awake, fresh} & set(silent) == set()
