"""Points and money together: taken when she starts to pay, hers when it is paid, back when it is not."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from core import clock
from core.audits import run_audit, run_check
from crm.models import Activity
from shop import services
from shop.errors import CouponRefused, MallRefused, PaymentNotPossible, WrongState
from shop.models import CouponGrant, DirectPayment, DirectRefund, MallExchange, Tally
from tests.shop import builders
from tests.shop.bank import Bank, Sheet
from tests.shop.test_mall import a_coupon, address_of, an_item, points_of, rich
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once
from tests.shop.test_recharge import answered, bank, payer, told  # noqa: F401  `bank` is a fixture

pytestmark = pytest.mark.django_db


def started(buyer: Any, item: Any, key: str = "k") -> DirectPayment:
    made = services.exchange_points(
        item_id=item.pk, member_id=buyer.pk, key=key, address_id=address_of(buyer), payer=payer()
    )
    assert made.payment is not None
    return made.payment


def test_paid_is_sent_and_comes_back_with_its_money(bank: Bank) -> None:  # noqa: F811
    buyer, sample = rich(), builders.sku(stock=3)
    item = an_item(300, sku=sample, price_fen=990)
    with pytest.raises(MallRefused):
        services.exchange_points(item_id=item.pk, member_id=buyer.pk, key="x", address_id=address_of(buyer))
    payment = started(buyer, item)
    assert started(buyer, item) == payment
    done = MallExchange.objects.get()
    assert (done.state, points_of(buyer), builders.stock_of(sample)) == ("unpaid", 700, (2, 0))
    assert not Activity.objects.filter(kind="exchanged").exists()
    with pytest.raises(WrongState):
        services.take_back_exchange(exchange_id=done.pk, reason="等一下")
    for _ in range(2):
        told(payment)
    assert (MallExchange.objects.get().state, Activity.objects.get(kind="exchanged").amount_fen) == (
        "waiting",
        990,
    )
    assert run_audit()[1] == []
    services.send_exchange(exchange_id=done.pk, carrier="顺丰速运", tracking_number="SF1")
    for _ in range(2):
        services.take_back_exchange(exchange_id=done.pk, reason="破损", is_back_in_stock=True)
    refund = DirectRefund.objects.get()
    assert (refund.amount_fen, points_of(buyer), builders.stock_of(sample)) == (990, 1_000, (3, 0))
    answered(refund, "CLOSED")
    assert run_audit()[1] == []
    for _ in range(2):
        services.return_exchange_money(exchange_id=done.pk)
    answered(DirectRefund.objects.get(status="pending"), "SUCCESS")
    assert (DirectRefund.objects.count(), Tally.objects.get().taken, run_audit()[1]) == (2, 0, [])
    with pytest.raises(WrongState):  # the first one was refused, the second one has paid
        services.settle_outside(refund_id=refund.pk, how="现金", by="小运")


def test_an_exchange_whose_money_wechat_refuses_is_settled_outside(bank: Bank) -> None:  # noqa: F811
    buyer = rich()
    payment = started(buyer, an_item(300, sku=builders.sku(stock=1), price_fen=990))
    told(payment)
    exchange = MallExchange.objects.get()
    services.take_back_exchange(exchange_id=exchange.pk, reason="缺货")
    answered(DirectRefund.objects.get(), "CLOSED")
    for _ in range(2):
        services.settle_outside(refund_id=DirectRefund.objects.get().pk, how="现金", by="小运")
    services.return_exchange_money(exchange_id=exchange.pk)
    assert (DirectRefund.objects.get().status, DirectPayment.objects.get().refunded_fen) == ("outside", 990)
    assert run_audit()[1] == []


def test_what_is_not_paid_comes_back_and_late_money_returns(bank: Bank) -> None:  # noqa: F811
    buyer, sample = rich(), builders.sku(stock=1)
    item = an_item(300, sku=sample, price_fen=990)
    payment = started(buyer, item)
    bank.sheets[payment.out_trade_no] = Sheet(990)
    with clock.travel(payment.expires_at + timedelta(minutes=1)):
        services.query_lost_direct()
    done = MallExchange.objects.get()
    assert (done.state, done.reason, points_of(buyer)) == ("returned", "超时未支付", 1_000)
    assert (builders.stock_of(sample), run_audit()[1]) == ((1, 0), [])
    told(payment)
    assert (DirectRefund.objects.get().amount_fen, points_of(buyer), run_audit()[1]) == (990, 1_000, [])
    again = started(buyer, item, "k2")  # one per member, and it is hers to take again
    told(again, paid_fen=1)
    with pytest.raises(PaymentNotPossible):
        services.start_exchange(item_id=item.pk, member_id=buyer.pk, key="k", address_id=None)
    assert (DirectPayment.objects.get(pk=again.pk).status, points_of(buyer)) == ("mismatch", 1_000)
    services.return_direct_mismatch(payment_id=again.pk)
    assert (points_of(buyer), builders.stock_of(sample), run_audit()[1]) == (1_000, (1, 0), [])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_mallexchange SET price_fen = 991")
    assert run_check("shop.mall_is_paid") != []


def test_a_coupon_for_points_and_money_is_hers_when_it_is_paid(bank: Bank) -> None:  # noqa: F811
    buyer, coupon = rich(), a_coupon(quota=2, per_member_limit=1)
    item = an_item(300, coupon=coupon, price_fen=100)
    payment = started(buyer, item)
    assert (points_of(buyer), CouponGrant.objects.count()) == (700, 0), "not to be used before it is paid"
    for _ in range(2):
        told(payment)
    done = MallExchange.objects.get()
    assert done.grant is not None
    assert (done.state, done.grant.state, done.done_at is None) == ("done", "held", False)
    with pytest.raises(CouponRefused):  # one each: refused before any money moves
        started(buyer, an_item(300, coupon=coupon, price_fen=100), "k2")
    assert (points_of(buyer), DirectPayment.objects.count(), run_audit()[1]) == (700, 1, [])
    for _ in range(2):
        services.take_back_exchange(exchange_id=done.pk, reason="退回")
    assert (CouponGrant.objects.get().state, points_of(buyer)) == ("revoked", 1_000)
    assert (DirectRefund.objects.get().amount_fen, run_audit()[1]) == (100, [])


def test_the_last_coupon_gone_while_she_pays_gives_points_and_money_back(bank: Bank) -> None:  # noqa: F811
    hers, other = rich(), rich(name="别人")
    coupon = a_coupon(quota=1)
    item = an_item(300, coupon=coupon, price_fen=100, quota=5)
    payment = started(hers, item)
    services.grant_coupon(coupon_id=coupon.pk, member_id=other.pk, key="gone")
    told(payment)
    row = MallExchange.objects.get()
    assert (row.state, row.grant, points_of(hers)) == ("returned", None, 1_000)
    assert (DirectRefund.objects.get().amount_fen, run_audit()[1]) == (100, [])
    unpaid = started(rich(name="丙"), an_item(300, coupon=a_coupon(), price_fen=100))
    with clock.travel(unpaid.expires_at + timedelta(minutes=1)):
        services.query_lost_direct()
    assert (MallExchange.objects.order_by("pk").last().state, CouponGrant.objects.count()) == ("returned", 1)


@pytest.mark.django_db(transaction=True)
def test_money_and_closing_at_once_leave_one_truth(bank: Bank) -> None:  # noqa: F811
    buyer, item = rich(), an_item(300, sku=builders.sku(stock=5), price_fen=990)
    payment = started(buyer, item)
    bank.sheets[payment.out_trade_no] = Sheet(990)
    at_once(lambda: told(payment), lambda: services.settle_direct(payment))
    done = MallExchange.objects.get()
    assert done.state in ("waiting", "returned")
    assert (points_of(buyer), DirectRefund.objects.count()) == (
        (700, 0) if done.state == "waiting" else (1_000, 1)
    )
    assert run_audit()[1] == []


def test_she_pays_on_her_phone_and_the_operator_sees_it(bank: Bank, client: Client) -> None:  # noqa: F811
    buyer = rich()
    phone = phone_of(buyer)
    item = an_item(300, sku=builders.sku(), price_fen=990)
    assert "+ ¥9.90" in phone.get("/mall/").content.decode()
    here, address = f"/mall/{item.pk}/", address_of(buyer)
    page = phone.get(here).content.decode()
    assert ('data-test="mall-pay"' in page, 'name="way"' in page) == (True, True)
    json = {"Accept": "application/json"}
    assert phone.post(here, {"key": "k", "way": "jsapi", "address": "-1"}, headers=json).status_code == 400
    assert (
        phone.post(here, {"key": "k", "address": address}).status_code == 409
    )  # an old page without the price
    assert (MallExchange.objects.count(), DirectPayment.objects.count()) == (0, 0)
    for _ in range(2):
        answer = phone.post(here, {"key": "k", "way": "jsapi", "address": address}, headers=json).json()
    assert ("parameters" in answer, DirectPayment.objects.count()) == (True, 1)
    page = phone.get(here).content.decode()
    assert ('data-test="mall-unpaid"' in page, 'value="k"' in page) == (True, True)
    assert "待支付" in phone.get("/mall/exchanges/").content.decode()
    bank.pay(DirectPayment.objects.get().out_trade_no)
    assert phone.get("/mall/state/?look=1").json()["paid"] is True
    assert phone.post(here, {"key": "k", "way": "jsapi"}, headers=json).json() == {"paid": True}
    client.force_login(User.objects.create_superuser("boss"))
    form = {
        **{"name": "小样", "kind": "goods", "sku": builders.sku().pk, "points": "100", "per_member": "1"},
        **{"position": "0", "is_active": "on"},
    }
    add = reverse("admin:shop_mallitem_add")
    for wrong in ({"price_fen": "-1"}, {"price_fen": "1000000"}):
        assert client.post(add, {**form, **wrong}).status_code == 200
    assert client.post(add, {**form, "price_fen": "9.90"}).status_code == 302
    done = reverse("admin:shop_mallexchange_change", args=[MallExchange.objects.get().pk])
    assert "9.90" in client.get(done).content.decode()
