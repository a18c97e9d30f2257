"""From the coupon in the hand to the order: what the checkout offers, and what the database keeps."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpResponse
from django.test import Client

from core import clock, events
from core.audits import run_audit
from crm import sessions
from crm.services import prepare_months_ahead
from crm.services.arrivals import follow
from shop import services
from shop.errors import PriceChanged
from shop.models import CouponGrant, Offer, OfferTally, OfferWaiting, Order, OrderDiscount, Product
from shop.pricing.types import Choices
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db


@pytest.fixture
def shopper() -> Any:
    prepare_months_ahead(1)
    member = builders.member(name="林小满", openid="o-test")
    services.save_address(member_id=member.pk, address=builders.ADDRESS, is_default=True)
    apps.get_model("shop", "PointsPolicy").objects.update_or_create(
        pk=1, defaults={"fen_per_100": 100, "cap_bps": 5_000, "least": 1, "is_active": True}
    )
    return member


@pytest.fixture
def visitor(shopper: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def form_of(html: str) -> dict[str, list[str]]:
    """The hidden fields of the order's form."""
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html):
        fields.setdefault(name, []).append(value)
    return fields


def linked(html: str, test: str) -> str:
    """Where the link with this mark leads."""
    tag = re.search(rf'<a [^>]*data-test="{test}"[^>]*>', html)
    assert tag, test
    found = re.search(r'href="([^"]*)"', tag[0])
    assert found
    return found[1].replace("&amp;", "&")


def test_the_best_coupon_is_chosen_and_points_join_and_all_goes_back(visitor: Client, shopper: Any) -> None:
    dress = builders.sku(price_fen=9_900)
    better = services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=shopper.pk, key="test:a")
    small = instruments.coupon(name="无门槛 5 元", amount_fen=500, threshold_fen=0)
    services.grant_coupon(coupon_id=small.pk, member_id=shopper.pk, key="test:b")
    far = instruments.coupon(name="满 500 减 100", amount_fen=10_000, threshold_fen=50_000)
    services.grant_coupon(coupon_id=far.pk, member_id=shopper.pk, key="test:c")
    instruments.give_points(shopper, 600)

    html = visitor.get(f"/checkout/?line={dress.pk}:1").content.decode()
    assert form_of(html)["total"] == ["7900"]
    assert "再买 ¥401 可用" in html or "401" in html
    none = visitor.get(linked(html, "coupon-none")).content.decode()
    assert (form_of(none)["total"], form_of(none)["coupon"]) == (["9900"], ["0"])
    html = visitor.get(linked(html, "points-switch")).content.decode()
    assert (form_of(html)["total"], form_of(html)["points"]) == (["7300"], ["1"])

    response = visitor.post("/checkout/", form_of(html))
    order = Order.objects.get()
    assert response.headers["Location"] == f"/pay/{order.number}/"
    assert (order.total_fen, order.points_used, instruments.points_of(shopper)) == (7_300, 600, (600, 600))
    better.refresh_from_db()
    assert (better.state, better.order_id) == ("used", order.pk)
    assert set(OrderDiscount.objects.values_list("step", "amount_fen")) == {
        ("coupon", 2_000),
        ("points", 600),
    }
    visitor.post("/checkout/", form_of(html))  # a double click
    assert Order.objects.count() == 1
    assert run_audit()[1] == []
    builders.release(order)
    better.refresh_from_db()
    assert (better.state, instruments.points_of(shopper)) == ("held", (600, 0))
    assert run_audit()[1] == []


def test_another_members_coupon_is_refused_on_the_page(visitor: Client, shopper: Any) -> None:
    dress = builders.sku(price_fen=9_900)
    theirs = services.grant_coupon(
        coupon_id=instruments.coupon().pk, member_id=builders.member().pk, key="test:theirs"
    )
    fields = form_of(visitor.get(f"/checkout/?line={dress.pk}:1").content.decode())
    response = visitor.post("/checkout/", {**fields, "coupon": str(theirs.pk)})
    assert response.status_code == 409
    assert "请重新选择" in response.content.decode()
    for nonsense in ("-1", "9" * 30, "🎁", "x" * 10_000):
        assert visitor.get("/checkout/", {"line": f"{dress.pk}:1", "coupon": nonsense}).status_code == 200
    assert (Order.objects.count(), CouponGrant.objects.get().state) == (0, "held")
    given = instruments.coupon(kind="gift", amount_fen=0, gift_sku=builders.sku(price_fen=2_900))
    services.grant_coupon(coupon_id=given.pk, member_id=shopper.pk, key="test:gift")
    page = visitor.get(f"/checkout/?line={dress.pk}:1").content.decode()
    assert "已选 1 张" in page  # and not that it takes off what the gift would cost


