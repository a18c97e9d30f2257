"""A membership is bought on the phone, lifts the tier while it lasts, and ends on its day."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_audit, run_check
from core.events import deliver_due
from crm import queries as crm_queries
from crm import services as crm_services
from crm.models import Member, Membership, MembershipPlan, MemberTier, TierChange
from crm.services import LevelInput
from shop import services
from shop.errors import NoSuchOffer, NothingToRefund, WrongState
from shop.models import DirectPayment, DirectRefund, MembershipSale
from shop.services.memberships import arrange_membership
from tests.shop import builders
from tests.shop.bank import Bank
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once
from tests.shop.test_recharge import answered, bank, payer, told

pytestmark = pytest.mark.django_db
__all__ = ["bank"]


@pytest.fixture
def gold(bank: Bank) -> MembershipPlan:
    levels = [LevelInput("银卡", 100), LevelInput("金卡", 1_000, 15_000, "生日礼"), LevelInput("黑金", 9_000)]
    crm_services.save_tiers(basis="growth", window_days=365, keep_days=30, levels=levels)
    return MembershipPlan.objects.create(name="金卡月卡", tier="金卡", price_fen=3_000, days=30)


def bought(buyer: Any, plan: MembershipPlan) -> MembershipSale:
    made = arrange_membership(plan_id=plan.pk, member_id=buyer.pk, payer=payer())
    told(made.payment)
    return made


def grow(buyer: Any, growth: int) -> None:
    crm_services.earn(member_id=buyer.pk, cause=f"g:{buyer.pk}:{growth}", source="adjust", growth=growth)
    deliver_due()


def tier_of(buyer: Any) -> str:
    return Member.objects.values_list("tier", flat=True).get(pk=buyer.pk)


def test_it_lifts_her_while_it_lasts_and_ends_with_its_last_day(gold: MembershipPlan) -> None:
    buyer = builders.member()
    grow(buyer, 150)
    sale = bought(buyer, gold)
    told(sale.payment)
    assert (tier_of(buyer), Membership.objects.count()) == ("金卡", 1)
    assert crm_queries.earner(buyer.pk, clock.now()).tier_bps == 15_000
    end = Membership.objects.get().ends_at
    assert end == clock.day_start(clock.today() + timedelta(days=31))
    bought(buyer, gold)
    later = Membership.objects.order_by("pk").last()
    assert (later.begins_at, later.ends_at - end) == (end, timedelta(days=30))  # type: ignore[union-attr]
    with clock.travel(end):  # the second term goes on; what she earned is still hers below
        assert (crm_services.review_due_tiers(), tier_of(buyer)) == (0, "金卡")
        assert MemberTier.objects.get().paid_until == end + timedelta(days=30)
    with clock.travel(end + timedelta(days=30) - timedelta(microseconds=1)):
        crm_services.review_due_tiers()
        assert tier_of(buyer) == "金卡"
    with clock.travel(end + timedelta(days=30)):
        crm_services.review_due_tiers()
        assert (tier_of(buyer), MemberTier.objects.get().tier) == ("银卡", "银卡")
    assert list(TierChange.objects.order_by("pk").values_list("old", "new", "reason")) == [
        ("", "银卡", "up"),
        ("银卡", "金卡", "paid"),
        ("金卡", "银卡", "ended"),
    ]
    assert run_audit()[1] == []


def test_without_growth_she_has_nothing_afterwards_and_with_more_she_keeps_more(gold: MembershipPlan) -> None:
    poor, rich, staff = builders.member(), builders.member("小满"), builders.member("小荷")
    for one in (poor, rich):
        bought(one, gold)
    grow(rich, 9_500)
    assert (tier_of(poor), tier_of(rich)) == ("金卡", "黑金")
    Member.objects.filter(pk=staff.pk).update(tier="员工")
    with pytest.raises(WrongState):
        services.start_membership(plan_id=gold.pk, member_id=staff.pk)
    with clock.travel(clock.day_start(clock.today() + timedelta(days=31))):
        crm_services.review_due_tiers()
        assert (tier_of(poor), tier_of(rich), MemberTier.objects.filter(member=poor).count()) == (
            "",
            "黑金",
            0,
        )
        assert crm_services.review_due_tiers() == 0
    assert run_audit()[1] == []


def test_the_days_that_are_left_go_back(gold: MembershipPlan) -> None:
    buyer = builders.member()
    sale = bought(buyer, gold)
    with clock.travel(timedelta(days=10)):
        refund = services.refund_membership(payment_id=sale.pk, reason="不用了", by="小运")
        assert services.refund_membership(payment_id=sale.pk, reason="不用了") == refund
        assert (refund.amount_fen, tier_of(buyer)) == (2_000, "")
        answered(refund, "CLOSED")
        assert (tier_of(buyer), run_audit()[1]) == ("金卡", [])
        refund = services.refund_membership(payment_id=sale.pk, reason="不用了")
        answered(refund, "SUCCESS")
        assert (tier_of(buyer), run_audit()[1]) == ("", [])
    over = bought(buyer, gold)
    with clock.travel(timedelta(days=40)), pytest.raises(NothingToRefund):
        services.refund_membership(payment_id=over.pk, reason="晚了")
    for corruption in (
        "UPDATE shop_membershipsale SET tier = tier || 'x'",
        "UPDATE crm_membership SET cause = cause || 'x'",
    ):
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute(corruption)
            assert run_check("shop.memberships_are_granted") != []
            transaction.set_rollback(True)


def terms(buyer: Any) -> list[tuple[int, int]]:
    """(first day, day after the last) of what counts, from today."""
    rows = Membership.objects.filter(member=buyer, ended_at=None).order_by("begins_at")
    days = [(clock.local(one.begins_at).date(), clock.local(one.ends_at).date()) for one in rows]
    return [((begins - clock.today()).days, (ends - clock.today()).days) for begins, ends in days]


def test_a_later_term_closes_the_gap_of_one_that_is_given_back(gold: MembershipPlan) -> None:
    buyer = builders.member()
    first, _second, _third = (bought(buyer, gold) for _number in range(3))
    assert terms(buyer) == [(0, 31), (31, 61), (61, 91)]
    refund = services.refund_membership(payment_id=first.pk, reason="不用了")
    assert (refund.amount_fen, terms(buyer), tier_of(buyer)) == (3_000, [(0, 31), (31, 61)], "金卡")
    for _ in range(2):
        answered(refund, "CLOSED")  # the money did not go: her days follow what has taken their place
    assert (terms(buyer), run_audit()[1]) == ([(0, 31), (31, 61), (61, 91)], [])


@pytest.mark.django_db(transaction=True)
def test_two_terms_that_are_paid_at_once_follow_each_other(gold: MembershipPlan) -> None:
    buyer = builders.member()
    grow(buyer, 9_500)  # her tier does not change with them
    year = MembershipPlan.objects.create(name="金卡季卡", tier="金卡", price_fen=8_000, days=90)
    sales = [arrange_membership(plan_id=one.pk, member_id=buyer.pk, payer=payer()) for one in (gold, year)]
    answers = at_once(*[lambda one=one: told(one.payment) for one in sales])
    assert [type(answer) for answer in answers] == [DirectPayment] * 2
    (_now, between), (then, end) = terms(buyer)
    assert (between, end) == (then, 121)


@pytest.mark.django_db(transaction=True)
def test_hands_at_once_grant_one_term(gold: MembershipPlan) -> None:
    buyer = builders.member()
    sales = at_once(*[lambda: arrange_membership(plan_id=gold.pk, member_id=buyer.pk, payer=payer())] * 3)
    assert {sale.pk for sale in sales} == {MembershipSale.objects.get().pk}
    at_once(*[lambda: told(MembershipSale.objects.get().payment)] * 3)
    at_once(*[lambda: services.refund_membership(payment_id=sales[0].pk, reason="不用了")] * 2)
    assert (Membership.objects.count(), DirectRefund.objects.count(), tier_of(buyer)) == (1, 1, "")
    assert run_audit()[1] == []


def test_she_buys_on_her_phone(gold: MembershipPlan, bank: Bank) -> None:
    buyer = builders.member()
    phone = phone_of(buyer)
    here = "/me/membership/"
    page = phone.get(here).content.decode()
    assert ("金卡月卡" in page, "生日礼" in page, 'data-test="membership-pay"' in page) == (True, True, True)
    assert here in phone.get("/me/points/").content.decode()
    for wrong in ("", "-1", "😀", "9" * 30, "x" * 10_000):
        answer = phone.post(here, {"plan": wrong}, headers={"Accept": "application/json"})
        assert (answer.status_code, DirectPayment.objects.count()) == (404, 0)
    started = phone.post(here, {"plan": gold.pk}, headers={"Accept": "application/json"}).json()
    bank.pay(started["parameters"]["package"])
    assert phone.get(f"{here}state/?look=1").json()["paid"] is True
    assert 'data-test="membership"' in phone.get(f"{here}?done=1").content.decode()
    assert 'data-test="paid-membership"' in phone.get("/me/points/").content.decode()
    MembershipPlan.objects.update(is_active=False)
    with pytest.raises(NoSuchOffer):
        services.start_membership(plan_id=gold.pk, member_id=buyer.pk)


def test_operators_sell_plans_and_give_back_by_permission(gold: MembershipPlan, client: Client) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    add = reverse("admin:crm_membershipplan_add")
    assert client.get(add).status_code == 403
    words = ["view_membershipplan", "add_membershipplan", "view_membership", "view_membershipsale"]
    staff.user_permissions.add(*Permission.objects.filter(codename__in=words))
    form = {
        "name": "年卡",
        "tier": "金卡",
        "price_yuan": "199",
        "days": "365",
        "position": "0",
        "is_active": "on",
    }
    for wrong in ({"price_yuan": "-1"}, {"tier": "员工"}, {"days": "0"}):
        assert client.post(add, {**form, **wrong}).status_code == 200
    assert client.post(add, form).status_code == 302
    assert MembershipPlan.objects.get(name="年卡").price_fen == 19_900
    sale = bought(builders.member(), gold)
    for page in ("crm_membershipplan", "crm_membership", "shop_membershipsale"):
        assert "金卡" in client.get(reverse(f"admin:{page}_changelist")).content.decode()
    back = reverse("admin:shop_membershipsale_give_back", args=[sale.pk])
    client.post(back, {"_form_submitted": "on", "reason": "不用了"})
    assert DirectRefund.objects.count() == 0
    staff.user_permissions.add(Permission.objects.get(codename="add_directrefund"))
    client.post(back, {"_form_submitted": "on", "reason": "不用了"})
    assert DirectRefund.objects.get().actor == "staff"
