"""The pages: an order split over two stores as the shopper sees it, and the counter where pickups are redeemed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from core import clock
from core.audits import run_audit
from crm import sessions
from crm.models import Staff, Store
from crm.services import prepare_months_ahead
from shop import queries, services
from shop.models import Order, ServiceRules
from shop.services import pickup as settling
from tests.shop import builders
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store

pytestmark = pytest.mark.django_db


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


def counter(where: Store | None, name: str) -> Client:
    """A colleague's phone, logged in."""
    user = User.objects.create_user(name, is_staff=True)
    Staff.objects.create(work_userid=name, name=name, store=where, user=user)
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return str(response.content.decode())


def collected(shopper: Any) -> tuple[Order, Any, Store]:
    dress, shop = builders.sku(stock=0, name="雾蓝 M"), store(XINTIANDI)
    lay(dress, shop, 2)
    order = builders.pay(placed(shopper, (dress, 1), pickup=shop))
    return order, dress, shop


def test_the_shopper_sees_both_parcels_of_a_split_order(shopper: Any, phone: Client) -> None:
    dress, scarf, lake = builders.sku(stock=2), builders.sku(stock=0), store(HUBIN)
    lay(scarf, lake, 1)
    order = builders.pay(placed(shopper, (dress, 1), (scarf, 1)))
    services.ship_order(order_id=order.pk, store_id=lake.pk, carrier="顺丰速运", tracking_number="SF77")
    page = text_of(phone.get(f"/orders/{order.number}/"))
    assert "分 2 个包裹送达" in page
    assert page.count("SF77") >= 2
    assert "湖滨店" in page
    services.ship_order(order_id=order.pk, carrier="中通快递", tracking_number="ZT1")
    assert "待备货" not in text_of(phone.get(f"/orders/{order.number}/"))


def test_a_pickup_is_shown_typed_and_handed_over_once(shopper: Any, phone: Client) -> None:
    order, dress, shop = collected(shopper)
    page = text_of(phone.get(f"/orders/{order.number}/"))
    code = order.fulfilments.get().code
    assert f"{code[:4]} {code[4:]}" in page
    assert "<svg" in page
    assert "style=" not in page.split('class="frame"', 1)[1].split("</svg>", 1)[0]
    desk = counter(shop, "李娜")
    listed = text_of(desk.get("/staff/pickup/"))
    assert "王小池" in listed
    assert code not in listed  # what opens it stays with the shopper
    assert "13800000001" not in listed
    ready = re.search(r'name="ready" value="(\d+)"', listed)
    assert ready
    assert counter(store(HUBIN), "赵敏").post("/staff/pickup/", {"ready": ready[1]}).status_code == 404
    assert desk.post("/staff/pickup/", {"ready": ready[1]}).status_code == 302
    assert "已备好" in text_of(phone.get(f"/orders/{order.number}/"))
    found = text_of(desk.get("/staff/pickup/", {"code": f"{code[:4]} {code[4:]}"}))
    assert "雾蓝 M" in found
    assert 'data-test="hand-over"' in found
    done = desk.post("/staff/pickup/", {"code": code}, follow=True)
    assert 'data-test="handed-over"' in text_of(done)
    assert level(dress, shop) == (1, 0)
    order.refresh_from_db()
    assert order.status == "received"
    again = desk.post("/staff/pickup/", {"code": code})
    assert (again.status_code, "已使用" in text_of(again)) == (409, True)
    assert level(dress, shop) == (1, 0)
    assert code[:4] + " " not in text_of(phone.get(f"/orders/{order.number}/"))


def test_the_counter_refuses_clearly(shopper: Any) -> None:
    order, dress, shop = collected(shopper)
    code = order.fulfilments.get().code
    elsewhere = counter(store(HUBIN), "赵敏")
    answer = elsewhere.get("/staff/pickup/", {"code": code})
    assert (answer.status_code, "新天地店" in text_of(answer)) == (409, True)
    assert 'data-test="hand-over"' not in text_of(answer)
    assert elsewhere.post("/staff/pickup/", {"code": code}).status_code == 409
    desk = counter(shop, "李娜")
    for typed in ("99999999", "<b>", "🐟" * 10_000):
        answer = desk.post("/staff/pickup/", {"code": typed})
        assert (answer.status_code, "没有订单使用这个自提码" in text_of(answer)) == (409, True)
    services.refund_order(order_id=order.pk, reason="不想要了", by="小运")
    assert "正在退款" in text_of(desk.post("/staff/pickup/", {"code": code}))
    assert level(dress, shop) == (2, 1)


def test_only_colleagues_of_a_store_stand_at_the_counter(client: Client, phone: Client) -> None:
    for stranger in (client, phone):
        answer = stranger.get("/staff/pickup/?code=12345678")
        assert (answer.status_code, answer["Location"]) == (
            302,
            "/admin/login/?next=%2Fstaff%2Fpickup%2F%3Fcode%3D12345678",
        )
    assert counter(None, "总部").get("/staff/pickup/").status_code == 403


