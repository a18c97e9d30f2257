"""Merging shows itself before, keeps what it moved, and can be undone."""

import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import audits, clock, ledger
from core.events import deliver_due
from core.models import LedgerAccount
from crm import queries, services
from crm.errors import CannotUndo, NoSuchMember, PhoneBelongsToAnother
from crm.models import (
    Activity,
    Consent,
    Identity,
    Member,
    MemberMerge,
    Membership,
    MemberStats,
    MemberTag,
    MemberTier,
    MergeMove,
    MergeProposal,
    TierChange,
    Touch,
)
from crm.queries.merging import account_matrix
from shop import services as shop_services
from shop.models import CouponGrant, Order
from tests.crm.test_mydata import until_somebody_waits
from tests.crm.test_people import race
from tests.shop import builders, instruments
from wechat.models import Account

DAY = timedelta(days=1)


def deliver_all() -> None:
    while deliver_due():
        pass


def snapshot() -> dict[str, Any]:
    """Whose everything is: what an undo must restore."""
    return {
        "members": list(
            Member.objects.order_by("pk").values_list(
                "pk", "name", "birthday", "note", "tier", "created_at", "merged_into"
            )
        ),
        "identities": sorted(
            Identity.objects.values_list("member", "kind", "value", "is_verified", "source")
        ),
        "tags": sorted(MemberTag.objects.values_list("member", "tag", "origin")),
        "touches": sorted(Touch.objects.values_list("member", "origin", "answer")),
        "consents": sorted(Consent.objects.values_list("member", "purpose", "is_given")),
        "facts": sorted(
            Activity.objects.exclude(kind="merged").values_list("member", "kind", "subject", "amount_fen")
        ),
        "memberships": list(
            Membership.objects.order_by("pk").values_list(
                "pk", "member", "begins_at", "ends_at", "ran_beside"
            )
        ),
        "figures": sorted(MemberStats.objects.values(), key=lambda row: row["member_id"]),
    }


def audit(*rooms: str) -> list[Any]:
    names = [name for name, _label in audits.check_names() if not rooms or name.startswith(rooms)]
    return [finding for name in names for finding in audits.run_check(name)]


def days_left() -> timedelta:
    """Of all terms together."""
    now = clock.now()
    rows = Membership.objects.filter(ends_at__gt=now)
    return sum((row.ends_at - max(row.begins_at, now) for row in rows), timedelta())


OWN_CHECKS = ("crm.stats", "crm.tombstones", "crm.merges", "crm.identities", "core.ledger.")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tag", "paid", "phone", "touch", "consent", "points", "visit", "name", "card"]),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    min_size=3,
    max_size=12,
)


def live(members: list[Member], steps: list[tuple[str, int, int]], tag: Callable[[str], Any]) -> None:
    """What happens to three people before anybody notices that some of them are one."""
    house = ledger.open_account(kind="points.issued", owner_id=0)
    for turn, (what, who, number) in enumerate(steps):
        pk, at = members[who].pk, clock.now() + timedelta(minutes=turn)
        if what == "tag":
            services.add_tags(member_ids=[pk], tag_ids=[tag(f"标签{number}").pk], origin=f"staff:{who}")
        elif what == "paid":
            services.record_activity(
                member_id=pk, kind="paid", at=at, subject=f"order:{turn}", amount_fen=number * 100
            )
            services.book_purchase(member_id=pk, paid_fen=number * 100, at=at)
        elif what == "phone":
            services.give_phone(member_id=pk, phone=f"1380000000{number}", verified=False)
        elif what == "touch":
            services.book_touches(origin=f"broadcast:{number}", member_ids=[pk], purpose="service", at=at)
        elif what == "consent":
            change = services.give_consent if number % 2 else services.withdraw_consent
            change(member_id=pk, purpose="marketing", channel="page", text_version="1", at=at)
        elif what == "card":
            services.grant_membership(
                member_id=pk,
                cause=f"card:{turn}",
                name="卡",
                tier="金卡",
                days=2 * number,
                at=clock.now() - 5 * DAY,
            )
        elif what == "points":
            ledger.transfer(
                cause=f"gift:{turn}",
                debit=house,
                credit=ledger.open_account(kind="points", owner_id=pk),
                amount=number,
            )
        elif what == "visit":
            services.record_activity(member_id=pk, kind="visited", at=at)
        else:
            Member.objects.filter(pk=pk).update(name=f"客{number}", birthday=date(1990, 1, number))


