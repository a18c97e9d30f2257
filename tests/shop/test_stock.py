"""Stock moves through one guarded service, and the audit proves that it did."""

import pytest
from django.db import IntegrityError, transaction

from core.audits import run_audit
from shop import services
from shop.errors import StockRefused
from shop.models import Stock, StockMovement
from shop.services import Move
from tests.shop import builders

pytestmark = pytest.mark.django_db


def test_a_change_is_made_once_per_cause_and_leaves_a_movement():
    dress = builders.sku(stock=0)
    for _ in range(2):
        stock = services.adjust_stock(
            sku_id=dress.pk, change=7, cause="delivery:1", reason="receive", by="店长"
        )
    assert stock.on_hand == 7
    movement = StockMovement.objects.get()
    assert (movement.reason, movement.actor, movement.on_hand_after) == ("receive", "店长", 7)


def test_counting_sets_what_lies_there():
    dress = builders.sku(stock=7)
    assert services.set_stock(sku_id=dress.pk, on_hand=4, cause="count:1").on_hand == 4
    assert StockMovement.objects.get(cause="count:1").on_hand_change == -3


def test_what_is_reserved_cannot_be_taken_away():
    dress = builders.sku(stock=5)
    builders.order(builders.member(), (dress, 4))
    with pytest.raises(StockRefused) as refusal:
        services.set_stock(sku_id=dress.pk, on_hand=3, cause="count:1")
    assert "4" in refusal.value.message
    assert builders.stock_of(dress) == (5, 4)
    assert StockMovement.objects.filter(cause="count:1").count() == 0


def test_several_stocks_move_together_or_not_at_all():
    dress, scarf = builders.sku(stock=5), builders.sku(stock=1)
    home = services.warehouse_id()
    moves = [Move(dress.pk, home, reserved=2), Move(scarf.pk, home, reserved=2)]
    assert not services.move_stock(moves, cause="test", reason="reserve")
    assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((5, 0), (1, 0))
    assert StockMovement.objects.filter(cause="test").count() == 0


def test_the_database_refuses_what_no_service_would_write():
    dress = builders.sku(stock=5)
    with pytest.raises(IntegrityError), transaction.atomic():
        Stock.objects.filter(sku=dress).update(reserved=6)
    with pytest.raises(IntegrityError), transaction.atomic():
        Stock.objects.filter(sku=dress).update(reserved=-1)


def findings():
    return {finding.check for finding in run_audit()[1] if finding.check.startswith("shop.")}


def a_busy_shop():
    dress, scarf = builders.sku(stock=20), builders.sku(stock=20)
    buyer = builders.member()
    builders.order(buyer, (dress, 1))
    paid = builders.pay(builders.order(buyer, (dress, 2), (scarf, 1)))
    shipped = builders.pay(builders.order(buyer, (dress, 1)))
    services.ship_order(order_id=shipped.pk, carrier="顺丰", tracking_number="SF1")
    builders.release(builders.order(buyer, (scarf, 2)))
    refunded = builders.pay(builders.order(buyer, (scarf, 2)))
    refund = services.refund_order(order_id=refunded.pk, reason="缺货", by="小运")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="1", status="SUCCESS", refund_fen=refund.amount_fen
    )
    return paid


def test_a_busy_shop_passes_the_audit():
    a_busy_shop()
    assert findings() == set()