def test_a_guide_orders_a_missing_size_for_a_member_on_her_phone(shopper: Any) -> None:
    small, lake = builders.sku(stock=0, name="雾蓝 S"), store(HUBIN)
    large = builders.sku(stock=0, name="雾蓝 L", product=small.product)
    desk, here = counter(store(XINTIANDI), "李娜"), "/staff/elsewhere/"
    lay(small, store(XINTIANDI), 1)
    lay(large, lake, 2)
    for typed in (large.code, small.product.name):
        found = text_of(desk.get(here, {"q": typed}))
        assert f"?sku={large.pk}" in found
        assert "本店 0" in found
        assert "可调货 2" in found
    form = {"sku": large.pk, "guest": f"#{shopper.pk}", "quantity": 2}
    for wrong, status in (
        ({"guest": "13900000009"}, 404),
        ({"guest": "²" * 20}, 404),
        ({"guest": f"#{10**19}"}, 404),
        ({"quantity": 3}, 409),
        ({"quantity": "-1"}, 400),
        ({"sku": 10**17}, 409),
        ({"sku": "\x00🐟"}, 409),
    ):
        assert desk.post(here, {**form, **wrong}).status_code == status, wrong
    assert not queries.cart_of(shopper.pk).lines
    done = text_of(desk.post(here, form, follow=True))
    assert 'data-test="in-her-cart"' in done
    assert "湖滨店 ×2" in done
    assert [(line.sku_id, line.quantity) for line in queries.cart_of(shopper.pk).lines] == [(large.pk, 2)]
    assert desk.get(here, {"q": "\x00" + "💥" * 9_000}).status_code == 200
    assert counter(None, "总部").get(here).status_code == 403


def test_the_checkout_offers_stores_that_have_everything(shopper: Any, phone: Client) -> None:
    services.save_address(member_id=shopper.pk, address=builders.ADDRESS)
    dress, scarf = builders.sku(stock=3), builders.sku(stock=3)
    shop, lake = store(XINTIANDI), store(HUBIN)
    lay(dress, shop, 1)
    lay(scarf, shop, 1)
    lay(dress, lake, 1)
    chosen = {"line": [f"{dress.pk}:1", f"{scarf.pk}:1"]}
    page = text_of(phone.get("/checkout/", chosen))
    assert page.count('data-test="pickup-store"') == 1
    assert f"pickup={shop.pk}" in page
    assert "暂时货不全" in page
    page = text_of(phone.get("/checkout/", {**chosen, "pickup": shop.pk}))
    assert "到店自提：新天地店" in page
    sent = dict(re.findall(r'type="hidden" name="(key|total|from|address|pickup)" value="([^"]*)"', page))
    assert sent["pickup"] == str(shop.pk)
    for strange in ("999999", str(lake.pk)):
        refused = phone.post("/checkout/", {**sent, **chosen, "pickup": strange})
        assert refused.status_code == 409
        assert not Order.objects.exists()
    assert phone.post("/checkout/", {**sent, **chosen}).status_code == 302
    order = Order.objects.get()
    assert (order.delivery, {line.store_id for line in order.lines.all()}) == ("pickup", {shop.pk})
    assert builders.pay(order).fulfilments.get().kind == "pickup"


@pytest.mark.parametrize("rule", ["refund", "shelve", "never"])
def test_what_nobody_collects_is_paid_back_or_shelved_as_the_house_rules(
    rule: str, shopper: Any, phone: Client
) -> None:
    ServiceRules.objects.create(
        pickup_days=0 if rule == "never" else 3, when_uncollected="refund" if rule == "never" else rule
    )
    order, dress, shop = collected(shopper)
    part = order.fulfilments.get()
    services.mark_ready(fulfilment_id=part.pk, by="李娜")
    assert ("为您保留到" in text_of(phone.get(f"/orders/{order.number}/"))) == (rule != "never")
    with clock.travel(timedelta(days=2)):
        assert services.settle_uncollected() == 0
    with clock.travel(timedelta(days=4)):
        assert [services.settle_uncollected(), services.settle_uncollected()] == [rule != "never", 0]
        for refund in order.refunds.all():
            services.confirm_refund(
                out_refund_no=refund.out_refund_no,
                refund_id="5",
                status="SUCCESS",
                refund_fen=refund.amount_fen,
            )
        order.refresh_from_db()
        part.refresh_from_db()
        ended = {
            "refund": (Order.REFUNDED, "cancelled", (2, 0)),
            "shelve": (Order.PAID, "waiting", (2, 1)),
            "never": (Order.PAID, "ready", (2, 1)),
        }
        assert (order.status, part.state, level(dress, shop)) == ended[rule]
        assert order.log.filter(action="uncollected").count() == (rule != "never")
        assert run_audit()[1] == []
        if rule == "shelve":  # she comes after all: her code still opens it
            services.redeem_pickup(code=part.code, store_id=shop.pk, by="李娜")
            assert level(dress, shop) == (1, 0)


def test_one_that_cannot_be_settled_stands_in_nobodys_way(
    shopper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ServiceRules.objects.create(pickup_days=3)
    orders = [collected(shopper)[0] for _ in range(2)]
    for order in orders:
        services.mark_ready(fulfilment_id=order.fulfilments.get().pk, by="李娜")
    refund, broken = settling.refund_order, orders[0].pk

    def failing(*, order_id: int, **rest: Any) -> Any:
        if order_id == broken:
            raise RuntimeError("a fault of ours")
        return refund(order_id=order_id, **rest)

    monkeypatch.setattr(settling, "refund_order", failing)
    with clock.travel(timedelta(days=4)):
        assert [services.settle_uncollected(), services.settle_uncollected()] == [1, 0]
    monkeypatch.undo()
    with clock.travel(timedelta(days=5)):
        assert services.settle_uncollected() == 1