def points() -> dict[int, int]:
    rows = LedgerAccount.objects.filter(kind="points").exclude(balance=0)
    return dict(rows.values_list("owner_id", "balance"))


@pytest.mark.django_db
@settings(
    max_examples=2,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, order=st.permutations([(0, 1), (1, 2)]))
def test_merges_come_to_the_same_whatever_their_order_and_undoing_restores_everything(
    steps: list[tuple[str, int, int]],
    order: list[tuple[int, int]],
    brand: Account,
    tag: Callable[[str], Any],
    morning: datetime,
) -> None:
    with transaction.atomic():
        members = [services.member_for_openid(account_id=brand.pk, openid=f"o-{n}") for n in range(3)]
        live(members, [("card", 0, 4), ("card", 1, 3), ("card", 2, 1), *steps], tag)
        before, had, left = snapshot(), points(), days_left()
        outcomes = []
        for pairs in (order, [(0, 1), (1, 2)]):
            for one, other in pairs:
                services.merge_members(kept_id=members[other].pk, merged_id=members[one].pk)
            deliver_all()
            after = snapshot()
            # Who fills a blank first depends on the order; whose things they are does not.
            outcomes.append(
                {
                    "sums": points(),
                    "identities": {row[:3] for row in after["identities"]},
                    "tags": {row[:2] for row in after["tags"]},
                    "touches": {row[:2] for row in after["touches"]},
                    "facts": after["facts"],
                    "figures": after["figures"],
                    "days": days_left(),
                }
            )
            assert days_left() >= left
            assert [row[0] for row in after["members"] if row[-1] is None] == [members[0].pk]
            assert sum(points().values()) == sum(had.values())
            assert audit(*OWN_CHECKS) == []
            for merge in MemberMerge.objects.filter(undone_at__isnull=True).order_by("-pk"):
                services.undo_merge(merge_id=merge.pk)
            deliver_all()
            assert (snapshot(), points()) == (before, had)
        assert audit(*OWN_CHECKS) == []
        assert outcomes[0] == outcomes[1]
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_terms_of_one_tier_follow_each_other_and_go_back(
    brand: Account, event_account: Account, morning: datetime
) -> None:
    kept, merged = pair_of(brand, event_account)

    def grant(member: Member, cause: str, days: int, began: timedelta, tier: str = "金卡") -> Membership:
        return services.grant_membership(
            member_id=member.pk, cause=cause, name="卡", tier=tier, days=days, at=morning + began
        )

    def terms() -> list[Any]:
        rows = Membership.objects.order_by("cause")
        return list(rows.values_list("cause", "member", "begins_at", "ends_at", "ran_beside"))

    running = grant(kept, "a", 30, -10 * DAY)  # twenty days are left, and this one
    later = grant(merged, "b", 30, -5 * DAY)
    grant(merged, "c", 10, -5 * DAY)  # behind it
    past = grant(kept, "d", 3, -20 * DAY, "银卡")
    grant(merged, "e", 2, -19 * DAY, "银卡")
    before, left = terms(), days_left()
    done = merge(kept, merged)
    by_cause = {row[0]: row for row in terms()}
    assert {row[1] for row in terms()} == {kept.pk}
    assert by_cause["a"][2:4] == (running.begins_at, running.ends_at)
    assert by_cause["b"][2:4] == (running.ends_at, running.ends_at + 26 * DAY)
    assert by_cause["c"][2:4] == (running.ends_at + 26 * DAY, running.ends_at + 36 * DAY)
    assert [row[4] for row in terms()] == [False, False, False, False, True], (
        "what is over stays where it was"
    )
    assert timedelta() <= days_left() - left < DAY
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(pk=later.pk).update(begins_at=running.ends_at - DAY)
    assert past.ends_at < morning
    bought = grant(kept, "f", 30, timedelta())
    assert bought.begins_at == running.ends_at + 36 * DAY
    services.undo_merge(merge_id=done.pk)
    assert [row for row in terms() if row[0] != "f"] == before
    bought.refresh_from_db()
    assert (bought.member_id, bought.begins_at) == (kept.pk, running.ends_at), (
        "no gap where the other's stood"
    )
    assert bought.ends_at == running.ends_at + 30 * DAY


