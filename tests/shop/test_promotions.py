"""Prices as the database holds them: quotes in one statement, pages, admin, rehearsals, the audit."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock, jobs
from core.audits import run_audit
from crm import sessions
from crm.models import Member
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.models import (
    Brand,
    Category,
    CostPrice,
    Coupon,
    CouponGrant,
    MemberPrice,
    Offer,
    PointsPolicy,
    Product,
    Promotion,
    PromotionExtra,
    PromotionLevel,
    Rehearsal,
    ShippingRate,
)
from shop.pricing import Choices
from shop.services import rehearsals
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db


def promotion(kind: str = "amount_off", **more: Any) -> Promotion:
    moment = clock.now()
    values: dict[str, Any] = {
        "title": "满 200 减 20", "threshold_fen": 20_000, "amount_fen": 2_000, "off_bps": 5_000, "is_active": True,
        "starts_at": moment - timedelta(days=1), "ends_at": moment + timedelta(days=1),
    }  # fmt: skip
    return Promotion.objects.create(kind=kind, **{**values, **more})


def test_a_quote_reads_everything_in_one_statement_however_large_the_cart() -> None:
    shelf = Category.objects.create(name="香水", parent=Category.objects.create(name="全部"))
    skus = [builders.sku(price_fen=9_900, category=shelf, stock=0) for _n in range(5)]
    made = promotion()
    made.categories.add(shelf.parent)
    gift = promotion("gift", title="满赠", exclusion_group="", threshold_quantity=3)
    PromotionExtra.objects.create(promotion=gift, sku=builders.sku(stock=1, price_fen=2_000))
    ShippingRate.objects.create(base_fen=1_000, free_from_fen=100_000)
    PointsPolicy.objects.create(pk=1)
    buyer = builders.member()
    services.quote(
        member_id=buyer.pk, lines=[(skus[0].pk, 1)]
    )  # reads the rules, which the process then keeps
    with CaptureQueriesContext(connection) as one:
        services.quote(member_id=buyer.pk, lines=[(skus[0].pk, 1)])
    with CaptureQueriesContext(connection) as many:
        quote = services.quote(member_id=buyer.pk, lines=[(sku.pk, 1) for sku in skus])
    assert len(one) == len(many) == 1
    assert quote.total_fen == 5 * 9_900 - 2_000 + 1_000
    assert [line.total_fen for line in quote.lines if line.kind == "gift"] == [0]


def test_the_highest_level_that_a_cart_reaches_counts_and_the_next_one_is_named() -> None:
    sku, made = builders.sku(price_fen=10_000), promotion(title="阶梯满减")
    services.quote(
        member_id=None, lines=[(sku.pk, 1)]
    )  # what this process knows is thrown away by the new rows
    for fen, off in ((80_000, 12_000), (50_000, 6_000)):
        PromotionLevel.objects.create(promotion=made, threshold_fen=fen, amount_fen=off)

    def priced(pieces: int) -> tuple[int, list[str]]:
        quote = services.quote(member_id=None, lines=[(sku.pk, pieces)])
        return quote.discount_fen, [hint.text for hint in queries.hints_of(quote)]

    assert priced(1) == (0, ["再买 ¥100 减 ¥20"])
    assert priced(4) == (2_000, ["再买 ¥100 减 ¥60"])
    assert priced(7) == (6_000, ["再买 ¥100 减 ¥120"])
    assert priced(9) == (12_000, [])
    made.levels.update(threshold_fen=0, threshold_quantity=F("threshold_fen") / 10_000)
    Promotion.objects.update(threshold_fen=0, threshold_quantity=2, kind="percent_off", off_bps=1_000)
    made.levels.update(off_bps=F("amount_fen") / 6)
    assert priced(6) == (6_000, ["再买 2 件享 8 折"])
    assert priced(8)[0] == 16_000


def test_only_running_promotions_of_these_goods_count_and_time_may_be_chosen() -> None:
    inside, outside = builders.sku(price_fen=30_000), builders.sku(price_fen=30_000)
    promotion(is_active=False)
    later = promotion(starts_at=clock.now() + timedelta(days=3), ends_at=clock.now() + timedelta(days=4))
    later.products.add(inside.product)
    lines = [(inside.pk, 1)]
    assert services.quote(member_id=None, lines=lines).discount_fen == 0
    in_time = clock.now() + timedelta(days=3, hours=1)
    assert services.quote(member_id=None, lines=lines, at=in_time).discount_fen == 2_000
    assert services.quote(member_id=None, lines=[(outside.pk, 1)], at=in_time).discount_fen == 0
    later.products.clear()
    Product.objects.filter(pk=inside.product_id).update(brand=Brand.objects.create(name="池塘"))
    later.brands.set(Brand.objects.all())
    assert services.quote(member_id=None, lines=lines, at=in_time).discount_fen == 2_000
    assert services.quote(member_id=None, lines=[(outside.pk, 1)], at=in_time).discount_fen == 0
    later.except_products.add(inside.product)
    assert services.quote(member_id=None, lines=lines, at=in_time).discount_fen == 0


def test_member_prices_follow_the_tier_and_points_the_ledger() -> None:
    sku = builders.sku(price_fen=10_000)
    MemberPrice.objects.create(sku=sku, tier="金卡", price_fen=8_000)
    assert services.quote(member_id=None, lines=[(sku.pk, 2)]).total_fen == 20_000
    assert services.quote(member_id=None, lines=[(sku.pk, 2)], tier="金卡").total_fen == 16_000
    PointsPolicy.objects.create(pk=1, least=1)
    none = services.quote(member_id=builders.member().pk, lines=[(sku.pk, 1)], choices=Choices(points=500))
    assert none.points_used == 0


def test_odd_lines_are_left_out() -> None:
    sku = builders.sku(price_fen=10_000)
    quote = services.quote(member_id=None, lines=[(sku.pk, 1), (987_654_321, 4), (sku.pk, -7), (sku.pk, 0)])
    assert [(line.sku_id, line.quantity) for line in quote.lines] == [(sku.pk, 1)]
    assert services.quote(member_id=None, lines=[]).total_fen == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_fen": 0},
        {"amount_fen": -5},
        {"threshold_fen": -1},
        {"off_bps": 10_001},
        {"kind": "percent_off", "off_bps": 0},
        {"kind": "nth_piece", "nth": 1},
        {"repeats": True, "threshold_fen": 0},
        {"cap_fen": 0},
    ],
)
def test_the_database_refuses_promotions_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        promotion(**{"kind": "amount_off", **wrong})
    assert not Promotion.objects.exists()


def rehearsed(draft: Promotion) -> Any:
    """Queued for all that was paid until now."""
    until = clock.now() + timedelta(minutes=1)
    return services.start_rehearsal(promotion_id=draft.pk, created_by_id=None, until=until)


def test_a_rehearsal_tells_what_last_months_orders_would_have_cost_and_changes_none() -> None:
    dear, cheap = builders.sku(price_fen=30_000), builders.sku(price_fen=1_500)
    CostPrice.objects.create(sku=dear, cost_fen=9_000)
    buyer = builders.member()
    paid = [builders.pay(builders.order(buyer, (sku, 1))) for sku in (dear, cheap, dear)]
    builders.order(buyer, (dear, 1))  # not paid: not looked at
    draft = promotion(is_active=False, threshold_fen=1_000)
    rehearsal = rehearsed(draft)
    assert rehearsal.job is not None
    assert jobs.run(job_id=rehearsal.job.pk)
    rehearsal.refresh_from_db()
    assert (rehearsal.orders_count, rehearsal.changed_count, rehearsal.free_count) == (3, 3, 1)
    assert (rehearsal.before_fen, rehearsal.discount_fen) == (61_500, 2_000 + 1_500 + 2_000)
    assert (rehearsal.cost_fen, rehearsal.uncosted_fen) == (18_000, 0)
    assert rehearsal.examples[0]["number"] == paid[1].number  # the free one first
    paid[0].refresh_from_db()
    assert paid[0].total_fen == 30_000


def test_a_rehearsal_leaves_special_prices_alone_and_begins_at_what_her_tier_paid() -> None:
    flash, dress = builders.sku(price_fen=30_000), builders.sku(price_fen=30_000)
    instruments.offer(flash, price_fen=9_900, per_member_limit=2)
    MemberPrice.objects.create(sku=dress, tier="金卡", price_fen=25_000)
    buyer = builders.member()
    Member.objects.filter(pk=buyer.pk).update(tier="金卡")
    order = builders.pay(builders.order(buyer, (flash, 3), (dress, 1)))
    assert order.total_fen == 2 * 9_900 + 30_000 + 25_000
    builders.pay(builders.order(builders.member(), (flash, 1)))
    MemberPrice.objects.all().delete()
    rehearsal = rehearsed(promotion("percent_off", is_active=False, threshold_fen=1, off_bps=1_000))
    jobs.run(job_id=rehearsal.job.pk)
    rehearsal.refresh_from_db()
    assert (rehearsal.orders_count, rehearsal.changed_count) == (2, 1)
    assert (rehearsal.before_fen, rehearsal.discount_fen) == (order.total_fen, 5_500)


def test_a_rehearsal_counts_the_coupon_and_the_points_that_were_used() -> None:
    """¥20 by coupon and ¥5 by points were off already: what the promotion leaves of ¥30 is free, and costs ¥5."""
    PointsPolicy.objects.create(pk=1, fen_per_100=30, cap_bps=10_000, least=1)
    buyer, sku = builders.member(), builders.sku(price_fen=3_000)
    free = instruments.coupon(threshold_fen=0)
    services.grant_coupon(coupon_id=free.pk, member_id=buyer.pk, key="test:rehearsed")
    instruments.give_points(buyer, 1_667)
    order = builders.pay(
        services.place_order(
            member_id=buyer.pk,
            lines=[(sku.pk, 1)],
            address=builders.ADDRESS,
            idempotency_key="rehearsed",
            choices=Choices(points=10**12),
        )
    )
    assert order.total_fen == 500
    rehearsal = rehearsed(promotion(is_active=False, threshold_fen=1_000, amount_fen=2_000))
    jobs.run(job_id=rehearsal.job.pk)
    rehearsal.refresh_from_db()
    assert (rehearsal.before_fen, rehearsal.after_fen, rehearsal.free_count) == (500, 0, 1)


def test_a_rehearsal_goes_on_where_its_worker_died(monkeypatch: pytest.MonkeyPatch) -> None:
    sku = builders.sku(price_fen=30_000)
    for _n in range(3):
        builders.pay(builders.order(builders.member(), (sku, 1)))
    draft = promotion(is_active=False)
    rehearsal = rehearsed(draft)
    assert rehearsal.job is not None
    monkeypatch.setattr(rehearsals, "BATCH", 1)
    replay, seen = rehearsals._replay, []

    def dying(*given: Any) -> Any:
        seen.append(given)
        if len(seen) == 2:
            raise RuntimeError("the worker dies")
        return replay(*given)

    monkeypatch.setattr(rehearsals, "_replay", dying)
    jobs.run(job_id=rehearsal.job.pk)
    jobs.retry(job_id=rehearsal.job.pk)
    jobs.run(job_id=rehearsal.job.pk)
    rehearsal.refresh_from_db()
    assert (rehearsal.orders_count, rehearsal.changed_count) == (3, 3)
    assert rehearsal.discount_fen == 6_000


def test_badges_of_a_product_name_what_runs_for_it() -> None:
    shelf = Category.objects.create(name="香水")
    sku = builders.sku(category=shelf)
    promotion(title="全场")
    promotion(title="本类", priority=5).categories.add(shelf)
    promotion(title="别的").products.add(builders.sku().product)
    promotion(title="草稿", is_active=False)
    assert [one.title for one in queries.promotion_badges(sku.product_id)] == ["本类", "全场"]


def test_an_order_is_what_the_quote_said_with_promotion_coupon_offer_and_gift_written_to_the_fen() -> None:
    """Through `place_order`: what pricing decided stands in the order's lines and discounts, and is taken once."""
    moment = clock.now()
    flash = builders.sku(price_fen=9_900)
    usual, gift = builders.sku(price_fen=15_333), builders.sku(price_fen=3_000)
    promotion(repeats=True, exclusion_group="")
    giving = promotion("gift", title="满赠", exclusion_group="")
    PromotionExtra.objects.create(promotion=giving, sku=gift)
    offer = Offer.objects.create(
        sku=flash, name="秒杀", price_fen=5_000, quota=3, starts_at=moment, ends_at=moment + timedelta(1),
        created_at=moment,
    )  # fmt: skip
    coupon = Coupon.objects.create(
        code="C1",
        name="满 100 减 15",
        amount_fen=1_500,
        threshold_fen=10_000,
        valid_days=3,
        granted_count=1,
        created_at=moment,
    )
    buyer = builders.member()
    grant = CouponGrant.objects.create(
        coupon=coupon, member=buyer, key="test", valid_from=moment - timedelta(1), expires_at=moment + timedelta(1),
        granted_at=moment,
    )  # fmt: skip
    lines = [(flash.pk, 1), (usual.pk, 3)]
    said = services.quote(member_id=buyer.pk, lines=lines)
    assert said.coupon_ids == (grant.pk,)
    assert said.offer_takes == ((offer.pk, flash.pk, 1),)
    assert said.total_fen == 5_000 + 3 * 15_333 - 2 * 2_000 - 1_500
    placed = builders.order(buyer, (flash, 1), (usual, 3))
    assert placed.total_fen == said.total_fen
    assert sum(placed.lines.values_list("total_fen", flat=True)) == said.total_fen
    assert placed.lines.get(kind="gift").total_fen == 0
    grant.refresh_from_db()
    offer.refresh_from_db()
    assert (grant.order_id, offer.taken) == (placed.pk, 1)
    assert services.quote(member_id=buyer.pk, lines=lines).offer_takes == ()  # one for each member
    assert [finding for finding in run_audit()[1] if finding.check.startswith("shop.")] == []


