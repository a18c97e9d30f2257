"""What is read from the platforms is told as it was, and tags are the same in WeCom and here; the later word stands."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock, events, jobs
from core.audits import run_check
from core.models import DomainEvent, Job
from crm import services
from crm.errors import NoSuchSync, SyncRunning
from crm.models import (
    Activity,
    Contact,
    DueSync,
    Identity,
    Member,
    MemberTag,
    SyncRun,
    SyncSeen,
    Tag,
    TagGroup,
    WorkTag,
    WorkTagConflict,
    WorkTagMark,
    WorkTagRename,
)
from crm.subscriptions import work_tag_changed
from tests.conftest_sandbox import Sandbox
from tests.crm.conftest import MORNING
from wechat import services as wechat
from wechat import tasks as wechat_tasks
from wechat.errors import PlatformBusy, RateLimited
from wechat.events import WorkTagChanged
from wechat.gateway.official import OfficialClient
from wechat.gateway.work import CUSTOMERS, WorkClient
from wechat.models import Account


def read(kind: str, account: Account) -> SyncRun:
    """Start a sync and do its work."""
    job = services.start_sync(kind=kind, account_id=account.pk)
    jobs.run(job_id=job.pk)
    return SyncRun.objects.get(job=job)


def told(sandbox: Sandbox) -> None:
    """What people did arrives, and is looked up."""
    sandbox.deliver()
    wechat_tasks.handle_notices()
    events.deliver_due()
    services.look_up_due()


@pytest.mark.django_db
def test_a_sync_is_judged_by_what_it_brought(brand: Account) -> None:
    def ended(expected: int, fetched: int, *causes: str) -> tuple[str, str]:
        job = Job.objects.create(kind="crm.sync_followers", created_at=clock.now())
        run_id = services.begin_sync(kind="followers", account_id=brand.pk, job_id=job.pk)
        assert services.begin_sync(kind="followers", account_id=brand.pk, job_id=job.pk) == run_id
        failures = [{"what": "x", "cause": cause} for cause in causes]
        services.end_sync(run_id=run_id, expected=expected, fetched=fetched, failures=failures)
        run = SyncRun.objects.get(pk=run_id)
        return run.status, run.cause

    status, cause = ended(0, 0)
    assert (status, bool(cause)) == ("partial", True), "a sync that fetched nothing never says done"
    assert ended(5, 5) == ("done", "")
    assert ended(5, 4, "40096") == ("partial", "40096")
    assert ended(5, 0, "60020") == ("failed", "60020")
    status, cause = ended(5, 0)
    assert (status, bool(cause)) == ("failed", True)
    for lie in ({"status": "done"}, {"cause": ""}, {"finished_at": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            SyncRun.objects.filter(status="failed").update(**lie)
    job = services.start_sync(kind="followers", account_id=brand.pk)
    with pytest.raises(SyncRunning):
        services.start_sync(kind="followers", account_id=brand.pk)
    services.begin_sync(kind="followers", account_id=brand.pk, job_id=job.pk)
    assert services.settle_lost_syncs() == 0
    jobs.cancel(job_id=job.pk)
    assert services.settle_lost_syncs() == 1
    assert SyncRun.objects.get(job=job).status == "failed"

    def stops(progress: jobs.Progress, _brought: services.Brought) -> None:
        jobs.cancel(job_id=progress.job_id)
        progress.report(done=1)

    job = services.start_sync(kind="followers", account_id=brand.pk)
    Job.objects.filter(pk=job.pk).update(status=Job.RUNNING)
    with pytest.raises(jobs.Cancelled):
        services.run_sync(jobs.Progress(Job.objects.get(pk=job.pk)), kind="followers", fetch=stops)
    assert SyncRun.objects.get(job=job).cause == "已被取消。"


@pytest.mark.django_db
def test_followers_whom_no_notice_told_of_are_found_and_an_empty_answer_is_a_failure(
    sandbox: Sandbox, client: Client
) -> None:
    brand = sandbox.account("brand")
    people = [sandbox.person(name) for name in ("小满", "谷雨", "白露")]
    for her in people:
        sandbox.post(f"people/{her['id']}/follow", account="brand")
    sandbox.relay.waiting.clear()
    first = read("followers", brand)
    assert (first.status, first.expected, first.fetched) == ("done", 3, 3)
    assert Identity.objects.filter(account=brand, is_following=True).count() == 3
    sandbox.advance(60)
    sandbox.post(f"people/{people[0]['id']}/unfollow", account="brand")
    assert read("followers", brand).fetched == 2
    assert Identity.objects.filter(account=brand, is_following=True).count() == 2
    assert Member.objects.count() == 3
    sandbox.advance(60)
    for her in people[1:]:
        sandbox.post(f"people/{her['id']}/unfollow", account="brand")
    emptied = read("followers", brand)
    assert (emptied.status, emptied.expected, emptied.fetched) == ("failed", 2, 0)
    assert Identity.objects.filter(account=brand, is_following=True).count() == 2, "nothing is believed of it"
    sandbox.fault(match="/cgi-bin/user/get", errcode=45009, times=1)
    refused = read("followers", brand)
    assert refused.status == "failed"
    assert "45009" in refused.cause
    assert Job.objects.get(pk=refused.job_id).status == Job.FAILED

    client.force_login(User.objects.create_superuser("boss"))
    board = client.get(reverse("admin:crm_syncrun_changelist")).content.decode()
    assert "45009" in board
    assert "重试" in board
    client.post(reverse("admin:crm_syncrun_start"), {"run": refused.pk})
    assert Job.objects.filter(kind="crm.sync_followers", status=Job.QUEUED).count() == 1
    assert client.get(reverse("admin:crm_syncrun_change", args=[refused.pk])).status_code == 200
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.post(reverse("admin:crm_syncrun_start"), {"run": refused.pk}).status_code == 403


@pytest.mark.django_db
def test_a_reading_that_is_not_whole_ends_nobody_and_one_that_ends_many_waits_for_a_word(
    brand: Account, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: dict[str, wechat.FollowerPage] = {}
    monkeypatch.setattr(wechat, "follower_page", lambda *, account_id, after="": pages[after])

    def named(*openids: str, total: int | None = None) -> None:
        half = len(openids) // 2
        count = len(openids) if total is None else total
        pages[""] = wechat.FollowerPage(list(openids[:half]), openids[half - 1], count)
        pages[openids[half - 1]] = wechat.FollowerPage(list(openids[half:]), "", count)

    def following() -> int:
        return Identity.objects.filter(account=brand, is_following=True).count()

    everybody = [f"o-{number:02}" for number in range(30)]
    with clock.travel(MORNING):
        named(*everybody)
        assert read("followers", brand).status == "done"
    assert (following(), Member.objects.count(), Activity.objects.filter(kind="joined").count()) == (
        30,
        30,
        30,
    )
    assert Identity.objects.filter(lookup_due_at=MORNING).count() == 30
    assert DomainEvent.objects.filter(name="crm.MemberJoined").count() == 30

    with clock.travel(MORNING + timedelta(hours=1)):
        named(*everybody[:28], total=30)
        torn = read("followers", brand)
        assert (torn.status, torn.expected, torn.fetched, following()) == ("partial", 30, 28, 30)
        assert "28" in torn.cause
        named(*everybody[:5])
        held = read("followers", brand)
        assert (held.status, held.would_end, following()) == ("held", 25, 30)
        assert not SyncSeen.objects.exists()

    client.force_login(User.objects.create_superuser("boss"))
    board = client.get(reverse("admin:crm_syncrun_changelist")).content.decode()
    assert 'name="confirm"' in board
    with clock.travel(MORNING + timedelta(hours=2)):
        client.post(reverse("admin:crm_syncrun_start"), {"run": held.pk, "confirm": "1"})
        named(*everybody[:4])  # one more than was confirmed
        jobs.run(job_id=Job.objects.latest("pk").pk)
        again = SyncRun.objects.latest("pk")
        assert (again.status, again.would_end, following()) == ("held", 26, 30)
        with pytest.raises(NoSuchSync):
            services.confirm_sync(run_id=held.pk)
        job = services.confirm_sync(run_id=again.pk)
        jobs.run(job_id=job.pk)
        assert SyncRun.objects.get(job=job).status == "done"
    assert following() == 4


@pytest.mark.django_db
def test_a_reading_whose_worker_died_goes_on_where_it_was(
    brand: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {
        "": wechat.FollowerPage(["o-1", "o-2"], "o-2", 3),
        "o-2": wechat.FollowerPage(["o-3"], "", 3),
    }
    asked: list[str] = []

    def page(*, account_id: int, after: str = "") -> wechat.FollowerPage:
        asked.append(after)
        if after and asked.count(after) == 1:
            raise jobs.LostLease
        return pages[after]

    monkeypatch.setattr(wechat, "follower_page", page)
    job = services.start_sync(kind="followers", account_id=brand.pk)
    jobs.run(job_id=job.pk)
    assert SyncRun.objects.get().status == "running"
    Job.objects.filter(pk=job.pk).update(lease_until=clock.now() - timedelta(minutes=5))
    jobs.run(job_id=job.pk)
    assert asked == ["", "o-2", "o-2"]
    run = SyncRun.objects.get()
    assert (run.status, run.expected, run.fetched) == ("done", 3, 3)

    # Of customers, the causes of before are told too.
    def contact(*, account_id: int, external_userid: str) -> wechat.WorkContact:
        if external_userid == "wm-1":
            raise RateLimited("45009", "too many calls")
        if died.append(external_userid) is None and len(died) == 1:
            raise jobs.LostLease
        return wechat.WorkContact(external_userid=external_userid, name="", unionid="", avatar_url="")

    died: list[str] = []
    monkeypatch.setattr(wechat, "work_follow_users", lambda *, account_id: ["lina"])
    monkeypatch.setattr(wechat, "work_contacts", lambda *, account_id, userid: ["wm-1", "wm-2"])
    monkeypatch.setattr(wechat, "work_contact", contact)
    job = services.start_sync(kind="contacts", account_id=brand.pk)
    jobs.run(job_id=job.pk)
    Job.objects.filter(pk=job.pk).update(lease_until=clock.now() - timedelta(minutes=5))
    jobs.run(job_id=job.pk)
    run = SyncRun.objects.get(job=job)
    assert (run.status, run.expected, run.fetched, run.failed) == ("partial", 2, 1, 1)
    assert "45009" in run.cause

    # Asked too often: who goes on asking is refused for longer.
    def refuses(**_asked: Any) -> wechat.WorkContact:
        raise RateLimited("45009", "too many calls")

    monkeypatch.setattr(wechat, "work_contacts", lambda *, account_id, userid: [f"wm-{n}" for n in range(9)])
    monkeypatch.setattr(wechat, "work_contact", refuses)
    stopped = read("contacts", brand)
    assert (stopped.status, stopped.expected, stopped.failed, "45009" in stopped.cause) == (
        "failed",
        9,
        5,
        True,
    )


def test_a_cursor_that_comes_again_ends_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"data": {"openid": ["o-1"]}, "next_openid": "o-1", "group_chat_list": [], "next_cursor": "c"}
    official, work = OfficialClient(Account(kind="service")), WorkClient(Account(kind="work"))
    for client in (official, work):
        monkeypatch.setattr(client, "call", lambda *_args, **_kwargs: answer)
    assert official.follower_page().after == "o-1"
    for again in (lambda: official.follower_page("o-1"), lambda: official.tagged_page(1, "o-1"), work.groups):
        with pytest.raises(PlatformBusy):
            again()


@pytest.mark.django_db
def test_many_changed_tags_are_one_reading_and_none_is_lost(brand: Account) -> None:
    for _ in range(5):
        work_tag_changed(WorkTagChanged(account_id=brand.pk, change="update", tag_id="t1", at=clock.now()))
    assert DueSync.objects.count() == 1
    assert services.start_due_syncs() == 0, "the notices of some seconds share one"
    with clock.travel(clock.now() + timedelta(seconds=6)):
        assert services.start_due_syncs() == 1
        services.want_sync(kind="tags", account_id=brand.pk)
    with clock.travel(clock.now() + timedelta(seconds=20)):
        assert services.start_due_syncs() == 0, "one is running"
        Job.objects.update(status=Job.DONE)
    with clock.travel(clock.now() + timedelta(seconds=40)):
        assert services.start_due_syncs() == 1
    assert Job.objects.filter(kind="crm.sync_tags").count() == 2
    assert not DueSync.objects.exists()


@pytest.fixture
def corp(sandbox: Sandbox) -> Account:
    """A corp with a tag of its own, and a guide's customer 小满 whom we know."""
    return sandbox.account("corp")


