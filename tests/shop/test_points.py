"""Orders earn points, frozen until their goods cannot be returned; refunds take exactly their share."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from core import clock, ledger
from core.audits import run_audit, run_check
from core.events import deliver_due
from crm import queries as crm_queries
from crm import services as crm_services
from crm import sessions
from crm.models import Earning, Member, PointsRules
from shop import services
from shop.models import Category, CategoryPoints, Order, Refund, Review
from tests.shop import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def rules() -> PointsRules:
    crm_services.prepare_timeline(since=clock.today(), until=clock.today())
    return PointsRules.objects.create(pk=1, freeze_days=15)


def phone_of(member: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, member)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def figures(member: Any) -> tuple[int, int, int]:
    found = crm_queries.points_of(member.pk)
    return found.balance, found.frozen, found.growth


def paid(buyer: Any, *lines: Any) -> Order:
    order = builders.pay(builders.order(buyer, *lines))
    deliver_due()
    return order


def give_back(order: Order, *parts: tuple[int, int]) -> None:
    for refund in services.refund_lines(order_id=order.pk, parts=list(parts), reason="不需要了", by="小运"):
        for _ in range(2):
            services.confirm_refund(
                out_refund_no=refund.out_refund_no,
                refund_id=f"5{refund.pk}",
                status="SUCCESS",
                refund_fen=refund.amount_fen,
            )


def receive(order: Order) -> None:
    services.ship_order(order_id=order.pk, carrier="SF", tracking_number=f"SF{order.pk}", by="小运")
    services.confirm_receipt(order_id=order.pk, member_id=order.member_id)
    deliver_due()


def test_an_order_earns_frozen_points_and_each_refund_takes_exactly_its_share(rules: PointsRules) -> None:
    buyer = builders.member()
    top = Category.objects.create(name="香水")
    CategoryPoints.objects.create(category=top, points_bps=20_000)
    below = Category.objects.create(name="淡香", parent=top)
    scent, dress = builders.sku(price_fen=3_333, category=below), builders.sku(price_fen=9_999)
    order = paid(buyer, (scent, 3), (dress, 2))
    services.earn_from_order(order_id=order.pk)
    assert figures(buyer) == (0, 399, 299)  # 199.98 twice and 199.98, and 299.97
    first, second = order.lines.order_by("pk")
    give_back(order, (first.pk, 2))
    assert figures(buyer) == (0, 266, 233)  # 66.66 + 199.98, of 233.31 growth
    give_back(order, (second.pk, 1))
    assert figures(buyer) == (0, 166, 133)
    give_back(order, (first.pk, 1), (second.pk, 1))
    assert figures(buyer) == (0, 0, 0)
    assert run_audit()[1] == []


def test_a_refund_that_is_booked_before_the_points_are_is_not_forgotten(rules: PointsRules) -> None:
    buyer = builders.member()
    order = builders.pay(builders.order(buyer, (builders.sku(price_fen=10_000), 2)))
    give_back(order, (order.lines.get().pk, 1))
    deliver_due()
    assert figures(buyer) == (0, 100, 100)
    assert run_audit()[1] == []


def test_points_wait_for_the_end_of_the_return_window_and_what_was_spent_is_owed(rules: PointsRules) -> None:
    buyer = builders.member()
    order = paid(buyer, (builders.sku(price_fen=10_000), 1))
    with clock.travel(timedelta(days=30)):  # still under way: it is looked at again
        assert (services.free_due_points(), figures(buyer)[:2]) == (0, (0, 100))
    receive(order)
    for days, freed in ((14, 0), (15, 1), (15, 0)):
        with clock.travel(timedelta(days=days, seconds=5)):
            assert services.free_due_points() == freed
    assert figures(buyer) == (100, 0, 100)
    crm_services.adjust_points(member_id=buyer.pk, amount=-70, reason="兑换", idempotency_key="spent")
    give_back(order, (order.lines.get().pk, 1))
    assert (figures(buyer), crm_queries.points_of(buyer.pk).owed) == ((0, 0, 0), 70)
    page = phone_of(buyer).get("/me/points/").content.decode()
    assert "欠" in page
    assert order.number in page
    assert run_audit()[1] == []


def test_points_that_an_undone_order_brings_back_pay_what_she_owes(rules: PointsRules) -> None:
    buyer, sku = builders.member(), builders.sku(price_fen=10_000, stock=9)
    order = paid(buyer, (sku, 1))
    receive(order)
    with clock.travel(timedelta(days=15, seconds=5)):
        assert services.free_due_points() == 1
    ledger.transfer(  # she uses all of them for another order
        cause="used",
        debit=ledger.open_account(kind="points", owner_id=buyer.pk),
        credit=ledger.open_account(kind="points", owner_id=ledger.HOUSE),
        amount=100,
    )
    give_back(order, (order.lines.get().pk, 1))
    other = builders.order(buyer, (sku, 1))
    ledger.reverse(transfer_cause="used", cause="used back")
    assert (figures(buyer)[0], crm_queries.points_of(buyer.pk).owed) == (100, 100)
    services.release_order(order_id=other.pk, reason="不要了", actor="member")
    deliver_due()
    assert (figures(buyer)[0], crm_queries.points_of(buyer.pk).owed) == (0, 0)


def test_growth_that_staff_lowered_is_still_taken_back_with_its_order(rules: PointsRules) -> None:
    buyer, sku = builders.member(), builders.sku(price_fen=10_000, stock=9)
    first, second = paid(buyer, (sku, 1)), paid(buyer, (sku, 2))
    crm_services.adjust_points(
        member_id=buyer.pk, kind="growth", amount=-150, reason="误发", idempotency_key="low"
    )
    assert (figures(buyer)[2], run_audit()[1]) == (150, [])
    give_back(second, (second.lines.get().pk, 1))  # 50 are left of its 200, the other 50 come from the first
    assert (figures(buyer)[2], run_audit()[1]) == (50, [])
    give_back(second, (second.lines.get().pk, 1))
    assert (figures(buyer)[2], run_audit()[1]) == (0, [])
    give_back(first, (first.lines.get().pk, 1))
    assert (figures(buyer)[2], run_audit()[1]) == (0, [])


def test_tier_birthday_and_least_amount_count(rules: PointsRules) -> None:
    PointsRules.objects.filter(pk=1).update(least_fen=5_000, birthday_bps=20_000)
    crm_services.save_tiers(
        basis="spend",
        window_days=0,
        keep_days=365,
        levels=[
            crm_services.LevelInput("银卡", 9_000, 15_000),
            crm_services.LevelInput("金卡", 90_000, 20_000),
        ],
    )
    buyer, sku = builders.member(), builders.sku(price_fen=4_999)
    paid(buyer, (sku, 1))
    assert figures(buyer) == (0, 0, 0)
    today = clock.today()
    born = date(1996, today.month, today.day)
    Member.objects.filter(pk=buyer.pk).update(birthday=born)
    paid(buyer, (builders.sku(price_fen=5_000), 1))
    buyer.refresh_from_db()
    assert (figures(buyer), buyer.tier) == ((0, 100, 50), "银卡")
    paid(buyer, (builders.sku(price_fen=10_000), 1))
    assert figures(buyer) == (0, 400, 150)  # 100, then 1.5 times for her tier and twice on her birthday
    assert run_check("shop.orders_earned_what_they_kept") == []


def test_without_rules_nothing_is_earned() -> None:
    buyer = builders.member()
    paid(buyer, (builders.sku(), 1))
    assert Earning.objects.count() == 0


def test_a_review_earns_when_it_is_shown_once(rules: PointsRules) -> None:
    buyer = builders.member()
    order = paid(buyer, (builders.sku(price_fen=100), 1))
    receive(order)
    review = services.write_review(line_id=order.lines.get().pk, member_id=buyer.pk, stars=5, text="好闻")
    for shown in (False, True, False, True):
        services.decide_review(review_id=review.pk, shown=shown, by="小运")
    assert (figures(buyer)[0], Review.objects.count()) == (20, 1)


def test_her_page_shows_the_statement_and_signs_her_in(
    rules: PointsRules, django_assert_max_num_queries: Any
) -> None:
    crm_services.save_tiers(
        basis="growth",
        window_days=0,
        keep_days=365,
        levels=[
            crm_services.LevelInput("银卡", 50, benefits="生日双倍积分"),
            crm_services.LevelInput("金卡", 500),
        ],
    )
    buyer = builders.member()
    order = paid(buyer, (builders.sku(price_fen=10_000), 1))
    phone = phone_of(buyer)
    assert "签到" in phone.get("/me/").content.decode()
    assert Client().post("/me/points/sign-in/").status_code == 302
    for _ in range(2):
        assert phone.post("/me/points/sign-in/").status_code == 302
    refused = phone.post("/me/points/profile/")
    assert refused.status_code == 400
    assert "生日" in refused.content.decode()
    with django_assert_max_num_queries(21):
        page = phone.get("/me/points/?done=signin").content.decode()
    assert all(
        word in page for word in ("银卡", "金卡", "400", order.number, "连续签到 1 天", "生日双倍积分")
    )
    assert figures(buyer) == (5, 100, 100)
    for strange in ("-1", "x", "9" * 30, "😀"):
        assert phone.get("/me/points/", {"before": strange}).status_code == 200
    assert phone.get("/me/points/?before=1", headers={"HX-Request": "true"}).content.decode().strip() == ""


def test_the_audit_finds_an_order_that_earned_too_much(rules: PointsRules) -> None:
    paid(builders.member(), (builders.sku(), 1))
    assert run_check("shop.orders_earned_what_they_kept") == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_earning SET given = given + 1")
    assert len(run_check("shop.orders_earned_what_they_kept")) == 2
    assert Refund.objects.count() == 0