def pair_of(brand: Account, event_account: Account) -> tuple[Member, Member]:
    return (
        services.member_for_openid(account_id=brand.pk, openid="o-b", name="林小雅"),
        services.member_for_openid(account_id=event_account.pk, openid="o-e", name="小雅"),
    )


def merge(kept: Member, merged: Member) -> MemberMerge:
    services.merge_members(kept_id=kept.pk, merged_id=merged.pk, reason="operator")
    deliver_all()
    return MemberMerge.objects.get(merged=merged, undone_at=None)


@pytest.mark.django_db
def test_orders_coupons_and_value_go_back_and_what_was_spent_is_said(
    brand: Account, event_account: Account
) -> None:
    kept, merged = pair_of(brand, event_account)
    sku = builders.sku(price_fen=9_900)
    coupon = instruments.coupon()
    for member in (kept, merged):
        shop_services.grant_coupon(coupon_id=coupon.pk, member_id=member.pk, key=f"test:{member.pk}")
    hers = builders.pay(builders.order(merged, (sku, 1)))
    issued = ledger.open_account(kind="points.issued", owner_id=0)
    ledger.transfer(
        cause="gift",
        debit=issued,
        credit=ledger.open_account(kind="points", owner_id=merged.pk),
        amount=100,
    )
    deliver_all()

    done = merge(kept, merged)
    assert Order.objects.get(pk=hers.pk).member_id == kept.pk
    assert ledger.balance_of(kind="points", owner_id=kept.pk) == 100
    since = builders.pay(builders.order(kept, (sku, 1)))
    ledger.transfer(
        cause="spent",
        debit=ledger.open_account(kind="points", owner_id=kept.pk),
        credit=ledger.open_account(kind="points.spent", owner_id=0),
        amount=30,
    )
    deliver_all()

    services.undo_merge(merge_id=done.pk)
    services.undo_merge(merge_id=done.pk)
    deliver_all()
    done.refresh_from_db()
    assert done.rest == {"points": 30}
    assert points() == {merged.pk: 70}
    assert dict(Order.objects.values_list("pk", "member")) == {hers.pk: merged.pk, since.pk: kept.pk}
    assert dict(MemberStats.objects.values_list("pk", "orders_count")) == {kept.pk: 1, merged.pk: 1}
    assert set(CouponGrant.objects.values_list("member", "ordinal")) == {(kept.pk, 1), (merged.pk, 1)}
    assert audit() == []


@pytest.mark.django_db
def test_growth_frozen_points_and_tiers_are_each_ones_own_again(
    brand: Account, event_account: Account
) -> None:
    levels = [services.LevelInput("银卡", 100), services.LevelInput("金卡", 200)]
    services.save_tiers(basis="growth", window_days=0, keep_days=30, levels=levels)
    kept, merged = pair_of(brand, event_account)
    for member, growth in ((kept, 150), (merged, 60)):
        services.earn(
            member_id=member.pk,
            cause=f"order:{member.pk}",
            source="order",
            points=growth,
            growth=growth,
            due_at=clock.now() + timedelta(days=7),
        )
    deliver_all()
    standing = MemberTier.objects.values_list("member", "tier", "protected_until")
    assert [row[:2] for row in standing] == [(kept.pk, "银卡")]
    before = list(standing)
    with clock.travel(timedelta(days=1)):
        done = merge(kept, merged)
        assert [row[:2] for row in standing.all()] == [(kept.pk, "金卡")]
        services.undo_merge(merge_id=done.pk)
        deliver_all()
    assert list(standing.all()) == before, "with the protection that it had"
    assert dict(Member.objects.values_list("pk", "tier")) == {kept.pk: "银卡", merged.pk: ""}
    for member, growth in ((kept, 150), (merged, 60)):
        found = queries.points_of(member.pk)
        assert (found.frozen, found.growth) == (growth, growth)
    assert list(TierChange.objects.order_by("pk").values_list("old", "new")) == [
        ("", "银卡"),
        ("银卡", "金卡"),
        ("金卡", "银卡"),
    ]
    assert audit() == []