@pytest.fixture
def her(sandbox: Sandbox, corp: Account) -> dict[str, Any]:
    person = sandbox.person("小满")
    sandbox.post(f"people/{person['id']}/add_contact", account="corp", userid="lina")
    told(sandbox)
    return person


@pytest.fixture
def roses(sandbox: Sandbox, corp: Account, her: dict[str, Any]) -> Tag:
    """A tag that both sides know."""
    wechat.add_work_tags(account_id=corp.pk, group_name="香调", names=["玫瑰"])
    run = read("tags", corp)
    assert run.status == "done"
    return Tag.objects.get(name="玫瑰", is_shared=True)


def there(sandbox: Sandbox) -> list[str]:
    """The tags that her guide sees."""
    (customer,) = sandbox.get("guides/lina/customers", account="corp")
    return sorted(customer["tags"])


def here() -> list[str]:
    return sorted(MemberTag.objects.values_list("tag__name", flat=True))


def guide_sets(sandbox: Sandbox, her: dict[str, Any], *tags: Tag) -> None:
    ids = list(WorkTag.objects.filter(tag__in=tags).values_list("work_id", flat=True))
    sandbox.post(f"people/{her['id']}/edit_contact", account="corp", userid="lina", tags=ids)


@pytest.mark.django_db
def test_tags_go_out_and_come_in(sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag) -> None:
    member = Member.objects.get()
    services.add_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
    assert there(sandbox) == []
    sandbox.fault(match="/cgi-bin/externalcontact/mark_tag", errcode=-1, times=1)
    assert services.push_work_tags() == 1
    assert there(sandbox) == []
    assert "-1" in WorkTagMark.objects.get().error
    assert services.push_work_tags() == 0, "a little later"
    sandbox.advance(60)
    assert services.push_work_tags() == 1
    assert there(sandbox) == ["玫瑰"]
    assert services.push_work_tags() == 0
    sandbox.advance(60)
    guide_sets(sandbox, her)
    told(sandbox)
    assert here() == []
    sandbox.advance(60)
    guide_sets(sandbox, her, roses)
    told(sandbox)
    assert MemberTag.objects.get().origin == "wecom:lina"
    assert services.push_work_tags() == 0, "what came in does not go back"
    assert not WorkTagConflict.objects.exists()
    # She is removed and added again: her guide begins without tags, she keeps hers.
    for change in ("delete_contact", "add_contact"):
        sandbox.advance(60)
        sandbox.post(
            f"people/{her['id']}/{change}",
            account="corp",
            userid="lina",
            **({"by": "guide"} if change == "delete_contact" else {}),
        )
        told(sandbox)
        assert here() == ["玫瑰"]
    services.push_work_tags()
    assert there(sandbox) == ["玫瑰"]
    assert not run_check("crm.work_tags")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_worktagmark SET wanted = false")
    assert len(run_check("crm.work_tags")) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("ours_later", [True, False])