def test_an_order_with_everything_on_costs_at_most_twelve_round_trips(
    shopper: Any, django_assert_max_num_queries: Any
) -> None:
    skus = [builders.sku(price_fen=9_900) for _ in range(3)]
    instruments.offer(skus[0], price_fen=5_000)
    held = services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=shopper.pk, key="test:a")
    instruments.give_points(shopper, 300)
    for sku in skus:
        services.add_to_cart(member_id=shopper.pk, sku_id=sku.pk)
    with django_assert_max_num_queries(12):  # savepoint and its release stand for begin and commit
        order = services.place_order(
            member_id=shopper.pk,
            lines=[(sku.pk, 1) for sku in skus],
            address=builders.ADDRESS,
            idempotency_key="everything-on",
            choices=Choices(coupon_ids=(held.pk,), points=300),
            from_cart=True,
            expected_total_fen=5_000 + 2 * 9_900 - 2_000 - 300,
        )
    assert {one.step for one in order.discounts.all()} == {"offer", "coupon", "points"}
    assert run_audit()[1] == []


def test_the_offer_is_on_the_page_sold_out_and_the_first_who_waits_is_told(
    visitor: Client, shopper: Any, wechat_window: None, django_capture_on_commit_callbacks: Any
) -> None:
    follow(account_id=builders.official_account().pk, openid="o-test", scene="", at=clock.now())
    dress = builders.sku(price_fen=9_900, stock=5)
    flash = instruments.offer(dress, quota=1)
    page = visitor.get(f"/p/{dress.product_id}/").content.decode()
    assert "剩 1 / 1 件" in page
    assert 'data-price="9.90" data-was="¥99"' in page  # and so where she chooses the variant
    faster = builders.order(builders.member(), (dress, 1))
    assert faster.total_fen == 990
    page = visitor.get(f"/p/{dress.product_id}/").content.decode()
    assert "加入候补" in page
    assert 'data-price="99" data-was=""' in page
    with pytest.raises(PriceChanged):
        services.place_order(
            member_id=shopper.pk,
            lines=[(dress.pk, 1)],
            address=builders.ADDRESS,
            idempotency_key="too-late-for-it",
            expected_total_fen=990,
        )
    wait = f"/p/{dress.product_id}/offers/{flash.pk}/"
    for _turn in range(2):
        assert visitor.post(wait).status_code == 302
    assert "已加入候补" in visitor.get(f"/p/{dress.product_id}/").content.decode()
    builders.release(faster)
    for _turn in range(2):
        events.deliver_due()
    waiting = OfferWaiting.objects.get()
    assert waiting.outcome == "sent"
    told = apps.get_model("wechat", "OutboundMessage").objects.filter(origin="offer-waiting")
    assert told.count() == 1
    assert services.tell_waiting(offer_id=flash.pk, places=1) == 0
    assert visitor.post(wait).status_code == 409  # it can be bought now
    with clock.travel(timedelta(hours=2)):
        assert visitor.post(wait).status_code == 404


def test_who_cannot_be_written_to_keeps_her_place_and_the_next_is_told(
    client: Client, admin_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flash = instruments.offer(builders.sku(stock=5), quota=2)
    moment = clock.now()
    first, second, third, has = (builders.member() for _place in range(4))
    for place, member in enumerate((has, first, second, third)):
        OfferWaiting.objects.create(
            offer=flash, member=member, joined_at=moment - timedelta(hours=1) + timedelta(seconds=place)
        )
    OfferTally.objects.create(offer=flash, member=has, taken=flash.per_member_limit)
    answers = {first.pk: "touch_policy", second.pk: "sent", third.pk: "sent"}
    monkeypatch.setattr("shop.services.offers._tell", lambda _offer, waiting: answers[waiting.member_id])

    Product.objects.update(status=Product.OFF)  # nobody could order it now
    assert services.tell_waiting(offer_id=flash.pk, places=1) == services.tell_waiting_again() == 0
    Product.objects.update(status=Product.ON_SALE)
    assert services.tell_waiting(offer_id=flash.pk, places=1) == 1
    told = OfferWaiting.objects.filter(told_at__isnull=False)
    assert [one.member_id for one in told] == [second.pk]
    assert not OfferWaiting.objects.filter(member=has).exists()
    held = OfferWaiting.objects.get(member=first)
    assert (held.told_at, held.outcome) == (None, "touch_policy")
    client.force_login(admin_user)
    page = client.get("/admin/shop/offerwaiting/?told=held").content.decode()
    assert "名额为她保留" in page
    assert "其中 1 位暂时无法通知" in client.get("/admin/shop/offer/").content.decode()

    answers[first.pk] = "sent"
    Offer.objects.filter(pk=flash.pk).update(quota=1)
    assert services.tell_waiting_again() == 0  # the one piece is the second's for a while
    with clock.travel(timedelta(minutes=31)):
        assert [services.tell_waiting_again() for _turn in range(2)] == [1, 0]
    assert set(told.values_list("member_id", flat=True)) == {first.pk, second.pk}