@pytest.mark.django_db
def test_a_merge_stays_when_it_is_old_or_went_on_and_evidence_of_an_undone_one_only_proposes(
    brand: Account, event_account: Account, corp: Account
) -> None:
    eldest = services.member_for_contact(account_id=corp.pk, external_userid="wm-1")
    kept, merged = pair_of(brand, event_account)
    first = merge(kept, merged)
    onward = merge(eldest, kept)
    assert Member.objects.get(pk=merged.pk).merged_into_id == eldest.pk
    with pytest.raises(CannotUndo, match=f"#{eldest.pk}"):
        services.undo_merge(merge_id=first.pk)
    services.undo_merge(merge_id=onward.pk)
    assert Member.objects.get(pk=merged.pk).merged_into_id == kept.pk
    with clock.travel(timedelta(days=31)), transaction.atomic():
        with pytest.raises(CannotUndo, match="30"):
            services.undo_merge(merge_id=first.pk)
        assert services.seal_merges() == 2
        assert services.seal_merges() == 0
        assert not MergeMove.objects.exists()
        transaction.set_rollback(True)
    before = Member.objects.get(pk=kept.pk).session_version
    services.undo_merge(merge_id=first.pk)
    assert Member.objects.get(pk=kept.pk).session_version == before + 1, "logged out of the other's account"

    services.member_for_openid(account_id=brand.pk, openid="o-b", unionid="u")
    services.member_for_openid(account_id=event_account.pk, openid="o-e", unionid="u")
    assert Member.objects.living().count() == 3
    proposal = MergeProposal.objects.get(state="open")
    assert (proposal.elder_id, proposal.younger_id, proposal.kind) == (kept.pk, merged.pk, "undone")
    services.accept_proposal(proposal_id=proposal.pk)
    assert Member.objects.living().count() == 2
    assert MergeProposal.objects.get().state == "merged"


@pytest.mark.django_db
def test_weak_evidence_proposes_and_never_merges(brand: Account, event_account: Account) -> None:
    kept, other = pair_of(brand, event_account)
    services.give_phone(member_id=kept.pk, phone="13800000001", verified=True)
    services.give_phone(member_id=other.pk, phone="13800000001", verified=False)
    services.give_phone(member_id=other.pk, phone="13800000001", verified=False)
    proposal = MergeProposal.objects.get()
    assert (proposal.kind, proposal.confidence_bps, proposal.state) == ("typed_phone", 6_000, "open")
    services.members_for_import(
        source="pos",
        rows=[
            {"external_id": "7", "name": "阿芳", "phone": "13900000001"},
            {"external_id": "8", "name": "阿芳"},
            {"external_id": "9", "name": "小桃", "phone": "13900000001"},
        ],
    )
    services.members_for_import(
        source="web", rows=[{"external_id": "7", "name": "阿芳"}, {"external_id": "8", "name": "阿圆"}]
    )
    assert services.find_merge_proposals() == 1
    assert services.find_merge_proposals() == 0
    assert MergeProposal.objects.exclude(pk=proposal.pk).get().kind == "same_number"
    assert Member.objects.living().count() == 7
    assert services.dismiss_proposal(proposal_id=proposal.pk)
    assert services.find_merge_proposals() == 0, "who was dismissed is not asked about again"
    assert set(Identity.objects.filter(kind="phone").values_list("source", "confidence_bps")) == {
        ("code", 9_500),
        ("typed", 3_000),
        ("file", 3_000),
    }


@pytest.mark.django_db
def test_a_confirmed_phone_makes_one_of_two_unless_wechat_knows_two_persons(
    brand: Account, event_account: Account
) -> None:
    kept, other = pair_of(brand, event_account)
    stranger = services.member_for_openid(account_id=brand.pk, openid="o-stranger")
    services.give_phone(member_id=kept.pk, phone="13800000001", verified=True)
    with pytest.raises(PhoneBelongsToAnother):
        services.give_phone(member_id=stranger.pk, phone="13800000001", verified=True)
    services.give_phone(member_id=other.pk, phone="13800000001", verified=True)
    assert MemberMerge.objects.get().reason == "phone"
    assert set(Member.objects.living().values_list("pk", flat=True)) == {kept.pk, stranger.pk}