def test_when_both_change_a_tag_the_later_word_stands_and_the_conflict_is_kept(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag, ours_later: bool
) -> None:
    member = Member.objects.get()
    services.add_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
    services.push_work_tags()
    sandbox.advance(60)

    def ours() -> None:
        services.remove_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
        services.add_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
        sandbox.advance(60)

    def theirs() -> None:
        guide_sets(sandbox, her)
        sandbox.advance(60)

    for change in (theirs, ours) if ours_later else (ours, theirs):
        change()
    told(sandbox)
    services.push_work_tags()
    stands = ["玫瑰"] if ours_later else []
    assert (here(), there(sandbox)) == (stands, stands)
    conflict = WorkTagConflict.objects.get()
    assert conflict.winner == ("ours" if ours_later else "theirs")
    told(sandbox)
    assert WorkTagConflict.objects.count() == 1


@pytest.mark.django_db
def test_the_corps_tags_and_ours_become_the_same_list(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag
) -> None:
    member = Member.objects.get()
    group = TagGroup.objects.create(name="会员")
    ours = Tag.objects.create(group=group, name="金卡", is_shared=True)
    alone = Tag.objects.create(group=group, name="只在这里")
    services.add_tags(member_ids=[member.pk], tag_ids=[ours.pk, alone.pk], origin="staff:1")
    run = read("tags", corp)
    assert (run.status, run.expected, run.fetched) == ("done", 2, 2)
    services.push_work_tags()
    assert there(sandbox) == ["金卡"]
    assert not WorkTag.objects.filter(tag=alone).exists()
    assert read("tags", corp).expected == 2, "a second time nothing is made"
    assert Tag.objects.count() == 3
    sandbox.fault(match="/cgi-bin/externalcontact/get_corp_tag_list", errcode=48002, times=1)
    refused = read("tags", corp)
    assert refused.status == "failed"
    assert "48002" in refused.cause
    assert WorkTag.objects.count() == 2


