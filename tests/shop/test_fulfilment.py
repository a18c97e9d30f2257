"""What the stores of an order hand over: parcels from two stores, pickups against a code, counts and transfers."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from core import clock
from core.audits import run_audit
from core.models import DomainEvent
from crm.models import Store
from crm.services import prepare_months_ahead
from shop import services
from shop.errors import BadQuantity, PickupRefused, SoldOut, StockRefused, WrongState
from shop.models import CartLine, Fulfilment, Order, Stock, StockMovement
from tests.shop import builders, goods
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def timeline(db: None) -> None:
    prepare_months_ahead(1)


def split_order() -> tuple[Order, Any, Any, Store]:
    """Paid: two dresses from the warehouse, one scarf from the lake."""
    dress, scarf, lake = builders.sku(stock=2), builders.sku(stock=0), store(HUBIN)
    lay(scarf, lake, 1)
    order = placed(builders.member(), (dress, 2), (scarf, 1))
    return builders.pay(order), dress, scarf, lake


def collected_order(member: Any = None) -> tuple[Order, Any, Store]:
    dress, shop = builders.sku(stock=0), store(XINTIANDI)
    lay(dress, shop, 1)
    order = placed(member or builders.member(), (dress, 1), pickup=shop)
    return builders.pay(order), dress, shop


def findings() -> set[str]:
    return {finding.check for finding in run_audit()[1]}


def test_an_order_from_two_stores_is_shipped_when_both_parcels_left():
    order, dress, scarf, lake = split_order()
    parts = {part.store_id: part for part in order.fulfilments.all()}
    assert {(part.state, part.reason) for part in parts.values()} == {("waiting", "split")}
    services.ship_order(
        order_id=order.pk, store_id=lake.pk, carrier="顺丰速运", tracking_number="SF1", by="李娜"
    )
    order.refresh_from_db()
    assert (order.status, level(scarf, lake), builders.stock_of(dress)) == ("paid", (0, 0), (2, 2))
    assert findings() == set()
    for rest in (
        services.warehouse_id(),
        None,
    ):  # a slip of the pen: nothing has left, and nobody is told it had
        with pytest.raises(WrongState):
            services.ship_order(order_id=order.pk, store_id=rest, carrier="顺丰速运", tracking_number="SF1")
    services.ship_order(order_id=order.pk, carrier="中通快递", tracking_number="ZT1")  # what is left
    order.refresh_from_db()
    assert (order.status, builders.stock_of(dress)) == ("shipped", (0, 0))
    assert [parcel.fulfilment_id for parcel in order.shipments.order_by("pk")] == [
        parts[lake.pk].pk,
        parts[services.warehouse_id()].pk,
    ]
    assert DomainEvent.objects.filter(name="shop.OrderShipped").count() == 1
    services.ship_order(order_id=order.pk, store_id=lake.pk, carrier="顺丰速运", tracking_number="SF2")
    assert level(scarf, lake) == (0, 0)
    assert findings() == set()


def test_one_parcel_may_leave_for_all_and_a_strange_store_sends_nothing():
    order, dress, scarf, lake = split_order()
    with pytest.raises(WrongState):
        services.ship_order(
            order_id=order.pk, store_id=store(XINTIANDI).pk, carrier="顺丰速运", tracking_number="SF1"
        )
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    order.refresh_from_db()
    assert (order.status, level(scarf, lake), builders.stock_of(dress)) == ("shipped", (0, 0), (0, 0))


def test_a_refund_gives_back_only_what_has_not_left():
    order, dress, scarf, lake = split_order()
    services.ship_order(order_id=order.pk, store_id=lake.pk, carrier="顺丰速运", tracking_number="SF1")
    refund = services.refund_order(order_id=order.pk, reason="缺货", by="小运")
    with pytest.raises(WrongState):
        services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF2")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="1", status="SUCCESS", refund_fen=refund.amount_fen
    )
    assert (builders.stock_of(dress), level(scarf, lake)) == ((2, 0), (0, 0))
    assert sorted(order.fulfilments.values_list("state", flat=True)) == ["cancelled", "shipped"]
    assert findings() == set()


def test_a_pickup_is_redeemed_once_and_only_in_its_store():
    order, dress, shop = collected_order()
    part = order.fulfilments.get()
    assert re.fullmatch("[0-9]{8}", part.code)
    with pytest.raises(WrongState):
        services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    services.mark_ready(fulfilment_id=part.pk, by="李娜")
    services.mark_ready(fulfilment_id=part.pk, by="李娜")
    assert DomainEvent.objects.filter(name="shop.PickupReady").count() == 1
    with pytest.raises(PickupRefused) as refusal:
        services.redeem_pickup(code=part.code, store_id=store(HUBIN).pk, by="赵敏")
    assert refusal.value.code == "wrong_store"
    services.redeem_pickup(code=part.code, store_id=shop.pk, by="李娜")
    order.refresh_from_db()
    assert (order.status, level(dress, shop)) == ("received", (0, 0))
    assert order.log.filter(action="handed_over").get().actor == "李娜"
    with pytest.raises(PickupRefused) as refusal:
        services.redeem_pickup(code=part.code, store_id=shop.pk, by="李娜")
    assert refusal.value.code == "used"
    assert DomainEvent.objects.filter(name="shop.OrderReceived").count() == 1
    assert findings() == set()


def test_a_refunded_pickup_is_not_handed_over():
    order, dress, shop = collected_order()
    part = order.fulfilments.get()
    services.refund_order(order_id=order.pk, reason="不想要了", by="小运")
    with pytest.raises(PickupRefused) as refusal:
        services.redeem_pickup(code=part.code, store_id=shop.pk, by="李娜")
    assert refusal.value.code == "refunded"
    assert level(dress, shop) == (1, 1)


@pytest.mark.parametrize(
    "typed", ["", "1234567", "１２３４５６７８", "🐟" * 5000, "12345678; DROP", "00000000"]
)
def test_a_code_that_is_none_is_refused(typed):
    with pytest.raises(PickupRefused) as refusal:
        services.redeem_pickup(code=services.pickup_code(typed), store_id=1, by="李娜")
    assert refusal.value.code == "unknown_code"


def test_codes_are_read_as_typed_or_scanned():
    assert services.pickup_code(" 1234 5678 ") == "12345678"
    assert services.pickup_code("https://shop.example/staff/pickup/?code=12345678&from=qr") == "12345678"


def test_the_database_holds_the_codes_apart():
    one, _dress, _shop = collected_order()
    two, _dress, _shop = collected_order()
    with pytest.raises(IntegrityError), transaction.atomic():
        Fulfilment.objects.filter(order=two).update(code=one.fulfilments.get().code)
    with pytest.raises(IntegrityError), transaction.atomic():
        Fulfilment.objects.filter(order=two).update(code="")


class TestStocktaking:
    def test_books_differences_once_and_what_was_sold_meanwhile_stays_sold(self):
        dress, scarf, home = builders.sku(stock=10), builders.sku(stock=0), services.warehouse_id()
        round_ = services.open_stocktake(store_id=home, title="月末", by="店长")
        services.count_skus(stocktake_id=round_.pk, counts=[(dress.pk, 9), (scarf.pk, 2)], by="店长")
        services.count_skus(stocktake_id=round_.pk, counts=[(dress.pk, 8)], by="店长")
        order = builders.pay(builders.order(builders.member(), (dress, 1)))
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
        for _ in range(2):
            services.book_stocktake(stocktake_id=round_.pk, by="店长")
        assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((7, 0), (2, 0))
        movement = StockMovement.objects.get(cause=f"stocktake:{round_.pk}", stock__sku=dress)
        assert (movement.on_hand_change, movement.actor, movement.note) == (-2, "店长", "月末")
        with pytest.raises(WrongState):
            services.count_skus(stocktake_id=round_.pk, counts=[(dress.pk, 9)])
        with pytest.raises(WrongState):
            services.cancel_stocktake(stocktake_id=round_.pk)
        assert findings() == set()

    def test_books_nothing_when_orders_reserved_more_than_was_counted(self):
        dress, scarf = builders.sku(stock=5), builders.sku(stock=5)
        builders.order(builders.member(), (dress, 4))
        round_ = services.open_stocktake(store_id=services.warehouse_id())
        services.count_skus(stocktake_id=round_.pk, counts=[(dress.pk, 3), (scarf.pk, 1)])
        with pytest.raises(StockRefused) as refusal:
            services.book_stocktake(stocktake_id=round_.pk)
        assert f"{dress.code} (4)" in refusal.value.message
        assert builders.stock_of(scarf) == (5, 0)
        services.cancel_stocktake(stocktake_id=round_.pk)
        assert findings() == set()

    @pytest.mark.parametrize("count", [-1, 10_000_001, 10**12])
    def test_refuses_senseless_counts(self, count):
        round_ = services.open_stocktake(store_id=services.warehouse_id())
        with pytest.raises(BadQuantity):
            services.count_skus(stocktake_id=round_.pk, counts=[(builders.sku().pk, count)])
        assert round_.lines.count() == 0


class TestTransfers:
    def test_leave_one_store_and_arrive_in_the_other_with_their_difference(self):
        dress, lake, home = builders.sku(stock=10), store(HUBIN), services.warehouse_id()
        made = services.create_transfer(
            sender_id=home, receiver_id=lake.pk, lines=[(dress.pk, 4), (dress.pk, 2)], by="店长"
        )
        assert builders.stock_of(dress) == (10, 0)
        for _ in range(2):
            services.send_transfer(transfer_id=made.pk, by="店长")
        assert level(dress, services.warehouse_id()) == (4, 0)
        assert findings() == set()
        with pytest.raises(BadQuantity):
            services.receive_transfer(transfer_id=made.pk, arrived={dress.pk: -1})
        for _ in range(2):
            services.receive_transfer(transfer_id=made.pk, arrived={dress.pk: 5}, by="赵敏", note="破损一件")
        assert (level(dress, lake), made.lines.get().difference) == ((5, 0), -1)
        assert findings() == set()

    def test_do_not_send_what_orders_have_reserved(self):
        dress, lake, home = builders.sku(stock=3), store(HUBIN), services.warehouse_id()
        builders.order(builders.member(), (dress, 2))
        made = services.create_transfer(sender_id=home, receiver_id=lake.pk, lines=[(dress.pk, 2)])
        with pytest.raises(StockRefused) as refusal:
            services.send_transfer(transfer_id=made.pk)
        assert f"{dress.code} (1)" in refusal.value.message
        services.cancel_transfer(transfer_id=made.pk)
        with pytest.raises(WrongState):
            services.send_transfer(transfer_id=made.pk)
        assert builders.stock_of(dress) == (3, 2)

    @pytest.mark.parametrize("pieces", [0, -3, 10**9])
    def test_refuse_senseless_numbers_and_the_same_store(self, pieces):
        dress, home = builders.sku(), services.warehouse_id()
        with pytest.raises(BadQuantity):
            services.create_transfer(sender_id=home, receiver_id=store(HUBIN).pk, lines=[(dress.pk, pieces)])
        with pytest.raises(BadQuantity):
            services.create_transfer(sender_id=home, receiver_id=home, lines=[(dress.pk, 1)])


def test_what_lies_in_no_store_is_neither_counted_nor_moved():
    voucher, home = goods.service(), services.warehouse_id()
    round_ = services.open_stocktake(store_id=home)
    with pytest.raises(StockRefused):
        services.count_skus(stocktake_id=round_.pk, counts=[(voucher.pk, 5)])
    with pytest.raises(StockRefused):
        services.create_transfer(sender_id=home, receiver_id=store(HUBIN).pk, lines=[(voucher.pk, 1)])
    assert not round_.lines.exists()


def test_a_guide_orders_a_missing_size_from_elsewhere():
    dress, lake, guest = builders.sku(stock=0), store(HUBIN), builders.member()
    lay(dress, lake, 1)
    served = services.order_elsewhere(member_id=guest.pk, sku_id=dress.pk, by="李娜")
    assert [part.store_id for part in served] == [lake.pk]
    assert CartLine.objects.get(member_id=guest.pk).sku_id == dress.pk
    with pytest.raises(SoldOut):
        services.order_elsewhere(member_id=guest.pk, sku_id=dress.pk, quantity=2, by="李娜")
    assert CartLine.objects.get(member_id=guest.pk).quantity == 1


def test_what_was_shipped_is_received_by_itself_after_its_time():
    order, *_rest = split_order()
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    order.refresh_from_db()
    assert order.due_at is not None
    assert order.due_at > clock.now() + timedelta(days=1)
    assert Stock.objects.filter(reserved__gt=0).count() == 0
