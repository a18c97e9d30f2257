"""Money for orders: booked once, compared, returned when it has no order. Without the network: see test_wechat_pay."""

from datetime import timedelta

import pytest
from django.apps import apps

from core import clock
from core.audits import run_audit
from core.models import DomainEvent
from shop import queries, services
from shop.errors import NoSuchOrder, PaymentNotPossible, WrongState
from shop.models import Address, CartLine, Order, Payment, Refund
from tests.shop import builders
from tests.shop.test_points import phone_of

pytestmark = pytest.mark.django_db


def stats_of(member):
    return apps.get_model("crm", "MemberStats").objects.get(member_id=member.pk)


def activities(member, kind):
    return apps.get_model("crm", "Activity").objects.filter(member_id=member.pk, kind=kind)


def test_a_payment_is_booked_with_everything_that_follows():
    buyer, dress = builders.member(), builders.sku(price_fen=12_900)
    order = builders.pay(builders.order(buyer, (dress, 2)))
    order.refresh_from_db()
    assert (order.status, order.paid_fen, order.due_at) == ("paid", 25_800, None)
    assert (stats_of(buyer).orders_count, stats_of(buyer).paid_fen) == (1, 25_800)
    assert activities(buyer, "paid").get().amount_fen == 25_800
    assert DomainEvent.objects.filter(name="shop.OrderPaid").count() == 1
    assert list(order.log.values_list("action", flat=True)) == ["placed", "payment_started", "paid"]
    assert builders.stock_of(dress) == (10, 2)


def test_a_repeated_notice_changes_nothing():
    buyer = builders.member()
    made = builders.payment(builders.order(buyer, (builders.sku(), 1)))
    for _ in range(3):
        builders.confirm(made, "420001")
    assert stats_of(buyer).orders_count == 1
    assert DomainEvent.objects.filter(name="shop.OrderPaid").count() == 1
    assert activities(buyer, "paid").count() == 1


def test_a_wrong_amount_is_not_booked_and_shown():
    buyer, dress = builders.member(), builders.sku(price_fen=12_900)
    order = builders.order(buyer, (dress, 1))
    made = builders.payment(order)
    for _ in range(2):
        builders.confirm(made, "420001", paid_fen=1)
    order.refresh_from_db()
    made.refresh_from_db()
    assert order.status == "pending_payment"
    assert (made.status, made.paid_fen) == ("mismatch", 1)
    assert "0.01" in made.difference
    assert "129.00" in made.difference
    assert stats_of(buyer).orders_count == 0
    assert order.log.filter(action="difference").count() == 1
    services.release_order(
        order_id=order.pk, reason="超时", actor="system"
    )  # it does not block the stock for ever
    assert builders.stock_of(dress) == (10, 0)
    refund = services.refund_mismatch(payment_id=made.pk, by="小运")
    assert services.refund_mismatch(payment_id=made.pk, by="小运") == refund  # a second click
    assert (refund.amount_fen, refund.kind) == (1, "mismatch")


def test_another_merchants_notice_is_not_booked():
    made = builders.payment(builders.order(builders.member(), (builders.sku(), 1)))
    services.confirm_payment(
        out_trade_no=made.out_trade_no,
        transaction_id="420001",
        paid_fen=made.amount_fen,
        account_id=made.account_id + 1,
    )
    made.refresh_from_db()
    assert made.status == "open"
    assert made.difference


def test_a_transaction_counts_for_one_order_only():
    buyer = builders.member()
    first, second = (builders.payment(builders.order(buyer, (builders.sku(), 1))) for _ in range(2))
    builders.confirm(first, "420001")
    builders.confirm(second, "420001")
    second.refresh_from_db()
    assert (second.status, second.order.status) == ("open", "pending_payment")
    assert second.difference


def test_an_unknown_number_is_refused():
    with pytest.raises(NoSuchOrder):
        services.confirm_payment(out_trade_no="999999-1", transaction_id="1", paid_fen=1)


def test_the_same_order_gets_the_same_payment_again():
    order = builders.order(builders.member(), (builders.sku(), 1))
    first, again = builders.payment(order), builders.payment(order)
    assert (first.pk, first.amount_fen) == (again.pk, order.total_fen)
    assert len(first.out_trade_no) <= 32


def test_after_its_time_an_order_cannot_be_paid_any_more():
    order = builders.order(builders.member(), (builders.sku(), 1))
    with clock.travel(timedelta(minutes=29, seconds=30)), pytest.raises(PaymentNotPossible):
        builders.payment(order)
    assert Payment.objects.count() == 0


def test_money_for_a_cancelled_order_takes_the_goods_again_when_they_are_there():
    buyer, dress = builders.member(), builders.sku(stock=1)
    order = builders.order(buyer, (dress, 1))
    made = builders.payment(order)
    builders.release(order)
    assert builders.stock_of(dress) == (1, 0)
    builders.confirm(made)
    order.refresh_from_db()
    assert (order.status, order.cancelled_at, order.cancel_reason) == ("paid", None, "")
    assert builders.stock_of(dress) == (1, 1)
    assert stats_of(buyer).orders_count == 1
    assert Refund.objects.count() == 0