# --- The shopper's pages ---------------------------------------------------------------------------------------------
@pytest.fixture
def shopper() -> Any:
    prepare_months_ahead(1)
    return builders.member(name="林小满")


@pytest.fixture
def phone(shopper: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def test_cart_and_checkout_say_what_was_taken_off_and_what_is_missing_for_more(
    phone: Client, shopper: Any
) -> None:
    sku = builders.sku(price_fen=18_800)
    promotion()
    ShippingRate.objects.create(base_fen=1_000, free_from_fen=30_000)
    services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk, quantity=1)
    below = text_of(phone.get("/cart/"))
    assert "再买 ¥12 减 ¥20" in below
    assert "再买 ¥112 包邮" in below
    services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk, quantity=1)
    above = text_of(phone.get("/cart/"))
    assert "满 200 减 20" in above
    assert "¥ 356" in above
    checkout = text_of(phone.get("/checkout/?from=cart"))
    assert "− ¥ 20" in checkout
    assert "共优惠 ¥20" in checkout
    product = phone.get(f"/p/{sku.product_id}/").content.decode()
    assert "满 ¥300 包邮" in product
    assert 'data-test="promotions"' in product
    ShippingRate.objects.all().delete()
    assert "全场包邮" in phone.get(f"/p/{sku.product_id}/").content.decode()


