"""Groups are read from WeCom: after a notice, or all of them; what came late or twice changes nothing."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from community import queries, rules, services
from community.errors import NoWorkAccount, SyncRunning
from community.models import Group, GroupDay, GroupMember
from core import clock, jobs
from core.audits import run_check
from core.models import Job
from crm import queries as crm_queries
from crm.models import Activity, Identity, MemberGroup, SyncRun
from tests.campaigns import house
from wechat import services as wechat_services
from wechat.errors import RateLimited
from wechat.gateway.answers import WorkGroupRow
from wechat.models import Account
from wechat.services import WorkGroup, WorkGroupMember


def test_a_difference_names_who_came_left_and_came_back():
    first, later = datetime(2026, 1, 1), datetime(2026, 1, 5)
    found = rules.difference(
        {"stays": first, "left": first, "back": first},
        [rules.Presence("stays", first), rules.Presence("back", later), rules.Presence("new", later)],
    )
    assert (found.arrived, found.left, found.came_back) == (["new"], ["left"], ["back"])


def customer(number: int, joined_at: datetime, **changes) -> WorkGroupMember:
    values = {"id": f"wm-{number}", "kind": "customer", "unionid": f"u-{number}", "joined_at": joined_at,
              "join_scene": 3, "name": f"顾客{number}", "state": "", **changes}  # fmt: skip
    return WorkGroupMember(**values)


def a_group(*members: WorkGroupMember, **changes) -> WorkGroup:
    guide = WorkGroupMember("guide-1", "staff", "", house.NOON - timedelta(days=30), 1, "小导", "")
    return WorkGroup(
        **{
            "chat_id": "wr-1",
            "name": "三公里福利群",
            "owner": "guide-1",
            "notice": "每周三上新",
            "created_at": house.NOON - timedelta(days=30),
            "members": [guide, *members],
            **changes,
        }
    )


@pytest.fixture
def account(db):
    with clock.travel(house.NOON):
        yield house.work_account()


def store(account, group: WorkGroup, at: datetime | None = None) -> Group:
    return services.store_group(account_id=account.pk, fetched=group, began_at=at or clock.now())


class TestReading:
    def test_members_are_linked_and_their_facts_written(self, account):
        known = house.follower("认识的")
        Identity.objects.create(
            member=known, kind="external_userid", account=account, value="wm-1", is_following=True,
            created_at=clock.now(),
        )  # fmt: skip
        by_union = house.follower("别处认识的")
        Identity.objects.create(member=by_union, kind="unionid", value="u-2", created_at=clock.now())
        joined = house.NOON - timedelta(days=2)

        group = store(account, a_group(*(customer(number, joined) for number in (1, 2, 3))))

        assert (group.customers_count, group.staff_count) == (3, 1)
        linked = dict(group.stays.filter(kind="customer").values_list("platform_id", "member_id"))
        assert linked == {"wm-1": known.pk, "wm-2": by_union.pk, "wm-3": None}
        in_it = {"field": "group", "op": "in", "value": [group.pk]}
        assert set(crm_queries.segment_member_ids(in_it)) == {known.pk, by_union.pk}
        assert run_check("community.groups_told") == []
        facts = Activity.objects.filter(kind="joined_group")
        assert {(fact.member_id, fact.subject, fact.at) for fact in facts} == {
            (member.pk, f"group:{group.pk}", joined) for member in (known, by_union)
        }

    def test_segments_know_who_is_in_it_and_who_was(self, account):
        known = house.follower("认识的")
        Identity.objects.create(
            member=known, kind="external_userid", account=account, value="wm-1", is_following=True,
            created_at=clock.now(),
        )  # fmt: skip
        group = store(account, a_group(customer(1, house.NOON - timedelta(days=2))))
        in_it = {"field": "group", "op": "in", "value": [group.pk]}
        assert crm_queries.segment_count(in_it) == 1
        MemberGroup.objects.all().delete()
        assert [finding.subject for finding in run_check("community.groups_told")] == [f"group {group.pk}"]
        services.dismiss_group(account_id=account.pk, chat_id=group.chat_id, at=house.NOON)
        assert crm_queries.segment_count(in_it) == 0
        assert run_check("community.groups_told") == []
        MemberGroup.objects.create(member=known, group_id=group.pk)
        assert [finding.subject for finding in run_check("community.groups_told")] == [f"group {group.pk}"]

    def test_reading_again_changes_nothing(self, account):
        group = a_group(customer(1, house.NOON - timedelta(days=2)))
        store(account, group)
        before = list(GroupMember.objects.values()), list(GroupDay.objects.values())
        store(account, group)
        assert (list(GroupMember.objects.values()), list(GroupDay.objects.values())) == before

    def test_days_tell_who_came_and_left(self, account):
        two_days_ago = house.NOON - timedelta(days=2)
        store(account, a_group(customer(1, two_days_ago), customer(2, two_days_ago)))
        with clock.travel(house.NOON + timedelta(days=1)):
            group = store(account, a_group(customer(1, two_days_ago), customer(3, clock.now())))
            grown = queries.growth([group.pk], days=5)[group.pk]
        assert [(day.joined, day.left, day.customers) for day in grown] == [
            (0, 0, 0),
            (2, 0, 2),
            (0, 0, 2),
            (0, 0, 2),
            (1, 1, 2),
        ]

    def test_an_older_answer_that_arrives_later_is_dropped(self, account):
        store(account, a_group(customer(1, house.NOON), customer(2, house.NOON)))
        store(account, a_group(), at=house.NOON - timedelta(seconds=5))
        assert Group.objects.get().customers_count == 2
        assert not GroupMember.objects.filter(left_at__isnull=False).exists()

    def test_who_left_and_came_back_has_two_stays(self, account):
        store(account, a_group(customer(1, house.NOON - timedelta(days=5))))
        store(account, a_group(customer(1, house.NOON - timedelta(days=1))))
        stays = GroupMember.objects.filter(platform_id="wm-1").order_by("joined_at")
        assert [stay.left_at is None for stay in stays] == [False, True]

    def test_a_dissolved_group_stays_dissolved(self, account):
        store(account, a_group(customer(1, house.NOON)))
        for _ in range(2):
            services.dismiss_group(account_id=account.pk, chat_id="wr-1", at=clock.now())
        services.note_change(account_id=account.pk, chat_id="wr-1", at=clock.now())
        store(account, a_group(customer(1, house.NOON)))
        group = Group.objects.get()
        assert (group.status, group.due_at, group.customers_count) == ("dismissed", None, 0)
        assert not group.stays.filter(left_at__isnull=True).exists()

    def test_merged_members_keep_their_stays(self, account):
        kept, merged = house.follower("甲"), house.follower("乙")
        store(account, a_group(customer(1, house.NOON)))
        GroupMember.objects.filter(platform_id="wm-1").update(member=merged)
        services.repoint_member(kept_id=kept.pk, merged_id=merged.pk)
        assert GroupMember.objects.get(platform_id="wm-1").member_id == kept.pk

    def test_a_missing_joining_time_is_filled_once(self, account):
        nobody_knows = replace(customer(1, house.NOON), joined_at=None)
        store(account, a_group(nobody_knows))
        with clock.travel(house.NOON + timedelta(hours=1)):
            store(account, a_group(nobody_knows))
        assert GroupMember.objects.get(platform_id="wm-1").joined_at == house.NOON


class TestNotices:
    def test_several_notices_cost_one_read_after_two_seconds(self, account):
        for _ in range(4):
            services.note_change(account_id=account.pk, chat_id="wr-1", at=clock.now())
        assert Group.objects.get().due_at == house.NOON + timedelta(seconds=2)
        assert services.read_due_groups() == 0

    def test_a_failed_read_is_repeated_and_then_left_to_people(self, account):
        account.api_base = "http://127.0.0.1:9"  # nobody listens there
        account.save()
        services.note_change(account_id=account.pk, chat_id="wr-1", at=clock.now())
        moment = house.NOON
        Group.objects.update(attempts=rules.MAX_ATTEMPTS - 2)
        for _ in range(2):
            moment += timedelta(hours=1)
            with clock.travel(moment):
                assert services.read_due_groups() == 1
        group = Group.objects.get()
        assert (group.due_at, group.attempts) == (None, rules.MAX_ATTEMPTS)
        assert group.last_error


class TestSync:
    def test_needs_a_wecom_account(self, db):
        with pytest.raises(NoWorkAccount):
            services.start_sync()

    def test_runs_once_at_a_time(self, account):
        services.start_sync()
        with pytest.raises(SyncRunning):
            services.start_sync()
        assert Job.objects.count() == 1

    def test_that_cannot_list_is_failed_and_not_done(self, account):
        account.api_base = "http://127.0.0.1:9"
        account.save()
        job = services.start_sync()
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert job.status == Job.FAILED
        assert job.error
        assert queries.sync_report(job)["fetched"] == 0
        assert SyncRun.objects.get(job=job).status == SyncRun.FAILED

    def test_a_torn_list_dismisses_nobody_and_a_refusal_is_told_with_its_code(self, account, monkeypatch):
        groups = [f"wr-{number:02}" for number in range(30)]
        for chat_id in groups:
            store(account, a_group(chat_id=chat_id))
        Group.objects.update(read_at=clock.now() - timedelta(hours=1))
        listed = [WorkGroupRow(chat_id="wr-00", status=0)]

        def refuses(*, account_id, chat_id):
            raise RateLimited("45009", "太频繁")

        monkeypatch.setattr(wechat_services, "work_groups", lambda *, account_id: listed)
        monkeypatch.setattr(
            wechat_services, "work_group", lambda *, account_id, chat_id: a_group(chat_id=chat_id)
        )
        job = services.start_sync(account_id=account.pk)
        jobs.run(job_id=job.pk)
        run = SyncRun.objects.get(job=job)
        assert (run.status, run.would_end) == (SyncRun.HELD, 29)
        assert Group.objects.filter(status=Group.ACTIVE).count() == 30
        other = Account.objects.create(kind="work", name="二", key="ww-2")
        monkeypatch.setattr(wechat_services, "work_group", refuses)
        jobs_of = [services.start_sync(account_id=one.pk) for one in (account, other)]
        jobs.run(job_id=jobs_of[0].pk)
        run = SyncRun.objects.get(job=jobs_of[0])
        assert (run.status, run.failed) == (SyncRun.FAILED, 1)
        assert "45009" in run.cause


@pytest.mark.django_db
class TestWithTheSandbox:
    def test_a_sync_reads_every_group_and_a_notice_reads_one_again(self, sandbox):
        corp = sandbox.account("corp")
        guide = sandbox.get("members")[0]["userid"]
        made = [
            sandbox.post("groups", account="corp", name=f"福利群{number}", owner=guide) for number in (1, 2)
        ]
        her = sandbox.person("小满")
        sandbox.post(f"people/{her['id']}/join_group", chat_id=made[0]["chat_id"])
        job = services.start_sync()
        jobs.run(job_id=job.pk)
        job.refresh_from_db()
        assert (job.status, job.result["failed"]) == (Job.DONE, 0)
        assert SyncRun.objects.get(job=job).status == SyncRun.DONE
        assert job.result["fetched"] == job.result["expected"] >= 2
        group = Group.objects.get(account=corp, chat_id=made[0]["chat_id"])
        assert (group.name, group.customers_count) == ("福利群1", 1)

        sandbox.post(f"people/{her['id']}/leave_group", chat_id=made[0]["chat_id"])
        services.note_change(account_id=corp.pk, chat_id=made[0]["chat_id"], at=clock.now())
        sandbox.advance(5)
        assert services.read_due_groups() == 1
        group.refresh_from_db()
        assert (group.customers_count, group.due_at) == (0, None)
        assert GroupMember.objects.filter(group=group, kind="customer", left_at__isnull=False).count() == 1


class TestPages:
    @pytest.fixture
    def boss(self, account) -> Client:
        client = Client()
        client.force_login(User.objects.create_superuser("boss", "b@example.com", "a-long-password"))
        return client

    def test_the_list_and_a_group_stay_within_their_queries(
        self, account, boss, django_assert_max_num_queries
    ):
        for number in range(12):
            store(
                account,
                a_group(
                    *(customer(number * 100 + one, house.NOON) for one in range(8)), chat_id=f"wr-{number}"
                ),
            )
        boss.get("/admin/community/group/")
        with django_assert_max_num_queries(16):
            page = boss.get("/admin/community/group/")
        assert "三公里福利群" in page.content.decode()
        with django_assert_max_num_queries(16):
            page = boss.get(f"/admin/community/group/{Group.objects.first().pk}/change/")
        assert page.status_code == 200
        with django_assert_max_num_queries(12):
            assert boss.get("/admin/community/groupmember/").status_code == 200

    def test_sync_now_shows_its_progress(self, account, boss):
        page = boss.post("/admin/community/group/sync/", follow=True).content.decode()
        assert "hx-get" in page
        assert boss.get("/admin/community/group/sync/board/").status_code == 200
        page = boss.post("/admin/community/group/sync/", follow=True).content.decode()
        assert Job.objects.count() == 1

    def test_only_those_who_may_can_sync(self, account):
        client = Client()
        client.force_login(User.objects.create_user("clerk", password="a-long-password", is_staff=True))
        assert client.post("/admin/community/group/sync/").status_code == 403
        assert not Job.objects.exists()