@pytest.mark.django_db(transaction=True)
def test_an_undo_asked_for_twice_at_once_is_one_and_a_fact_meanwhile_is_not_lost(
    brand: Account, event_account: Account
) -> None:
    kept, merged = pair_of(brand, event_account)
    done = merge(kept, merged)
    raised = race(
        lambda: services.undo_merge(merge_id=done.pk),
        lambda: services.undo_merge(merge_id=done.pk),
        lambda: services.record_activity(member_id=merged.pk, kind="visited", at=merged.created_at),
    )
    assert raised == []
    deliver_all()
    assert Member.objects.living().count() == 2
    assert Activity.objects.filter(kind="visited").count() == 1
    assert sum(MemberStats.objects.values_list("visits_count", flat=True)) == 1
    assert audit() == []


@pytest.mark.django_db(transaction=True)
def test_a_consent_withdrawn_while_she_is_merged_is_the_living_ones(
    brand: Account, event_account: Account
) -> None:
    kept, merged = pair_of(brand, event_account)
    services.give_consent(member_id=kept.pk, purpose="marketing", channel="page", text_version="1")
    is_locked = threading.Event()

    def merging() -> None:
        with transaction.atomic():
            list(Member.objects.select_for_update().order_by("pk"))
            is_locked.set()
            until_somebody_waits()
            services.merge_members(kept_id=kept.pk, merged_id=merged.pk)

    def withdrawing() -> None:
        is_locked.wait(60)
        services.withdraw_consent(member_id=merged.pk, purpose="marketing", channel="page")

    assert race(merging, withdrawing) == []
    assert set(Consent.objects.values_list("member", flat=True)) == {kept.pk}
    assert MemberStats.objects.get().marketing_consent is False
    assert audit("crm.tombstones") == []


@pytest.mark.django_db
def test_an_undo_that_is_heard_before_its_merge_leaves_everything_at_home(
    brand: Account, event_account: Account
) -> None:
    kept, merged = pair_of(brand, event_account)
    order = builders.pay(builders.order(merged, (builders.sku(), 1)))
    services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
    done = MemberMerge.objects.get()
    services.undo_merge(merge_id=done.pk)
    with connection.cursor() as cursor:  # the shop hears the undo first
        cursor.execute(
            "UPDATE core_eventdelivery SET next_attempt_at = next_attempt_at + interval '1 hour'"
            " FROM core_domainevent e WHERE e.id = event_id AND e.name = 'crm.MembersMerged'"
        )
    deliver_all()
    with clock.travel(timedelta(hours=2)):
        deliver_all()
    assert Order.objects.get(pk=order.pk).member_id == merged.pk
    assert audit() == []


