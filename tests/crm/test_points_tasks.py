"""Tasks for points: an event counts once by its key, a period is rewarded once; shown and claimed in "me"."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_audit, run_check
from core.events import deliver_due, publish
from crm import points_rules as rules
from crm import queries, services
from crm.errors import BadPoints
from crm.models import Earning, Member, MemberMerge, PointsRules, PointsTask, PointsTaskRun, PointsTaskStep
from tests.crm.test_points import a_member, figures
from tests.shop import builders
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once
from wechat import events as wechat
from wechat.models import Account


@pytest.fixture(autouse=True)
def earning(db: Any) -> None:
    PointsRules.objects.create(pk=1)
    services.prepare_timeline(since=date(2026, 3, 1), until=clock.today())


def a_task(kind: str = "order", points: int = 30, **more: Any) -> PointsTask:
    return PointsTask.objects.create(
        name=f"任务{PointsTask.objects.count()}", kind=kind, points=points, **more
    )


def did(member: Member, key: str, kind: str = "order", **more: Any) -> int:
    return len(services.advance_tasks(member_id=member.pk, kind=kind, key=key, **more))


def shown(member: Member) -> list[tuple[int, bool, bool]]:
    return [(one.count, one.is_done, one.is_ready) for one in queries.tasks_of(member.pk)]


def test_periods_have_names() -> None:
    day = date(2027, 1, 1)
    names = [rules.period_of(period, day) for period in ("once", "day", "week", "month")]
    assert names == ["", "2027-01-01", "2026-W53", "2027-01"]


def test_events_count_once_and_a_period_is_rewarded_once(morning: datetime) -> None:
    member = a_member()
    a_task(times=2, period="month", points=30)
    assert [did(member, key) for key in ("order:1", "order:1", "order:2", "order:3")] == [0, 0, 1, 0]
    assert (figures(member), shown(member)) == ((30, 0, 0), [(2, True, False)])
    with clock.travel(morning + timedelta(days=30)):
        assert [did(member, key) for key in ("order:3", "order:4", "order:5")] == [0, 0, 1]
        line = queries.points_statement(member.pk)[0]
        assert (figures(member)[0], line.words, line.note) == (60, "完成任务", "任务0")
    PointsTask.objects.update(is_active=False)
    assert (did(member, "order:9"), shown(member), run_audit()[1]) == (0, [], [])
    PointsTask.objects.update(is_active=True)
    PointsRules.objects.update(is_active=False)
    assert (did(member, "order:9"), shown(member)) == (0, [])


def test_the_rooms_tell_of_what_happened(
    morning: datetime, brand: Account, corp: Account, follower: Callable[..., Member]
) -> None:
    for kind in ("follow", "contact", "phone", "birthday", "group"):
        a_task(kind, 10)
    followed = wechat.Followed(account_id=brand.pk, openid="o-1", scene="", at=morning)
    for _ in range(2):
        _tell(followed)
    assert Earning.objects.get().source == "task"
    she = Earning.objects.get().member
    added = wechat.ContactAdded(
        account_id=corp.pk, userid="guide", external_userid="wm-1", state="", welcome_code="", at=morning
    )
    _tell(added)
    assert Earning.objects.count() == 2
    services.give_phone(member_id=she.pk, phone="13800000001", verified=False)
    for _ in range(2):
        services.correct_profile(member_id=she.pk, name="林", birthday=date(1990, 5, 1))
    with pytest.raises(BadPoints):  # not in a group yet
        services.claim_task(member_id=she.pk, task_id=PointsTask.objects.get(kind="group").pk)
    services.set_group_members(group_id=7, member_ids=[she.pk])
    assert (figures(she)[0], shown(she)[0]) == (30, (0, False, True))
    for _ in range(2):
        services.claim_task(member_id=she.pk, task_id=PointsTask.objects.get(kind="group").pk)
    assert (figures(she)[0], run_check("crm.tasks_gave_their_points")) == (40, [])


def _tell(event: Any) -> None:
    with transaction.atomic():
        publish(event)
    deliver_due()


def test_a_friend_counts_once_and_nobody_counts_for_herself(morning: datetime) -> None:
    she, friend, other = a_member("林"), a_member("周"), a_member("吴")
    a_task("share", 5, times=2)
    code = services.share_code(she.pk)
    told = [(code, she), (code, friend), (code, friend), ("1-forged", friend), ("😀", other), (code, other)]
    assert [len(services.follow_share(code=text, friend_id=who.pk)) for text, who in told] == [
        0,
        0,
        0,
        0,
        0,
        1,
    ]
    assert figures(she)[0] == 5
    phone = phone_of(a_member("钱"))
    assert phone.get(f"/s/{services.share_code(friend.pk)}/?to=//evil.example").headers["Location"] == "/"
    assert PointsTaskStep.objects.filter(member=friend).count() == 1


def test_two_who_are_one_keep_what_they_did_and_part_again(morning: datetime) -> None:
    elder, younger = a_member("林"), a_member("林")
    once, monthly = a_task(points=10), a_task(times=2, period="month", points=20)
    did(elder, "order:1")
    did(younger, "order:2")
    services.merge_members(kept_id=elder.pk, merged_id=younger.pk)
    assert [did(elder, key) for key in ("order:2", "order:3")] == [1, 0]  # one and one: the month is full
    deliver_due()
    assert (figures(elder)[0], PointsTaskRun.objects.filter(member=elder).count(), run_audit()[1]) == (
        40,
        2,
        [],
    )
    services.undo_merge(merge_id=MemberMerge.objects.get().pk)
    assert PointsTaskRun.objects.filter(member=younger, task=once, done_at__isnull=False).exists()
    assert PointsTaskStep.objects.filter(member=younger, task=monthly).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_events_at_once_are_two_and_the_reward_is_one() -> None:
    PointsRules.objects.get_or_create(pk=1)
    member = a_member()
    a_task(times=3, points=30)
    did(member, "order:1")
    answers = at_once(*[lambda key=key: did(member, key) for key in ("order:2", "order:3", "order:3")])
    assert sorted(answers) == [0, 0, 1]
    assert (figures(member)[0], run_check("crm.tasks_gave_their_points")) == (30, [])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_pointstaskrun SET points = 29")
    assert run_check("crm.tasks_gave_their_points") != []


def test_she_sees_her_tasks_and_claims(django_assert_max_num_queries: Any) -> None:
    buyer = builders.member("小池")
    phone = phone_of(buyer)
    assert "me-tasks" not in phone.get("/me/").content.decode()
    assert "现在没有任务" in phone.get("/me/tasks/").content.decode()
    late = a_task("birthday", 50)
    a_task("order", 30, times=3, period="month", link="/mall/")
    a_task("share", 5)
    did(buyer, "order:1")
    assert "3 个待完成" in phone.get("/me/").content.decode()
    with django_assert_max_num_queries(14):
        page = phone.get("/me/tasks/").content.decode()
    assert ("1 / 3" in page, f"/s/{services.share_code(buyer.pk)}/" in page) == (True, True)
    assert phone.post(f"/me/tasks/{late.pk}/").status_code == 400
    assert phone.post("/me/tasks/999999/").status_code == 400
    Member.objects.filter(pk=buyer.pk).update(birthday=date(1990, 5, 1))
    assert 'data-test="task-claim"' in phone.get("/me/tasks/").content.decode()
    for _ in range(2):
        assert phone.post(f"/me/tasks/{late.pk}/").status_code == 302
    assert (figures(buyer)[0], queries.value_at_a_glance(buyer.pk).open_tasks) == (50, 2)
    assert "/me/tasks/" in phone.get("/me/points/").content.decode()


def test_operators_define_tasks_by_permission(client: Client) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    add = reverse("admin:crm_pointstask_add")
    assert client.get(add).status_code == 403
    words = ["view_pointstask", "add_pointstask", "view_pointstaskrun", "view_member"]
    staff.user_permissions.add(*Permission.objects.filter(codename__in=words))
    form = {
        **{"name": "关注公众号", "kind": "follow", "times": "1", "period": "once", "points": "20"},
        **{"position": "0", "is_active": "on"},
    }
    wrongs = (
        *({"points": "0"}, {"times": "101"}, {"period": "week"}, {"times": "2"}, {"link": "//evil.example"}),
        *({"link": "javascript:alert(1)"}, {"kind": "😀"}, {"name": "长" * 31}),
    )
    for wrong in wrongs:
        assert (client.post(add, {**form, **wrong}).status_code, PointsTask.objects.count()) == (200, 0)
    assert client.post(add, {**form, "link": "/mall/"}).status_code == 302
    did(a_member("林小雅"), "account:1", kind="follow")
    assert "关注公众号" in client.get(reverse("admin:crm_pointstask_changelist")).content.decode()
    page = client.get(reverse("admin:crm_pointstaskrun_changelist") + "?state=done").content.decode()
    assert ("林小雅" in page, "关注公众号" in page) == (True, True)
