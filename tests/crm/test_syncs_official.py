"""Tags of official accounts are the same there and here: 50 followers a call, and who cannot have one says why."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import clock, jobs
from core.audits import run_check
from crm import services
from crm.errors import WrongTagLink
from crm.models import (
    DueSync,
    ErasedAddress,
    Identity,
    Member,
    MemberTag,
    OfficialTag,
    OfficialTagMark,
    SyncRun,
    Tag,
    WorkTagConflict,
)
from crm.services import arrivals, syncs_official_marks
from tests.conftest_sandbox import Sandbox
from wechat import services as wechat
from wechat.gateway.official import OfficialClient
from wechat.models import Account

GIVE = "/cgi-bin/tags/members/batchtagging"


def read(account: Account) -> SyncRun:
    job = services.start_sync(kind="oa_tags", account_id=account.pk)
    jobs.run(job_id=job.pk)
    return SyncRun.objects.get(job=job)


@pytest.fixture
def brand(sandbox: Sandbox) -> Account:
    return sandbox.account("brand")


@pytest.fixture
def followers(sandbox: Sandbox, brand: Account) -> dict[str, Member]:
    """小满, 谷雨 and 白露 follow: openid → member."""
    found = {}
    for name in ("小满", "谷雨", "白露"):
        person = sandbox.person(name)
        sandbox.post(f"people/{person['id']}/follow", account="brand")
        openid = person["openids"][brand.appid]
        found[openid] = arrivals.follow(account_id=brand.pk, openid=openid, scene="", at=clock.now())
    sandbox.relay.waiting.clear()
    sandbox.advance(60)
    return found


@pytest.fixture
def roses(brand: Account, followers: dict[str, Member], tag: Callable[[str], Tag]) -> Tag:
    """A tag of ours that is shared, and made there."""
    made = tag("玫瑰")
    services.share_official_tag(account_id=brand.pk, tag_id=made.pk)
    assert read(brand).status == "done"
    return made


def there(brand: Account, name: str = "玫瑰") -> set[str]:
    number = next(one.tag_id for one in wechat.official_tags(account_id=brand.pk) if one.name == name)
    return set(wechat.tagged_page(account_id=brand.pk, tag_id=number).openids)


def here(name: str = "玫瑰") -> set[int]:
    return set(MemberTag.objects.filter(tag__name=name).values_list("member_id", flat=True))


@pytest.mark.django_db
def test_tags_go_out_fifty_a_call_and_come_in_with_a_reading(
    sandbox: Sandbox, brand: Account, followers: dict[str, Member], roses: Tag
) -> None:
    openids, members = list(followers), [member.pk for member in followers.values()]
    services.add_tags(member_ids=members, tag_ids=[roses.pk], origin="staff:1")
    assert not there(brand)
    sandbox.fault(match=GIVE, errcode=-1, times=1)
    assert services.push_official_tags() == 1
    assert "-1" in OfficialTagMark.objects.all()[0].error
    assert services.push_official_tags() == 0, "a little later"
    sandbox.advance(60)
    assert services.push_official_tags() == 1, "one call for the three of them"
    assert there(brand) == set(openids)
    # In the account's own pages: one loses it, one gets a tag of which we have never heard.
    client = OfficialClient(brand)
    sandbox.advance(60)
    client.tag_followers(int(OfficialTag.objects.get().official_id or 0), openids[:1], remove=True)
    client.tag_followers(client.create_tag("老客"), openids[1:2])
    run = read(brand)
    assert (run.status, run.expected, run.fetched) == ("done", 2 + 2 + 1, 5)
    assert (here(), here("老客")) == (set(members[1:]), {members[1]})
    assert MemberTag.objects.get(tag__name="老客").origin == f"official:{brand.pk}"
    assert services.push_official_tags() == 0, "what came in does not go back"
    assert read(brand).fetched == 5
    assert not WorkTagConflict.objects.exists()
    assert not run_check("crm.official_tags")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_officialtagmark SET wanted = NOT wanted WHERE tag_id = %s", [roses.pk])
    assert len(run_check("crm.official_tags")) == 3


@pytest.mark.django_db
def test_who_left_keeps_her_tags_here_and_gets_them_again_when_she_is_back(
    sandbox: Sandbox, brand: Account, followers: dict[str, Member], roses: Tag
) -> None:
    openid, her = next(iter(followers.items()))
    services.add_tags(member_ids=[her.pk], tag_ids=[roses.pk], origin="staff:1")
    services.push_official_tags()
    sandbox.advance(60)
    person = next(one for one in sandbox.get("people") if one["openids"][brand.appid] == openid)
    sandbox.post(f"people/{person['id']}/unfollow", account="brand")  # the notice of it was lost
    sandbox.advance(60)
    assert read(brand).status == "done"
    assert here() == {her.pk}
    assert not Identity.objects.get(value=openid).is_following
    sandbox.advance(60)
    sandbox.post(f"people/{person['id']}/follow", account="brand")
    arrivals.follow(account_id=brand.pk, openid=openid, scene="", at=clock.now())
    assert services.push_official_tags() == 1
    assert there(brand) == {openid}
    sandbox.advance(60)
    for change in ("unfollow", "follow"):  # and of these two nobody told us either
        sandbox.post(f"people/{person['id']}/{change}", account="brand")
    sandbox.advance(60)
    assert read(brand).status == "done"
    assert here() == {her.pk}
    services.push_official_tags()
    assert there(brand) == {openid}


@pytest.mark.django_db
def test_when_both_changed_a_tag_ours_stands_and_the_conflict_is_kept(
    sandbox: Sandbox, brand: Account, followers: dict[str, Member], roses: Tag, client: Client
) -> None:
    openid, her = next(iter(followers.items()))
    ids = {"member_ids": [her.pk], "tag_ids": [roses.pk]}
    services.add_tags(**ids, origin="staff:1")
    services.push_official_tags()
    sandbox.advance(60)
    OfficialClient(brand).tag_followers(
        int(OfficialTag.objects.get().official_id or 0), [openid], remove=True
    )
    services.remove_tags(**ids)
    services.add_tags(**ids, origin="staff:1")
    sandbox.advance(60)
    read(brand)
    services.push_official_tags()
    assert (here(), there(brand)) == ({her.pk}, {openid})
    assert WorkTagConflict.objects.get().winner == "ours"
    client.force_login(User.objects.create_superuser("boss"))
    assert brand.name in client.get(reverse("admin:crm_worktagconflict_changelist")).content.decode()


@pytest.mark.django_db
def test_one_who_cannot_have_it_keeps_it_from_nobody_and_says_why(
    sandbox: Sandbox, brand: Account, followers: dict[str, Member], roses: Tag, client: Client
) -> None:
    full, stranger, fine = followers
    official = OfficialClient(brand)
    for number in range(20):
        official.tag_followers(official.create_tag(f"标签{number}"), [full])
    Identity.objects.filter(value=stranger).update(value="o-stranger")
    services.add_tags(
        member_ids=[member.pk for member in followers.values()], tag_ids=[roses.pk], origin="staff:1"
    )
    services.push_official_tags()
    assert there(brand) == {fine}
    errors = dict(OfficialTagMark.objects.exclude(error="").values_list("identity__value", "error"))
    assert set(errors) == {full, "o-stranger"}
    assert "20" in errors[full]
    assert "40003" in errors["o-stranger"]
    assert services.push_official_tags() == 0
    client.force_login(User.objects.create_superuser("boss"))
    board = client.get(reverse("admin:crm_syncrun_changelist")).content.decode()
    assert 'value="official"' in board
    client.post(reverse("admin:crm_syncrun_start"), {"tags": "official"})
    assert OfficialTagMark.objects.filter(due_at__isnull=False).count() == 2
    # What the readings know is not even asked for.
    Identity.objects.filter(value="o-stranger").update(value=stranger)
    sandbox.advance(60)
    read(brand)
    calls = sandbox.calls(GIVE)
    services.push_official_tags()
    assert sandbox.calls(GIVE) == calls + 1
    assert OfficialTagMark.objects.exclude(error="").get().identity.value == full


@pytest.mark.django_db
def test_tags_are_shared_renamed_and_given_up_in_the_admin(
    sandbox: Sandbox,
    brand: Account,
    followers: dict[str, Member],
    roses: Tag,
    tag: Callable[[str], Tag],
    client: Client,
) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    add = reverse("admin:crm_officialtag_add")
    corp = sandbox.account("corp")
    for account, name in ((brand, "十一个汉字的标签名字啊"), (corp, "木质")):
        assert client.post(add, {"account": account.pk, "tag": tag(name).pk}).status_code == 200
    with pytest.raises(WrongTagLink):
        services.share_official_tag(account_id=corp.pk, tag_id=tag("木质").pk)
    assert client.post(add, {"account": brand.pk, "tag": tag("木质").pk}).status_code == 302
    link = OfficialTag.objects.get(tag__name="木质")
    assert DueSync.objects.filter(kind="oa_tags").exists()
    sandbox.fault(match="/cgi-bin/tags/create", errcode=45056, times=1)
    refused = read(brand)
    assert refused.status == "partial"
    assert "45056" in refused.cause
    shown = client.get(reverse("admin:crm_officialtag_changelist")).content.decode()
    assert "45056" in shown
    assert read(brand).status == "done"
    Tag.objects.filter(pk=roses.pk).update(name="大马士革玫瑰")
    read(brand)
    assert {one.name for one in wechat.official_tags(account_id=brand.pk)} == {"大马士革玫瑰", "木质"}
    OfficialClient(brand).rename_tag(int(OfficialTag.objects.get(tag=roses).official_id or 0), "玫瑰园")
    read(brand)
    assert Tag.objects.get(pk=roses.pk).name == "玫瑰园"
    delete = reverse("admin:crm_officialtag_delete", args=[link.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 302
    assert read(brand).status == "done"
    assert not OfficialTag.objects.filter(pk=link.pk).exists()
    assert [one.name for one in wechat.official_tags(account_id=brand.pk)] == ["玫瑰园"]
    services.want_official_readings()
    sandbox.advance(7 * 3600)
    assert services.want_official_readings() == 1


@pytest.mark.django_db
def test_who_was_erased_is_passed_by_until_she_acts_herself_and_her_tags_are_taken_off(
    brand: Account, followers: dict[str, Member], roses: Tag
) -> None:
    openid, her = next(iter(followers.items()))
    services.add_tags(member_ids=[her.pk], tag_ids=[roses.pk], origin="staff:1")
    services.push_official_tags()
    assert openid in there(brand)
    erased_at = clock.now()
    services.erase_member(request_id=services.ask_to_erase(member_id=her.pk).pk)
    row = ErasedAddress.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(e)::text FROM crm_erasedaddress e")
        assert openid not in cursor.fetchone()[0]
    assert services.take_off_erased_tags() == 1
    assert services.take_off_erased_tags() == 0
    assert openid not in there(brand)
    row.refresh_from_db()
    assert (row.address, row.due_at, row.error) == ("", None, "")

    known = Member.objects.count()
    run_followers = services.start_sync(kind="followers", account_id=brand.pk)
    jobs.run(job_id=run_followers.pk)
    assert SyncRun.objects.get(job=run_followers).status == "done"
    read(brand)
    later = erased_at + timedelta(minutes=1)
    assert arrivals.unfollow(account_id=brand.pk, openid=openid, at=later) is None
    assert arrivals.follow(account_id=brand.pk, openid=openid, scene="", at=erased_at - timedelta(1)) is None
    assert Member.objects.count() == known, "nobody was born of it"
    back = arrivals.speak(account_id=brand.pk, openid=openid, msg_type="text", text="在吗", at=later)
    assert back is not None
    assert back.pk != her.pk
    assert not ErasedAddress.objects.exists()
    assert not MemberTag.objects.filter(member=back).exists()


@pytest.mark.django_db
def test_a_torn_list_takes_the_tag_from_nobody(
    sandbox: Sandbox,
    brand: Account,
    followers: dict[str, Member],
    roses: Tag,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = [member.pk for member in followers.values()]
    services.add_tags(member_ids=members, tag_ids=[roses.pk], origin="staff:1")
    services.push_official_tags()
    sandbox.advance(60)
    whole = wechat.tagged_page
    monkeypatch.setattr(
        wechat,
        "tagged_page",
        lambda **asked: wechat.FollowerPage(whole(**asked).openids[:1], ""),
    )
    monkeypatch.setattr(syncs_official_marks, "A_PAGE", 1)
    torn = read(brand)
    assert (torn.status, torn.expected, torn.fetched, torn.failed) == ("partial", 4, 2, 2)
    assert here() == set(members)
    monkeypatch.setattr(wechat, "tagged_page", whole)
    assert read(brand).status == "done"
    sandbox.fault(match="/cgi-bin/tags/get", errcode=48001, times=1)
    refused = read(brand)
    assert refused.status == "failed"
    assert "48001" in refused.cause
    assert here() == set(members)
    assert clock.now() - refused.started_at < timedelta(minutes=1)