@pytest.mark.django_db
def test_a_tag_made_anew_or_renamed_in_wecom_is_taken_from_nobody_and_given_there_again(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag
) -> None:
    member = Member.objects.get()
    services.add_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
    services.push_work_tags()

    def look_again() -> None:
        """Her guide wrote a remark: she is read before anything is sent."""
        sandbox.advance(60)
        sandbox.post(f"people/{her['id']}/edit_contact", account="corp", userid="lina", remark="玫瑰控")
        told(sandbox)

    client = WorkClient(corp)
    old = WorkTag.objects.get().work_id
    client.call("POST", f"{CUSTOMERS}/del_corp_tag", {"tag_id": [old]})
    wechat.add_work_tags(account_id=corp.pk, group_name="香调", names=["玫瑰"])
    sandbox.advance(60)
    assert read("tags", corp).status == "done"
    assert WorkTag.objects.get().work_id != old
    look_again()
    assert here() == ["玫瑰"]
    services.push_work_tags()
    look_again()
    assert (here(), there(sandbox)) == (["玫瑰"], ["玫瑰"])
    assert not WorkTagConflict.objects.exists()
    # Renamed there as another of ours is called: that one takes its place.
    Tag.objects.create(group=roses.group, name="月季")
    client.call("POST", f"{CUSTOMERS}/edit_corp_tag", {"id": WorkTag.objects.get().work_id, "name": "月季"})
    sandbox.advance(60)
    assert read("tags", corp).status == "done"
    look_again()
    assert here() == ["月季", "玫瑰"]
    services.push_work_tags()
    look_again()
    assert here() == there(sandbox) == ["月季", "玫瑰"]
    # A tag that is gone there is not booked as sent.
    services.remove_tags(member_ids=[member.pk], tag_ids=[roses.pk])
    WorkTag.objects.filter(tag=roses).delete()
    services.push_work_tags()
    assert not WorkTagMark.objects.filter(tag=roses).exists()


