"""Coupons in the hand, at the checkout, in the admin: what a shopper and an operator see and may do."""

from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from core import clock, jobs
from core.audits import run_audit
from core.models import Job
from crm import sessions
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.errors import CouponRefused, NoSuchCoupon, PointsRefused
from shop.models import (
    Category,
    Coupon,
    CouponGrant,
    EffectReversal,
    Order,
    OrderDiscount,
    OrderLine,
    Product,
)
from shop.pricing.types import Choices, Discount, QuotedLine
from shop.rules import split_line
from tests.shop import booking_builders as make
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db


@pytest.fixture
def shopper() -> Any:
    prepare_months_ahead(1)
    return builders.member(name="林小满")


@pytest.fixture
def visitor(shopper: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def grant(member: Any, **values: Any) -> CouponGrant:
    coupon = instruments.coupon(**values)
    return services.grant_coupon(
        coupon_id=coupon.pk, member_id=member.pk, key=f"test:{coupon.pk}:{member.pk}"
    )


def test_a_coupon_is_claimed_once_by_its_link_and_shown_among_mine(visitor: Client, shopper: Any) -> None:
    made = instruments.coupon(name="新人礼券", quota=3)
    page = visitor.get(f"/coupons/{made.code}/")
    key = page.content.decode().split('name="key" value="')[1].split('"')[0]
    assert "立即领取" in page.content.decode()
    for _turn in range(2):  # a double click
        assert visitor.post(f"/coupons/{made.code}/", {"key": key}).status_code == 302
    refused = visitor.post(f"/coupons/{made.code}/", {"key": key[::-1]})
    assert (refused.status_code, CouponGrant.objects.count()) == (409, 1)
    assert "每人限领 1 张" in refused.content.decode()
    assert "新人礼券" in visitor.get("/coupons/").content.decode()
    assert "1 张可用" in visitor.get("/me/").content.decode()
    assert "暂无" not in visitor.get("/coupons/").content.decode()
    inside, _outside = builders.sku(product_name="白茶香水"), builders.sku(product_name="栀子香膏")
    shelf = Category.objects.create(name="香水", parent=Category.objects.create(name="香氛"))
    Product.objects.filter(pk=inside.product_id).update(category=shelf)
    services.refresh_products(product_ids=[inside.product_id])
    for scope, ids in (("categories", [shelf.parent_id]), ("products", [inside.product_id])):
        Coupon.objects.update(scope=scope, scope_ids=ids)
        usable = visitor.get(f"/coupons/{made.code}/goods/").content.decode()
        assert ("白茶香水" in usable, "栀子香膏" in usable) == (True, False)
    assert f"/coupons/{made.code}/goods/" in visitor.get("/coupons/").content.decode()
    for tab in ("used", "expired", "nonsense"):
        assert visitor.get(f"/coupons/?tab={tab}").status_code == 200


@pytest.mark.parametrize("code", ["nothing-there", "not-by-link"])
def test_what_is_not_given_by_link_is_not_there(visitor: Client, code: str) -> None:
    instruments.coupon(code="not-by-link", is_claimable=False)
    assert visitor.get(f"/coupons/{code}/").status_code == 404
    assert visitor.get(f"/coupons/{code}/goods/").status_code == 404
    assert visitor.post(f"/coupons/{code}/", {"key": "k" * 20}).status_code == 404
    assert CouponGrant.objects.count() == 0


def test_what_is_over_or_gone_is_refused_and_nothing_is_written(shopper: Any) -> None:
    moment = clock.now()
    over = instruments.coupon(valid_days=None, valid_until=moment - timedelta(minutes=1))
    gone = instruments.coupon(quota=0)
    stopped = instruments.coupon(is_active=False)
    for refused in (over, gone, stopped):
        with pytest.raises(CouponRefused):
            services.claim_coupon(code=refused.code, member_id=shopper.pk, token="once")
        refused.refresh_from_db()
        assert refused.granted_count == 0
    with pytest.raises(NoSuchCoupon):
        services.claim_coupon(code="🎁" * 20, member_id=shopper.pk, token="x" * 10_000)
    assert CouponGrant.objects.count() == 0
    page = make.phone(shopper).get(f"/coupons/{gone.code}/").content.decode()
    assert 'data-test="coupon-goods"' not in page


def test_validity_is_a_window_or_days_after_receipt_whichever_ends_first(shopper: Any) -> None:
    ten_days = grant(shopper)
    assert ten_days.expires_at - ten_days.granted_at == timedelta(days=10)
    until = clock.now() + timedelta(days=3)
    assert grant(shopper, valid_until=until).expires_at == until
    later = grant(shopper, valid_from=until, valid_days=5)
    assert (later.valid_from, later.expires_at) == (until, until + timedelta(days=5))
    with clock.travel(timedelta(days=11)):
        assert services.expire_coupons() == 3
        assert services.expire_coupons() == 0
        assert {one.state for one in queries.coupons_of(shopper.pk, "expired")} == {"expired"}


def test_an_order_uses_a_coupon_and_points_and_gives_them_back(
    monkeypatch: pytest.MonkeyPatch, shopper: Any
) -> None:
    dress, held = builders.sku(price_fen=9_900), grant(shopper)
    instruments.give_points(shopper, 600)
    instruments.quote_with(monkeypatch, coupons=(held.pk,), points=600)
    order = builders.order(shopper, (dress, 2))
    held.refresh_from_db()
    assert (order.total_fen, order.points_used, held.order_id) == (18_200, 600, order.pk)
    steps = (
        OrderDiscount.objects.filter(order=order).order_by("pk").values_list("step", "source", "amount_fen")
    )
    assert list(steps) == [("coupon", f"coupon:{held.pk}", 1_000), ("points", "points", 600)]
    assert OrderLine.objects.get(order=order).discount_fen == 1_600
    assert instruments.points_of(shopper) == (600, 600)
    assert run_audit()[1] == []
    builders.release(order)
    held.refresh_from_db()
    assert (held.state, held.order_id, instruments.points_of(shopper)) == ("held", None, (600, 0))
    assert run_audit()[1] == []


def test_parts_of_a_paid_order_give_back_their_share_and_all_parts_everything(
    monkeypatch: pytest.MonkeyPatch, shopper: Any
) -> None:
    dress, held = builders.sku(price_fen=9_900), grant(shopper)
    flash = instruments.offer(dress, price_fen=5_000, per_member_limit=3)
    instruments.give_points(shopper, 1_000)
    instruments.quote_with(monkeypatch, coupons=(held.pk,), offers=(flash,), points=1_000)
    order = builders.pay(builders.order(shopper, (dress, 3)))
    assert instruments.points_of(shopper) == (0, 0)
    line = OrderLine.objects.get(order=order)
    for _turn in range(2):
        assert services.reverse_effects(order, [(line, 1)], cause="aftersale:1") == 333
        services.return_points(order, cause="aftersale:1")
    flash.refresh_from_db()
    held.refresh_from_db()
    assert (flash.taken, held.state, instruments.points_of(shopper)[0]) == (2, "used", 333)
    assert services.reverse_effects(order, [(line, 2)], cause="aftersale:2") == 667
    services.return_points(order, cause="aftersale:2")
    flash.refresh_from_db()
    held.refresh_from_db()
    assert (flash.taken, held.state, instruments.points_of(shopper)[0]) == (0, "held", 1_000)
    assert EffectReversal.objects.count() == 2


def test_a_coupon_that_was_chosen_is_used_or_nothing_is_ordered(shopper: Any) -> None:
    dress, theirs = builders.sku(), grant(builders.member())
    wanted: dict[str, Any] = {
        "member_id": shopper.pk,
        "lines": [(dress.pk, 1)],
        "address": builders.ADDRESS,
        "idempotency_key": "some-good-key",
    }
    with pytest.raises(CouponRefused):
        services.place_order(**wanted, choices=Choices(coupon_ids=(theirs.pk,)))
    with pytest.raises(PointsRefused):
        services.place_order(**wanted, choices=Choices(points=-5))
    assert (Order.objects.count(), builders.stock_of(dress)) == (0, (10, 0))


def test_a_line_served_by_two_stores_keeps_its_discounts_to_the_fen() -> None:
    cuts = (Discount("coupon", "coupon:1", "", 101), Discount("points", "points", "", 98))
    parts = split_line(QuotedLine(1, 100, 3, discounts=cuts), [2, 1])
    assert [part.quantity for part in parts] == [2, 1]
    assert sum(part.discount_fen for part in parts) == 199
    assert all(part.total_fen >= 0 for part in parts)
    whole = QuotedLine(
        1, 100, 3, discounts=(Discount("promotion", "p", "", 299), Discount("points", "p", "", 1))
    )
    assert [part.total_fen for part in split_line(whole, [1, 1, 1])] == [0, 0, 0]


def test_a_segment_gets_a_coupon_in_batches_and_nobody_two(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr("shop.services.coupons_in_batches.BATCH", 2)
    members, made = [builders.member() for _ in range(5)], instruments.coupon(quota=4)
    grant_first = services.grant_coupon(coupon_id=made.pk, member_id=members[0].pk, key="test:before")
    queued = services.start_granting(
        coupon_id=made.pk, key="give:1", member_ids=[*(one.pk for one in members), 10**9]
    )
    jobs.run(job_id=queued.pk)
    queued.refresh_from_db()
    made.refresh_from_db()
    assert (queued.status, queued.result) == (Job.DONE, {"members": 6, "given": 3})
    assert (made.granted_count, CouponGrant.objects.count(), grant_first.ordinal) == (4, 4, 1)
    assert services.grant_coupons(coupon_id=made.pk, member_ids=[members[1].pk], key="give:1") == 0


def test_the_operator_makes_gives_and_takes_back(admin_client: Client, shopper: Any) -> None:
    dress = builders.sku()
    fields = {
        "name": "满 100 打 8.5 折", "code": "spring-85", "kind": "percentage", "rate_bps": "8.5", "cap_fen": "30",
        "threshold_fen": "100", "scope": "products", "scope_text": f"{dress.product_id}\n", "valid_days": "7",
        "per_member_limit": "1", "quota": "10", "is_active": "on", "is_claimable": "on",
    }  # fmt: skip
    bad = admin_client.post("/admin/shop/coupon/add/", {**fields, "rate_bps": "12", "scope_text": "没有这个"})
    assert "无法识别" in bad.content.decode()
    assert admin_client.post("/admin/shop/coupon/add/", fields).status_code == 302
    made = queries.claim_page("spring-85", shopper.pk)
    assert (made.worth, made.condition) == ("8.5 折", "满 100 元可用，最多减 30 元")
    held = services.claim_coupon(code="spring-85", member_id=shopper.pk, token="t")
    assert held.coupon.scope_ids == [dress.product_id]
    change = f"/admin/shop/coupon/{held.coupon_id}/change/"
    assert admin_client.post(change, {**fields, "quota": "5"}).status_code == 302
    held.coupon.refresh_from_db()
    assert (held.coupon.quota, held.coupon.granted_count) == (5, 1)
    listed = admin_client.get("/admin/shop/coupon/").content.decode()
    assert "1 / 5" in listed
    assert "8.5 折" in listed
    answer = {"_form_submitted": "on", "members": str(shopper.pk), "token": "a" * 32, "segment": ""}
    for _turn in range(2):  # a double click queues twice and gives once
        admin_client.post(reverse("admin:shop_coupon_give", args=[held.coupon_id]), answer)
    assert {job.params["key"] for job in Job.objects.filter(kind="grant_coupons")} == {
        f"give:{held.coupon_id}:{'a' * 32}"
    }
    revoke: dict[str, Any] = {"action": "revoke", "_selected_action": [held.pk]}
    asked = admin_client.post("/admin/shop/coupongrant/", revoke).content.decode()
    held.refresh_from_db()
    assert ("已选择 1 条记录" in asked, held.state) == (True, "held")  # it asks first
    admin_client.post("/admin/shop/coupongrant/", {**revoke, "confirmed": "1"})
    held.refresh_from_db()
    assert held.state == "revoked"
    over = make.phone(shopper).get("/coupons/?tab=expired").content.decode()
    assert "已被商家收回" in over
    for page in (change, "/admin/shop/coupongrant/", f"/admin/shop/coupongrant/{held.pk}/change/"):
        assert admin_client.get(page).status_code == 200
