"""What comes back when a part of an order does, or when its money comes late; and what the shopper is told of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from core import clock, events, ledger
from core.audits import run_audit, run_check
from shop import services
from shop.models import CartLine, Invoice, OfferTally, OrderLine, PointsPolicy, PromotionExtra, Voucher
from shop.pricing.types import Choices
from tests.shop import builders, goods, instruments
from tests.shop.test_aftersales import money_is_back, paid_order, shipped_order
from tests.shop.test_promotions import promotion

pytestmark = pytest.mark.django_db


def told() -> list[str]:
    rows = apps.get_model("wechat", "OutboundMessage").objects.select_related("body").order_by("pk")
    return [row.body.content["text"].splitlines()[0] for row in rows]


def test_who_keeps_a_piece_at_the_special_price_may_not_take_another() -> None:
    """Of three pieces one was on offer: two come back, and her share of the offer is with the third."""
    buyer, dress = builders.member(), builders.sku(stock=9, price_fen=10_000)
    flash = instruments.offer(dress, price_fen=100)
    order = builders.pay(builders.order(buyer, (dress, 3)))
    assert order.paid_fen == 20_100
    line = order.lines.get()
    for kept in (2, 1, 0):
        services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="不要了")
        money_is_back()
        flash.refresh_from_db()
        assert (OfferTally.objects.get().taken, flash.taken) == (min(kept, 1), min(kept, 1))
        assert run_audit()[1] == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_offertake SET quantity = 1, released_at = NULL")
    assert run_check("shop.refunds_gave_their_effects_back") != []


def test_an_add_on_takes_nothing_out_of_the_cart() -> None:
    """She has five pairs in her cart for another day, and takes one as an add-on."""
    coat, socks, buyer = builders.sku(price_fen=30_000), builders.sku(price_fen=2_000), builders.member()
    PromotionExtra.objects.create(promotion=promotion("add_on"), sku=socks, price_fen=100)
    pack = goods.bundle((coat, 1))
    for sku, pieces in ((coat, 1), (socks, 5), (pack, 1)):
        services.add_to_cart(member_id=buyer.pk, sku_id=sku.pk, quantity=pieces)
    order = services.place_order(
        member_id=buyer.pk,
        lines=[(coat.pk, 1), (pack.pk, 1)],
        address=builders.ADDRESS,
        idempotency_key="with-an-add-on",
        choices=Choices(add_on_sku_ids=(socks.pk,)),
        from_cart=True,
    )
    assert order.lines.filter(sku=socks, total_fen=100).exists()
    assert CartLine.objects.get().sku_id == socks.pk


def test_points_that_ended_are_not_offered_before_they_are_moved_out() -> None:
    PointsPolicy.objects.create(pk=1, fen_per_100=100, cap_bps=10_000, least=1)
    buyer, dress = builders.member(), builders.sku()
    for days in (1, 100):
        ledger.transfer(
            cause=f"test:{days}",
            debit=ledger.open_account(kind="points", owner_id=ledger.HOUSE),
            credit=ledger.open_account(kind="points", owner_id=buyer.pk),
            amount=500,
            expires_at=clock.now() + timedelta(days=days),
        )
    with clock.travel(timedelta(days=2)):
        order = services.place_order(
            member_id=buyer.pk,
            lines=[(dress.pk, 1)],
            address=builders.ADDRESS,
            idempotency_key="all-her-points",
            choices=Choices(points=10**12),
        )
    assert order.points_used == 500


def test_late_money_for_an_order_with_an_offer_goes_back_with_a_true_word(wechat_window: None) -> None:
    dress = builders.sku()
    instruments.offer(dress, price_fen=500)
    made = builders.payment(builders.order(builders.member(openid="o-test"), (dress, 1)))
    builders.release(made.order)
    builders.confirm(made)
    assert ("取消" in told()[0], "售罄" in told()[0]) == (True, False)  # the goods are still there


def test_money_that_was_asked_back_pays_nothing_any_more() -> None:
    order = builders.order(builders.member(), (builders.sku(), 1))
    made = builders.payment(order)
    builders.confirm(made, "42x", paid_fen=100)
    services.refund_mismatch(payment_id=made.pk)
    builders.confirm(made, "42x")
    order.refresh_from_db()
    assert (order.status, run_audit()[1]) == ("pending_payment", [])


def test_each_refund_is_told_once_with_its_own_amount(wechat_window: None) -> None:
    buyer: Any = builders.member(openid="o-test")
    order, first, second = paid_order(buyer=buyer, shipping_fen=0)
    OrderLine.objects.filter(pk=second.pk).update(total_fen=0, discount_fen=5_000)
    for line in (first, first, second):
        services.refund_lines(order_id=order.pk, parts=[(line.pk, 1)], reason="缺货")
        money_is_back()
        events.deliver_due()
    assert ["95.66" in text for text in told()] == [True, True]  # nothing is said of what cost nothing


def test_an_invoice_that_waits_is_over_what_is_left() -> None:
    order, first, _second = paid_order()
    made = services.request_invoice(
        order_id=order.pk, member_id=order.member_id or 0, kind="person", title="王小池"
    )
    services.refund_lines(order_id=order.pk, parts=[(first.pk, 1)], reason="不要了")
    money_is_back()
    order.refresh_from_db()
    made.refresh_from_db()
    assert made.amount_fen == order.paid_fen - order.refunded_fen
    Invoice.objects.filter(pk=made.pk).update(amount_fen=1)
    assert run_check("shop.waiting_invoices_are_over_what_is_left") != []
    services.refund_order(order_id=order.pk, reason="不要了")
    money_is_back()
    made.refresh_from_db()
    assert (made.status, bool(made.answer), run_audit()[1]) == ("refused", True, [])


def test_a_refund_asked_for_anew_stops_the_receipt_like_the_first() -> None:
    order, _first, _second = shipped_order()
    refund = services.refund_order(order_id=order.pk, reason="丢件")
    money_is_back(status="CLOSED")
    services.repeat_refund(refund_id=refund.pk)
    order.refresh_from_db()
    assert order.is_refunding


def test_a_free_voucher_that_was_used_stays_with_her_when_the_money_is_back() -> None:
    treat, coat, buyer = goods.service(price_fen=3_000), builders.sku(price_fen=30_000), builders.member()
    free = instruments.coupon(kind="exchange", amount_fen=0, threshold_fen=0, gift_sku=treat)
    services.grant_coupon(coupon_id=free.pk, member_id=buyer.pk, key="test:free")
    order = builders.pay(builders.order(buyer, (coat, 1), (treat, 1)))
    store = coat.stocks.get().store_id
    services.redeem_voucher(code=Voucher.objects.get().code, store_id=store, by="李娜")
    services.refund_order(order_id=order.pk, reason="不要了")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen, run_audit()[1]) == ("received", 30_000, [])