def test_gifts_and_the_fee_stand_in_the_checkout(phone: Client) -> None:
    sku = builders.sku(price_fen=30_000)
    gift = promotion("gift", title="满赠香膏")
    PromotionExtra.objects.create(promotion=gift, sku=builders.sku(product_name="栀子香膏", name=""))
    ShippingRate.objects.create(base_fen=1_000)
    page = text_of(phone.get(f"/checkout/?line={sku.pk}:1"))
    assert "栀子香膏" in page
    assert "¥ 310" in page


# --- The operator's pages --------------------------------------------------------------------------------------------
@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    return client


def test_promotions_are_made_in_a_form_that_says_what_is_wrong(operator: Client) -> None:
    address = reverse("admin:shop_promotion_add")
    given = {
        "title": "八五折", "kind": "percent_off", "is_active": "on", "off_bps": "8.5", "threshold_fen": "99",
        "starts_at_0": "2026-11-01", "starts_at_1": "00:00", "ends_at_0": "2099-11-12", "ends_at_1": "00:00",
        "amount_fen": "", "threshold_quantity": "0", "nth": "2", "max_times": "0", "exclusion_group": "A",
        "priority": "0", "extras-TOTAL_FORMS": "0", "extras-INITIAL_FORMS": "0",
        "levels-TOTAL_FORMS": "1", "levels-INITIAL_FORMS": "0", "levels-0-threshold_fen": "199",
        "levels-0-threshold_quantity": "0", "levels-0-off_bps": "7",
    }  # fmt: skip
    for wrong, words in (
        ({"off_bps": "85"}, "请填写折扣"),
        ({"kind": "amount_off"}, "请填写金额"),
        ({"ends_at_0": "2026-10-01"}, "结束时间须晚于开始时间"),
        ({"threshold_fen": "-3"}, "不能为负"),
        ({"levels-0-threshold_fen": "99"}, "每一档"),
        ({"levels-0-off_bps": "9"}, "每一档"),
        ({"repeats": "on"}, "不能再循环"),
        ({"kind": "gift", "levels-TOTAL_FORMS": "0"}, "请添加"),
    ):
        refused = operator.post(address, given | wrong)
        assert refused.status_code == 200
        assert words in refused.content.decode()
    assert not Promotion.objects.exists()
    assert operator.post(address, given).status_code == 302
    made = Promotion.objects.get()
    assert (made.off_bps, made.threshold_fen) == (1_500, 9_900)
    listed = text_of(operator.get(reverse("admin:shop_promotion_changelist")))
    assert "满 ¥99 · 8.5 折 · 满 ¥199 · 7 折" in listed
    assert "进行中" in listed
    assert operator.get(reverse("admin:shop_promotion_change", args=[made.pk])).status_code == 200


