"""Who is who: one person is one member, whatever arrives in whatever order."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from core import clock
from core.audits import run_check
from core.models import DomainEvent
from crm import queries, services
from crm.audits import (
    UNREFERENCED,
    identities_name_living_members,
    stats_equal_the_timeline,
    tombstones_hold_nothing,
)
from crm.errors import PhoneBelongsToAnother, WrongPhone
from crm.models import Activity, Consent, Identity, Member, MemberStats, MemberTag, Tag, TagGroup
from tests.shop.test_races import one_holds_while_other_waits
from wechat.models import Account


def assert_sound() -> None:
    found = [
        *identities_name_living_members(),
        *tombstones_hold_nothing(),
        *stats_equal_the_timeline(),
    ]
    assert found == []


@pytest.mark.django_db
def test_an_openid_seen_twice_is_one_member(brand: Account, morning: datetime) -> None:
    first = services.member_for_openid(account_id=brand.pk, openid="o-1", via="follow")
    again = services.member_for_openid(account_id=brand.pk, openid="o-1", via="login", name="小雅")
    assert first.pk == again.pk
    assert Member.objects.get().name == "小雅"
    assert MemberStats.objects.filter(member=first).exists()
    assert [event.payload["via"] for event in DomainEvent.objects.filter(name="crm.MemberJoined")] == [
        "follow"
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(["brand", "event", "corp", "unnamed"])))
def test_one_unionid_through_several_accounts_is_one_member_in_any_order(
    order: tuple[str, ...], brand: Account, event_account: Account, corp: Account
) -> None:
    def tell(source: str) -> None:
        if source == "corp":
            services.member_for_contact(account_id=corp.pk, external_userid="wm-1", unionid="u-1")
        elif source == "unnamed":  # the same openid before its unionid is known
            services.member_for_openid(account_id=brand.pk, openid="o-b")
        else:
            account, openid = (brand, "o-b") if source == "brand" else (event_account, "o-e")
            services.member_for_openid(account_id=account.pk, openid=openid, unionid="u-1")

    for source in order:
        tell(source)
    living = Member.objects.living().get()
    assert {(identity.kind, identity.value) for identity in living.identities.all()} == {
        ("openid", "o-b"),
        ("openid", "o-e"),
        ("external_userid", "wm-1"),
        ("unionid", "u-1"),
    }
    assert_sound()


def race(*jobs: Callable[[], Any]) -> list[BaseException]:
    """Run the jobs at the same moment, each on its own connection; returns what they raised."""
    barrier = threading.Barrier(len(jobs))
    raised: list[BaseException] = []

    def run(job: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            job()
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.django_db(transaction=True)
def test_notices_about_one_person_at_the_same_moment_make_one_member(
    brand: Account, event_account: Account, corp: Account
) -> None:
    for turn in range(6):
        union = f"u-{turn}"
        raised = race(
            *[
                lambda account=account, turn=turn, union=union: services.member_for_openid(
                    account_id=account.pk, openid=f"o-{turn}", unionid=union
                )
                for account in (brand, event_account, brand)
            ],
            lambda turn=turn, union=union: services.member_for_contact(
                account_id=corp.pk, external_userid=f"wm-{turn}", unionid=union
            ),
        )
        assert raised == []
    assert Member.objects.count() == 6, "a second row would be a person born twice"
    assert Identity.objects.filter(kind="unionid").count() == 6
    assert_sound()


@pytest.mark.django_db(transaction=True)
def test_two_merges_of_one_pair_from_both_ends_do_not_wait_for_each_other_forever(
    brand: Account, event_account: Account
) -> None:
    one = services.member_for_openid(account_id=brand.pk, openid="o-b")
    two = services.member_for_openid(account_id=event_account.pk, openid="o-e")
    raised = race(
        lambda: services.merge_members(kept_id=one.pk, merged_id=two.pk),
        lambda: services.merge_members(kept_id=two.pk, merged_id=one.pk),
        lambda: services.record_activity(member_id=two.pk, kind="visited", at=two.created_at),
        lambda: services.book_purchase(member_id=two.pk, paid_fen=100, at=two.created_at),
    )
    assert raised == []
    assert Member.objects.living().get().pk == one.pk
    assert DomainEvent.objects.filter(name="crm.MembersMerged").count() == 1
    assert MemberStats.objects.get().paid_fen == 100
    assert not Activity.objects.filter(member=two.pk).exists()


@pytest.mark.django_db
def test_merging_brings_everything_along_and_leaves_an_empty_tombstone(
    brand: Account, event_account: Account, tag: Callable[[str], Any], morning: datetime
) -> None:
    kept = services.member_for_openid(account_id=brand.pk, openid="o-b", name="林小雅")
    other = services.member_for_openid(account_id=event_account.pk, openid="o-e")
    rose, musk = tag("玫瑰"), tag("麝香")
    services.add_tags(member_ids=[kept.pk, other.pk], tag_ids=[rose.pk], origin="staff:1")
    services.add_tags(member_ids=[other.pk], tag_ids=[musk.pk], origin="staff:1")
    for member, fen in ((kept, 19_900), (other, 5_000)):
        services.record_activity(
            member_id=member.pk, kind="paid", at=morning, subject="order:1", amount_fen=fen
        )
        services.book_purchase(member_id=member.pk, paid_fen=fen, at=morning)
        services.give_phone(member_id=member.pk, phone="138 0000 0001", verified=False)
        services.book_touches(origin="broadcast:1", member_ids=[member.pk], purpose="service")
    services.withdraw_consent(member_id=other.pk, purpose=Consent.MARKETING, channel="page")

    services.member_for_openid(account_id=brand.pk, openid="o-b", unionid="u")
    services.member_for_openid(account_id=event_account.pk, openid="o-e", unionid="u")

    stats = MemberStats.objects.get()
    assert (stats.member_id, stats.orders_count, stats.paid_fen) == (kept.pk, 2, 24_900)
    assert stats.marketing_consent is False
    assert set(MemberTag.objects.values_list("member", "tag__name")) == {(kept.pk, "玫瑰"), (kept.pk, "麝香")}
    assert Identity.objects.filter(kind="phone").count() == 1
    assert Member.objects.get(pk=other.pk).merged_into_id == kept.pk
    found = queries.find_member(other.pk)
    assert found is not None
    assert found.pk == kept.pk
    event = DomainEvent.objects.get(name="crm.MembersMerged")
    assert (event.payload["kept_id"], event.payload["merged_id"]) == (kept.pk, other.pk)
    assert_sound()


@pytest.mark.django_db
def test_what_is_booked_for_a_tombstone_reaches_the_living_member(
    brand: Account, event_account: Account, morning: datetime
) -> None:
    kept = services.member_for_openid(account_id=brand.pk, openid="o-b")
    gone = services.member_for_openid(account_id=event_account.pk, openid="o-e")
    third = services.member_for_import(source="pos", external_id="9")
    services.merge_members(kept_id=third.pk, merged_id=gone.pk)
    services.merge_members(
        kept_id=kept.pk, merged_id=gone.pk
    )  # named by a tombstone: the living pair is merged
    assert set(Member.objects.filter(merged_into=kept).values_list("pk", flat=True)) == {gone.pk, third.pk}
    services.record_activity(member_id=gone.pk, kind="paid", at=morning, amount_fen=300)
    services.book_purchase(member_id=gone.pk, paid_fen=300, at=morning)
    services.record_activity(member_id=third.pk, kind="refunded", at=morning, amount_fen=100)
    services.book_refund(member_id=third.pk, refunded_fen=100, at=morning)
    stats = MemberStats.objects.get()
    assert (stats.member_id, stats.net_fen) == (kept.pk, 200)
    assert_sound()


@pytest.mark.django_db
def test_equal_names_and_typed_phones_merge_nobody(brand: Account) -> None:
    mother = services.member_for_openid(account_id=brand.pk, openid="o-1", name="阿芳")
    daughter = services.member_for_openid(account_id=brand.pk, openid="o-2", name="阿芳")
    for member in (mother, daughter):
        services.give_phone(member_id=member.pk, phone="+86 138-0000-0001", verified=False)
    assert Member.objects.living().count() == 2
    assert set(Identity.objects.filter(kind="phone").values_list("value", flat=True)) == {"13800000001"}
    services.give_phone(member_id=mother.pk, phone="13800000001", verified=True)
    with pytest.raises(PhoneBelongsToAnother):
        services.give_phone(member_id=daughter.pk, phone="13800000001", verified=True)
    assert Identity.objects.filter(kind="phone", is_verified=True).get().member_id == mother.pk


@pytest.mark.django_db
def test_what_is_no_phone_is_refused_and_not_kept(brand: Account) -> None:
    member = services.member_for_openid(account_id=brand.pk, openid="o-1")
    with pytest.raises(WrongPhone):
        services.give_phone(member_id=member.pk, phone="下次再说", verified=False)
    assert not Identity.objects.filter(kind="phone").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("table", UNREFERENCED)
def test_a_row_of_a_member_who_is_not_there_is_refused(follower: Callable[..., Member], table: str) -> None:
    hers = follower()
    services.give_consent(member_id=hers.pk, purpose="marketing", channel="page", text_version="1")
    services.add_tags(
        member_ids=[hers.pk],
        tag_ids=[Tag.objects.create(group=TagGroup.objects.create(name="偏好"), name="玫瑰").pk],
        origin="staff:1",
    )
    copied = f"INSERT INTO {table} SELECT (jsonb_populate_record(r, %s::jsonb)).* FROM {table} r WHERE member_id = %s"
    moved = f"UPDATE {table} SET member_id = 999999 WHERE member_id = %s"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for sql, params in (
            (copied, ['{"member_id": 999999, "id": 999999, "value": "x"}', hers.pk]),
            (moved, [hers.pk]),
        ):
            with pytest.raises(IntegrityError, match="not there"), transaction.atomic():
                cursor.execute(sql, params)
        with pytest.raises(IntegrityError), transaction.atomic():
            cursor.execute("DELETE FROM crm_member WHERE id = %s", [hers.pk])
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(moved, [hers.pk])
        found = [one.subject for one in run_check("crm.tombstones")]
        assert "member 999999" in found


@pytest.mark.django_db(transaction=True)
def test_a_tag_that_is_not_there_is_carried_by_nobody(follower: Callable[..., Member]) -> None:
    """Whoever comes second, she who gets it or who deletes it, waits for the other and is refused."""
    hers, group = follower().pk, TagGroup.objects.create(name="偏好")
    kept, carried, gone = (Tag.objects.create(group=group, name=name).pk for name in ("玫瑰", "檀香", "雪松"))

    def delete(tag_id: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM crm_tag WHERE id = %s", [tag_id])

    def carry(tag_id: int) -> None:
        MemberTag.objects.create(member_id=hers, tag_id=tag_id, origin="staff:1", at=clock.now())

    for first, second, tag_id in ((carry, delete, carried), (delete, carry, gone)):
        done, refused = one_holds_while_other_waits(partial(first, tag_id), partial(second, tag_id))
        assert done is None
        assert isinstance(refused, IntegrityError)
    assert set(Tag.objects.values_list("pk", flat=True)) == {kept, carried}
    assert [row.tag_id for row in MemberTag.objects.all()] == [carried]
    with pytest.raises(IntegrityError, match="not there"):
        MemberTag.objects.update(tag=gone)
    assert_sound()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE crm_membertag DISABLE TRIGGER row_keeps_a_tag")
        cursor.execute("UPDATE crm_membertag SET tag_id = %s", [gone])
        cursor.execute("ALTER TABLE crm_membertag ENABLE TRIGGER row_keeps_a_tag")
    assert [one.subject for one in run_check("crm.tombstones")] == [f"tag {gone}"]


@pytest.mark.django_db
def test_an_import_run_twice_bears_nobody_twice(django_assert_max_num_queries: Any) -> None:
    rows = [
        {"external_id": str(number), "name": f"客{number}", "phone": "13800000002"} for number in range(300)
    ]
    with django_assert_max_num_queries(14):
        first = services.members_for_import(source="pos", rows=rows)
    second = services.members_for_import(source="pos", rows=[*rows, {"external_id": "new"}])
    assert len(first) == 300
    assert {key: second[key] for key in first} == first
    assert Member.objects.count() == 301
    other = services.members_for_import(source="mall", rows=rows[:1])
    assert other["0"] != first["0"], "the same number in another shop is another person"
    assert_sound()


@pytest.mark.django_db
def test_a_late_notice_does_not_undo_a_newer_one(follower: Callable[..., Member], morning: datetime) -> None:
    follower()
    identity = Identity.objects.get(kind="openid")
    moments = {
        "follow": [morning, morning + timedelta(hours=2)],
        "unfollow": [morning + timedelta(hours=1)],
    }
    notices = [(kind, at) for kind, times in moments.items() for at in times]
    for order in permutations(notices):
        Identity.objects.update(is_following=False, followed_at=None, unfollowed_at=None)
        for kind, at in order:
            note = services.note_follow if kind == "follow" else services.note_unfollow
            note(identity_id=identity.pk, at=at)
        identity.refresh_from_db()
        assert identity.is_following, order
        assert identity.unfollowed_at == morning + timedelta(hours=1)


@pytest.mark.django_db
def test_a_customer_stays_reachable_while_one_guide_has_her(corp: Account, morning: datetime) -> None:
    services.member_for_contact(account_id=corp.pk, external_userid="wm-1", userid="lina", at=morning)
    services.member_for_contact(account_id=corp.pk, external_userid="wm-1", userid="wangwei", at=morning)
    gone = {"account_id": corp.pk, "external_userid": "wm-1", "by": "customer"}
    services.note_contact_removed(userid="lina", at=morning + timedelta(hours=1), **gone)
    assert Identity.objects.get().is_following
    services.note_contact_removed(userid="wangwei", at=morning + timedelta(hours=1), **gone)
    assert not Identity.objects.get().is_following
    services.note_contact(
        account_id=corp.pk, external_userid="wm-1", userid="lina", at=morning + timedelta(minutes=30)
    )
    assert not Identity.objects.get().is_following, "an older adding that arrives late opens nothing"
