"""What is read from the platforms is told as it was, and tags are the same in WeCom and here; the later word stands."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from core import clock, events, jobs
from core.audits import run_check
from core.models import Job
from crm import services
from crm.errors import SyncRunning
from crm.models import (
    Contact,
    Identity,
    Member,
    MemberTag,
    SyncRun,
    Tag,
    TagGroup,
    WorkTag,
    WorkTagConflict,
    WorkTagMark,
)
from tests.conftest_sandbox import Sandbox
from wechat import services as wechat
from wechat import tasks as wechat_tasks
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

    assert ended(0, 0) == ("done", "")
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
