"""Paying, querying, closing and refunding at WeChat Pay, against the sandbox."""

from datetime import timedelta

import pytest

from core import clock
from shop import services
from shop.errors import PaymentNotPossible, PlatformBusy, WrongState
from shop.models import Order, Payment, Refund
from tests.shop import builders


def paid_at_wechat(platform, buyer, parameters):
    """The shopper confirms the payment sheet."""
    answer = platform.act(buyer["person"], "pay", **parameters)
    assert answer["err_msg"] == "get_brand_wcpay_request:ok"


def started(buyer, order):
    return services.start_payment(order_id=order.pk, member_id=buyer["member"].pk)


def test_the_sheet_opens_and_the_payment_is_learned_without_a_notice(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(price_fen=12_900), 1))
    parameters = started(buyer, order)
    assert platform.act(buyer["person"], "pay", **parameters, outcome="look")["amount_fen"] == 12_900
    assert services.check_payment(order_id=order.pk).status == "pending_payment"
    again = started(buyer, order)
    assert Payment.objects.count() == 1
    paid_at_wechat(platform, buyer, again)
    assert services.check_payment(order_id=order.pk).status == "paid"
    with pytest.raises(WrongState):
        started(buyer, order)


def test_a_lost_notice_is_found_by_asking(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(), 1))
    paid_at_wechat(platform, buyer, started(buyer, order))
    assert services.query_lost_payments() == 0  # not due yet
    with clock.travel(timedelta(seconds=61)):
        assert services.query_lost_payments() == 1
        assert services.query_lost_payments() == 0
    assert Order.objects.get().status == "paid"


def test_an_unpaid_order_is_closed_at_wechat_and_released(platform, buyer):
    dress = builders.sku()
    order = builders.order(buyer["member"], (dress, 1))
    parameters = started(buyer, order)
    assert services.expire_orders() == 0
    with clock.travel(timedelta(minutes=31)):
        platform.post("clock", advance_seconds=31 * 60)
        assert services.expire_orders() == 1
    assert (Order.objects.get().status, Payment.objects.get().status) == ("cancelled", "closed")
    assert builders.stock_of(dress) == (10, 0)
    assert platform.act(buyer["person"], "pay", **parameters)["err_msg"] != "get_brand_wcpay_request:ok"


def test_a_payment_before_the_time_out_wins(platform, buyer):
    dress = builders.sku()
    order = builders.order(buyer["member"], (dress, 1))
    paid_at_wechat(platform, buyer, started(buyer, order))
    with clock.travel(timedelta(minutes=31)):
        platform.post("clock", advance_seconds=31 * 60)
        assert services.expire_orders() == 0
    assert Order.objects.get().status == "paid"
    assert builders.stock_of(dress) == (10, 1)


def test_when_wechat_does_not_answer_the_order_keeps_its_stock(platform, buyer):
    dress = builders.sku()
    order = builders.order(buyer["member"], (dress, 1))
    started(buyer, order)
    platform.post("faults", match="/v3/pay/", http_status=500, code="SYSTEM_ERROR", times=-1)
    with clock.travel(timedelta(minutes=31)):
        platform.post("clock", advance_seconds=31 * 60)
        assert services.expire_orders() == 0
        with pytest.raises(PlatformBusy):
            services.cancel_order(order_id=order.pk, member_id=buyer["member"].pk, reason="不想要了")
    assert Order.objects.get().status == "pending_payment"
    assert builders.stock_of(dress) == (10, 1)


def test_the_shopper_cancels_and_cannot_pay_any_more(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(), 1))
    parameters = started(buyer, order)
    for _ in range(2):
        services.cancel_order(order_id=order.pk, member_id=buyer["member"].pk, reason="不想要了")
    assert platform.act(buyer["person"], "pay", **parameters)["err_msg"] != "get_brand_wcpay_request:ok"
    with pytest.raises(WrongState):
        started(buyer, order)


def test_cancelling_what_is_paid_books_it_instead(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(), 1))
    paid_at_wechat(platform, buyer, started(buyer, order))
    with pytest.raises(WrongState):
        services.cancel_order(order_id=order.pk, member_id=buyer["member"].pk, reason="不想要了")
    assert Order.objects.get().status == "paid"


def test_a_refund_is_sent_once_and_confirmed_by_asking(platform, buyer):
    order = builders.order(buyer["member"], (builders.sku(), 1))
    paid_at_wechat(platform, buyer, started(buyer, order))
    services.check_payment(order_id=order.pk)
    services.refund_order(order_id=order.pk, reason="缺货", by="小运")
    platform.post("faults", match="/v3/refund", drop=True, effect="after", times=1)
    for minutes in (0, 2, 20, 60):
        with clock.travel(timedelta(minutes=minutes)):
            platform.post("clock", offset_seconds=minutes * 60)
            services.send_refunds()
    refund = Refund.objects.get()
    assert (refund.status, Order.objects.get().status) == ("success", "refunded")


def test_a_member_without_wechat_is_told_to_open_it(platform):
    from crm import services as crm_services

    found = crm_services.members_for_import(source="old", rows=[{"external_id": "1"}])
    dress = builders.sku()
    order = services.place_order(
        member_id=found["1"], lines=[(dress.pk, 1)], address=builders.ADDRESS, idempotency_key="a-good-key"
    )
    with pytest.raises(PaymentNotPossible):
        services.start_payment(order_id=order.pk, member_id=found["1"])
    assert Payment.objects.count() == 0