def test_money_for_a_cancelled_order_goes_back_when_it_is_sold_out(wechat_window):
    buyer, dress, scarf = builders.member(openid="o-test"), builders.sku(stock=1), builders.sku()
    order = builders.order(buyer, (dress, 1), (scarf, 1))
    made = builders.payment(order)
    builders.release(order)
    builders.order(builders.member(), (dress, 1))
    builders.confirm(made, "420001")
    builders.confirm(made, "420001")
    order.refresh_from_db()
    refund = Refund.objects.get()
    assert (order.status, refund.kind, refund.amount_fen) == ("cancelled", "late", order.total_fen)
    shown = queries.order_money(order).not_taken
    assert [(one.label, one.amount_fen, one.is_done) for one in shown] == [
        ("取消后付款", order.total_fen, False)
    ]
    assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((1, 1), (10, 0))
    assert stats_of(buyer).orders_count == 0
    told = apps.get_model("wechat", "OutboundMessage").objects.get(origin=f"shop-late-{made.pk}")
    assert (told.to, told.origin_id) == ("o-test", order.pk)
    for again in (False, True):  # WeChat refuses, staff asks anew
        refund = services.repeat_refund(refund_id=refund.pk, by="小运") if again else refund
        services.confirm_refund(
            out_refund_no=refund.out_refund_no,
            refund_id="5",
            status="SUCCESS" if again else "CLOSED",
            refund_fen=refund.amount_fen,
        )
        assert run_audit()[1] == []


def test_a_second_payment_of_an_order_goes_back():
    buyer = builders.member()
    order = builders.order(buyer, (builders.sku(), 1))
    first = builders.payment(order)
    Payment.objects.filter(pk=first.pk).update(
        status="closed"
    )  # closed here, but WeChat took money all the same
    second = builders.payment(order)
    assert first.out_trade_no != second.out_trade_no
    builders.confirm(second)
    builders.confirm(first)
    refund = Refund.objects.get()
    assert (refund.kind, refund.payment_id) == ("duplicate", first.pk)
    order.refresh_from_db()
    assert (order.status, order.paid_fen, stats_of(buyer).orders_count) == ("paid", order.total_fen, 1)
    page = phone_of(buyer).get(f"/orders/{order.number}/").content.decode()
    assert "重复支付" in page.partition('data-test="order-not-taken"')[2]
    Refund.objects.update(status=Refund.CLOSED)  # refused: it waits to be asked for anew
    shown = queries.order_money(order)
    assert ([one.amount_fen for one in shown.paid], len(shown.not_taken)) == ([order.total_fen], 1)


def test_a_refund_reverses_every_effect_once():
    buyer, dress = builders.member(), builders.sku(price_fen=12_900)
    order = builders.pay(builders.order(buyer, (dress, 2)))
    refund = services.refund_order(order_id=order.pk, reason="缺货", by="小运")
    assert services.refund_order(order_id=order.pk, reason="缺货", by="小运").pk == refund.pk
    order.refresh_from_db()
    assert (order.status, order.is_refunding, order.status_label) == ("paid", True, "退款中")
    with pytest.raises(WrongState):
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    for status in ("PROCESSING", "SUCCESS", "SUCCESS", "PROCESSING"):
        services.confirm_refund(
            out_refund_no=refund.out_refund_no, refund_id="50001", status=status, refund_fen=25_800
        )
    order.refresh_from_db()
    refund.refresh_from_db()
    assert (order.status, order.refunded_fen, refund.status) == ("refunded", 25_800, "success")
    assert builders.stock_of(dress) == (10, 0)
    assert (stats_of(buyer).refunded_fen, activities(buyer, "refunded").count()) == (25_800, 1)
    assert DomainEvent.objects.filter(name="shop.OrderRefunded").count() == 1


def test_a_shipped_order_keeps_its_goods_away_when_it_is_refunded():
    dress = builders.sku()
    order = builders.pay(builders.order(builders.member(), (dress, 2)))
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    refund = services.refund_order(order_id=order.pk, reason="破损", by="小运")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="1", status="SUCCESS", refund_fen=refund.amount_fen
    )
    assert builders.stock_of(dress) == (8, 0)


def test_a_refund_that_wechat_closes_may_be_asked_for_anew():
    order = builders.pay(builders.order(builders.member(), (builders.sku(), 1)))
    refund = services.refund_order(order_id=order.pk, reason="缺货", by="小运")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="1", status="CLOSED", refund_fen=refund.amount_fen
    )
    order.refresh_from_db()
    assert (order.status, order.is_refunding) == ("paid", False)
    again = services.refund_order(order_id=order.pk, reason="缺货", by="小运")
    assert again.out_refund_no != refund.out_refund_no


def test_an_unpaid_order_is_not_refunded():
    order = builders.order(builders.member(), (builders.sku(), 1))
    with pytest.raises(WrongState):
        services.refund_order(order_id=order.pk, reason="", by="小运")
    assert Refund.objects.count() == 0


def test_two_members_who_are_one_keep_orders_cart_and_addresses():
    kept, merged, dress, scarf = builders.member(), builders.member(), builders.sku(), builders.sku()
    order = builders.order(merged, (dress, 1), key="the-same-key")
    builders.order(kept, (dress, 1), key="the-same-key")
    for person in (kept, merged):
        services.add_to_cart(member_id=person.pk, sku_id=dress.pk, quantity=2)
        services.save_address(member_id=person.pk, address=builders.ADDRESS)
    services.add_to_cart(member_id=merged.pk, sku_id=scarf.pk)
    for _ in range(2):
        services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    assert set(Order.objects.values_list("member_id", flat=True)) == {kept.pk}
    assert Order.objects.get(pk=order.pk).idempotency_key is None
    assert dict(CartLine.objects.values_list("sku_id", "quantity")) == {dress.pk: 4, scarf.pk: 1}
    assert Address.objects.get().member_id == kept.pk