def test_lists_cost_few_queries_however_long(operator: Client) -> None:
    sku = builders.sku()
    for number in range(5):
        promotion(title=f"活动 {number}")
        MemberPrice.objects.create(sku=sku, tier=f"等级 {number}", price_fen=100)
        ShippingRate.objects.create(province=f"省 {number}", base_fen=100)
    rehearsed(Promotion.objects.all()[0])
    CostPrice.objects.create(sku=sku, cost_fen=1)
    PointsPolicy.objects.create(pk=1)
    for name in ("promotion", "memberprice", "costprice", "shippingrate", "pointspolicy", "rehearsal"):
        address = reverse(f"admin:shop_{name}_changelist")
        operator.get(address)
        with CaptureQueriesContext(connection) as counted:
            assert operator.get(address).status_code == 200
        assert len(counted) <= 12


def test_any_cart_is_priced_with_every_steps_reasons_and_bad_input_is_named(operator: Client) -> None:
    sku = builders.sku(price_fen=18_800, product_name="白茶与雪")
    made = promotion()
    address = reverse("admin:shop_promotion_cart")
    priced = text_of(operator.get(address, {"lines": f"{sku.code} × 2", "region": "新疆"}))
    assert "满 200 减 20" in priced
    assert "¥356.00" in priced
    later = text_of(operator.get(address, {"lines": sku.code, "at": "2099-01-01T00:00", "draft": made.pk}))
    assert "再买 ¥12 减 ¥20" in later  # the draft is tried at any time
    for wrong, words in (
        ({"lines": "NO-SUCH"}, "没有此 SKU"),
        ({"lines": "💥" * 50 + " a b"}, "无法识别这一行"),
        ({"lines": f"{sku.code} × 0"}, "无法识别这一行"),
        ({"lines": sku.code, "member": "987654321"}, "没有此编号的会员"),
    ):
        assert words in text_of(operator.get(address, wrong))
    operator.logout()
    assert operator.get(address).status_code == 302


def test_a_rehearsal_is_started_and_read_in_the_admin(operator: Client) -> None:
    order = builders.pay(builders.order(builders.member(), (builders.sku(price_fen=1_500), 1)))
    draft = promotion(is_active=False, threshold_fen=0)
    begun = operator.get(reverse("admin:shop_promotion_rehearse", args=[draft.pk]))
    assert begun.status_code == 302
    rehearsal = Rehearsal.objects.get()
    assert rehearsal.job_id is not None
    jobs.run(job_id=rehearsal.job_id)
    page = text_of(operator.get(begun.headers["Location"]))
    assert order.number in page
    assert "变为免单 1" in page