@pytest.mark.django_db
def test_an_operator_sees_the_preview_merges_undoes_and_decides(
    client: Client, brand: Account, event_account: Account, tag: Callable[[str], Any]
) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    kept, merged = pair_of(brand, event_account)
    services.add_tags(member_ids=[kept.pk, merged.pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
    services.give_phone(member_id=kept.pk, phone="13800000001", verified=True)
    services.give_phone(member_id=merged.pk, phone="13800000001", verified=False)
    ledger.transfer(
        cause="gift",
        debit=ledger.open_account(kind="points.issued", owner_id=0),
        credit=ledger.open_account(kind="points", owner_id=merged.pk),
        amount=120,
    )
    proposal = MergeProposal.objects.get()
    listed = client.get(reverse("admin:crm_mergeproposal_changelist")).content.decode()
    assert "proposal=" in listed
    address = reverse("admin:crm_membermerge_preview")
    given = {"one": merged.pk, "other": kept.pk, "proposal": proposal.pk}
    shown = client.get(address, given).content.decode()
    for words in ("小雅", "两人都有 138****0001", "两人都有 玫瑰", "120"):
        assert words in shown
    assert "13800000001" not in shown
    assert client.get(address, {"one": kept.pk, "other": kept.pk}).status_code == 302
    assert client.get(address, {"one": "9" * 30, "other": "😀"}).status_code == 302
    assert client.get(address, {"one": "²", "other": "٣"}).status_code == 302
    third = services.member_for_openid(account_id=brand.pk, openid="o-third")
    assert client.post(address, {**given, "other": third.pk}).status_code == 302, (
        "another pair than the proposed"
    )
    assert MemberMerge.objects.count() == 0, "looking changes nothing"

    assert client.post(address, given).status_code == 302
    done = MemberMerge.objects.get()
    assert (done.reason, str(done.merged_by)) == ("proposal", "boss")
    page = client.get(reverse("admin:crm_membermerge_change", args=[done.pk])).content.decode()
    assert reverse("admin:crm_membermerge_undo", args=[done.pk]) in page
    client.post(reverse("admin:crm_membermerge_undo", args=[done.pk]))
    done.refresh_from_db()
    assert str(done.undone_by) == "boss"
    assert client.get(reverse("admin:crm_membermerge_changelist")).status_code == 200

    client.force_login(User.objects.create_user("guest", is_staff=True))
    for refused in (address, reverse("admin:crm_membermerge_undo", args=[done.pk])):
        assert client.post(refused, given).status_code == 403
    assert Member.objects.living().exclude(pk=third.pk).count() == 2


@pytest.mark.django_db
def test_the_account_matrix_counts_followers_and_overlaps(
    client: Client,
    brand: Account,
    event_account: Account,
    follower: Callable[..., Member],
    django_assert_max_num_queries: Any,
) -> None:
    Account.objects.filter(pk=event_account.pk).update(role=Account.EVENT)
    store, closed = (
        Account.objects.create(kind="service", key=key, name=key, role="store", is_active=key != "closed")
        for key in ("pudong", "closed")
    )
    both, _one = follower("o-1", unionid="u-1"), follower("o-2")
    for account, openid, unionid in (
        (event_account, "o-e", "u-1"),
        (store, "o-s", "u-1"),
        (closed, "o-c", "u-9"),
    ):
        services.member_for_openid(account_id=account.pk, openid=openid, unionid=unionid)
        services.note_follow(identity_id=Identity.objects.get(value=openid).pk, at=clock.now())
    assert Identity.objects.get(value="o-e").member_id == both.pk
    matrix = account_matrix()
    assert matrix.followers == {brand.pk: 2, event_account.pk: 1, store.pk: 1}
    assert matrix.both[brand.pk, event_account.pk] == matrix.both[event_account.pk, brand.pk] == 1
    assert matrix.everybody == 2, "who follows only an account that is switched off is not counted"
    assert [role for role, _name in matrix.roles] == ["official", "event", "store"]
    assert [one.pk for one in matrix.accounts] == [brand.pk, event_account.pk, store.pk]
    assert matrix.role_followers == {"official": 2, "event": 1, "store": 1}
    assert matrix.role_both["official", "store"] == matrix.role_both["store", "event"] == 1

    Account.objects.filter(pk=store.pk).update(role=Account.EVENT)
    matrix = account_matrix()
    assert matrix.role_followers == {"official": 2, "event": 1}, "two accounts of a role, one member"
    assert matrix.role_both == {("official", "event"): 1, ("event", "official"): 1}
    client.force_login(User.objects.create_superuser("boss"))
    address = reverse("admin:crm_accountmatrix_changelist")
    client.get(address)
    with django_assert_max_num_queries(4):
        page = client.get(address).content.decode()
    for words in ("50%", "活动号", "官方号", "2 个账号"):
        assert words in page


@pytest.mark.django_db
def test_an_erased_member_is_merged_with_nobody(brand: Account, event_account: Account) -> None:
    kept, merged = pair_of(brand, event_account)
    Member.objects.filter(pk=merged.pk).update(erased_at=clock.now())
    with pytest.raises(NoSuchMember):
        services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
    assert MemberMerge.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "corruption",
    [
        "UPDATE crm_membermerge SET undone_at = NULL",
        "UPDATE crm_member a SET merged_into_id = b.id FROM crm_member b WHERE b.id < a.id",
        "UPDATE crm_identity SET member_id = (SELECT max(id) FROM crm_member) WHERE value = 'o-b'",
    ],
)
def test_the_audit_finds_merges_that_are_not_what_the_log_says(
    corruption: str, brand: Account, event_account: Account
) -> None:
    kept, merged = pair_of(brand, event_account)
    done = merge(kept, merged)
    if "identity" not in corruption:
        services.undo_merge(merge_id=done.pk)
    checks = ("crm.merges", "crm.tombstones")
    assert audit(*checks) == []
    with connection.cursor() as cursor:
        cursor.execute(corruption)
    assert audit(*checks)