@pytest.mark.django_db
def test_the_later_name_of_a_tag_stands_on_both_sides_and_an_erased_customer_stays_away(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    work_id = WorkTag.objects.get().work_id

    def rename(name: str) -> None:
        form = {"group": roses.group_id, "name": name, "sort": 0, "is_shared": "on"}
        page = reverse("admin:crm_tag_change", args=[roses.pk])
        assert client.post(page, form).status_code == 302

    def names() -> tuple[str, ...]:
        (group,) = wechat.work_tag_groups(account_id=corp.pk)
        tag = Tag.objects.select_related("group").get()
        return tag.name, group.tags[0][1], tag.group.name, group.name

    rename("大马士革玫瑰")
    assert DueSync.objects.get().kind == "tags", "WeCom is told soon"
    assert read("tags", corp).status == "done"
    assert names() == ("大马士革玫瑰", "大马士革玫瑰", "香调", "香调")
    WorkClient(corp).rename_tag(id=work_id, name="保加利亚玫瑰")
    assert read("tags", corp).status == "done"
    assert names()[:2] == ("保加利亚玫瑰", "保加利亚玫瑰")
    # Both at once: whose moment is the later one.
    rename("红玫瑰")
    WorkClient(corp).rename_tag(id=work_id, name="白玫瑰")
    work_tag_changed(WorkTagChanged(corp.pk, work_id, "update", clock.now() - timedelta(minutes=1)))
    read("tags", corp)
    assert names()[:2] == ("红玫瑰", "红玫瑰")
    rename("粉玫瑰")
    WorkClient(corp).rename_tag(id=work_id, name="黄玫瑰")
    work_tag_changed(WorkTagChanged(corp.pk, work_id, "update", clock.now() + timedelta(minutes=1)))
    read("tags", corp)
    assert names()[:2] == ("黄玫瑰", "黄玫瑰")
    TagGroup.objects.update(name="花香")
    services.note_tags_renamed(group_ids=[roses.group_id])
    sandbox.fault(match="/cgi-bin/externalcontact/edit_corp_tag", errcode=40096, times=1)
    refused = read("tags", corp)
    assert (refused.status, "40096" in refused.cause) == ("partial", True)
    assert names()[2:] == ("花香", "香调"), "what WeCom refuses keeps its name on either side"
    assert read("tags", corp).status == "done"
    assert names()[2:] == ("花香", "花香")
    told = WorkTagRename.objects.order_by("pk").values_list("was", "ours", "theirs", "winner")
    assert [row[3] for row in told] == ["ours", "theirs", "ours", "theirs", "ours", "ours"]
    assert told[3][:3] == ("红玫瑰", "粉玫瑰", "黄玫瑰")
    assert "粉玫瑰" in client.get(reverse("admin:crm_worktagrename_changelist")).content.decode()

    member = Member.objects.get()
    services.add_tags(member_ids=[member.pk], tag_ids=[roses.pk], origin="staff:1")
    services.push_work_tags()
    assert there(sandbox) == ["黄玫瑰"]
    services.erase_member(request_id=services.ask_to_erase(member_id=member.pk).pk)
    services.take_off_erased_tags()
    assert there(sandbox) == []
    assert read("contacts", corp).status == "done"
    sandbox.post(f"people/{her['id']}/edit_contact", account="corp", userid="lina", remark="谁")
    told_again(sandbox)
    assert Member.objects.count() == 1, "her guide's list makes no member of her again"
    assert Identity.objects.count() == 0


def told_again(sandbox: Sandbox) -> None:
    sandbox.advance(60)
    told(sandbox)


@pytest.mark.django_db
def test_whoever_touches_tags_locks_the_member_her_tags_and_the_marks_in_this_order(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag
) -> None:
    """Two who lock the same rows in two orders wait for each other."""
    member, contact = Member.objects.get(), Contact.objects.get()
    tables = ("crm_member", "crm_membertag", "crm_worktagmark")

    def locked(work: Any) -> list[str]:
        with CaptureQueriesContext(connection) as asked:
            work()
        writes = r'(?:INSERT INTO|UPDATE|DELETE FROM|FROM) "?(\w+)"?'
        rows = [
            found[1]
            for query in asked
            if re.search(r"FOR (?:NO KEY UPDATE|KEY SHARE|UPDATE)|^\s*(?:INSERT|UPDATE|DELETE)", query["sql"])
            and (found := re.search(writes, query["sql"]))
        ]
        return list(dict.fromkeys(row for row in rows if row in tables))

    def reads(*tags: Tag) -> None:
        services.note_work_tags(
            account_id=corp.pk,
            external_userid=contact.identity.value,
            userid="lina",
            work_ids=[link.work_id for link in WorkTag.objects.filter(tag__in=tags)],
            began_at=clock.now(),
        )

    assert locked(lambda: reads(roses)) == list(tables)
    assert here() == ["玫瑰"]
    sandbox.advance(60)
    assert locked(reads) == list(tables)
    assert here() == []
    ids = {"member_ids": [member.pk], "tag_ids": [roses.pk]}
    assert locked(lambda: services.add_tags(**ids, origin="staff:1")) == list(tables)
    assert locked(lambda: services.remove_tags(**ids)) == list(tables)


@pytest.mark.django_db
def test_contacts_that_cannot_be_read_are_named_and_do_not_stop_the_others(
    sandbox: Sandbox, corp: Account, her: dict[str, Any], roses: Tag
) -> None:
    others = [sandbox.person(name) for name in ("谷雨", "白露")]
    for person in others:
        sandbox.post(f"people/{person['id']}/add_contact", account="corp", userid="lina")
    sandbox.relay.waiting.clear()
    guide_sets(sandbox, others[0], roses)
    sandbox.relay.waiting.clear()
    sandbox.fault(match="/cgi-bin/externalcontact/get", errcode=60020, times=1)
    # The first call of that beginning is the list of guides: without it nothing can be read.
    broken = read("contacts", corp)
    assert (broken.status, broken.fetched) == ("failed", 0)
    assert "60020" in broken.cause
    whole = read("contacts", corp)
    assert (whole.status, whole.expected, whole.fetched) == ("done", 3, 3)
    assert Contact.objects.count() == 3
    assert MemberTag.objects.get().origin == "wecom:lina"
    sandbox.advance(60)
    sandbox.post(f"people/{others[1]['id']}/delete_contact", account="corp", userid="lina", by="guide")
    sandbox.relay.waiting.clear()
    assert read("contacts", corp).fetched == 2
    assert sum(contact.is_open for contact in Contact.objects.all()) == 2
