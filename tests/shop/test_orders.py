"""Placing, shipping, receiving and cancelling orders."""

from datetime import timedelta

import pytest

from core import clock
from core.models import DomainEvent
from shop import services
from shop.errors import (
    BadAddress,
    BadQuantity,
    EmptyOrder,
    NotForSale,
    PriceChanged,
    SoldOut,
    WrongState,
)
from shop.models import CartLine, Order, OrderLine, StockMovement
from shop.services import AddressInput, fulfilment
from tests.shop import builders

pytestmark = pytest.mark.django_db


def test_an_order_freezes_prices_names_and_address_and_reserves_its_stock():
    buyer, dress, scarf = builders.member(), builders.sku(price_fen=29_900), builders.sku(price_fen=5_050)
    order = builders.order(buyer, (dress, 2), (scarf, 1))
    stored = Order.objects.get(pk=order.pk)
    assert (stored.number, stored.total_fen, stored.status) == (order.number, 64_850, "pending_payment")
    assert (stored.receiver, stored.region) == ("王小池", "上海市 上海市 静安区")
    assert stored.expires_at == stored.placed_at + timedelta(minutes=30)
    assert len(stored.number) == 18
    lines = list(
        stored.lines.order_by("sku_id").values_list("product_name", "sku_name", "quantity", "total_fen")
    )
    assert lines == [(dress.product.name, "雾蓝 M", 2, 59_800), (scarf.product.name, "雾蓝 M", 1, 5_050)]
    assert builders.stock_of(dress) == (10, 2)
    movement = StockMovement.objects.get(cause=f"order:{order.pk}:reserve", stock__sku=dress)
    assert (movement.on_hand_change, movement.reserved_change, movement.reserved_after) == (0, 2, 2)
    assert DomainEvent.objects.filter(name="shop.OrderPlaced", key=f"order:{order.pk}").count() == 1
    assert stored.log.get().action == "placed"
    dress.price_fen = 1
    dress.save()
    assert OrderLine.objects.get(order=order, sku=dress).unit_price_fen == 29_900


def test_the_same_sku_twice_becomes_one_line():
    dress = builders.sku()
    order = builders.order(builders.member(), (dress, 1), (dress, 2))
    assert order.lines.get().quantity == 3


def test_an_order_costs_few_round_trips(django_assert_max_num_queries):
    buyer, skus = builders.member(), [builders.sku() for _ in range(3)]
    with django_assert_max_num_queries(7):  # savepoint and its release stand for begin and commit
        builders.order(buyer, *[(sku, 1) for sku in skus])


def test_the_same_key_gives_the_same_order_also_when_it_is_sold_out_since():
    buyer, dress = builders.member(), builders.sku(stock=1)
    first = builders.order(buyer, (dress, 1), key="the-same-key")
    again = builders.order(buyer, (dress, 1), key="the-same-key")
    assert again.pk == first.pk
    assert Order.objects.count() == 1
    assert builders.stock_of(dress) == (1, 1)


def test_two_members_may_use_the_same_key():
    dress = builders.sku()
    first = builders.order(builders.member(), (dress, 1), key="the-same-key")
    second = builders.order(builders.member(), (dress, 1), key="the-same-key")
    assert first.pk != second.pk


def test_what_is_short_is_named_and_nothing_is_ordered():
    buyer, dress, scarf = builders.member(), builders.sku(stock=2), builders.sku(stock=5)
    with pytest.raises(SoldOut) as refusal:
        builders.order(buyer, (scarf, 1), (dress, 3))
    assert "仅剩 2 件" in refusal.value.message
    assert dress.product.name in refusal.value.message
    assert [shortage.sku_id for shortage in refusal.value.shortages] == [dress.pk]
    assert Order.objects.count() == 0
    assert DomainEvent.objects.filter(name="shop.OrderPlaced").count() == 0
    assert builders.stock_of(scarf) == (5, 0)


def test_a_price_that_changed_since_it_was_shown_is_said_before_ordering():
    dress = builders.sku(price_fen=29_900)
    wanted = {"member_id": builders.member().pk, "lines": [(dress.pk, 2)], "address": builders.ADDRESS}
    with pytest.raises(PriceChanged) as refusal:
        services.place_order(**wanted, idempotency_key="some-good-key", expected_total_fen=50_000)
    assert "598.00" in refusal.value.message
    assert Order.objects.count() == 0
    services.place_order(**wanted, idempotency_key="some-good-key", expected_total_fen=59_800)


def test_what_is_off_sale_cannot_be_ordered():
    dress = builders.sku()
    services.set_products_status(product_ids=[dress.product_id], status="off")
    with pytest.raises(NotForSale):
        builders.order(builders.member(), (dress, 1))
    assert Order.objects.count() == 0


@pytest.mark.parametrize(
    ("lines", "error"),
    [([], EmptyOrder), ([(1, 0)], BadQuantity), ([(1, -3)], BadQuantity), ([(1, 1000)], BadQuantity)],
)
def test_senseless_quantities_are_refused(lines, error):
    with pytest.raises(error):
        services.place_order(
            member_id=1, lines=lines, address=builders.ADDRESS, idempotency_key="some-good-key"
        )


def test_an_incomplete_address_names_its_fields():
    dress = builders.sku()
    with pytest.raises(BadAddress) as refusal:
        services.place_order(
            member_id=builders.member().pk,
            lines=[(dress.pk, 1)],
            address=AddressInput("", "12", "上海市", "上海市", "", ""),
            idempotency_key="some-good-key",
        )
    assert set(refusal.value.fields) == {"receiver", "phone", "street"}


def test_ordering_from_the_cart_takes_only_the_ordered_lines_out():
    buyer, dress, scarf = builders.member(), builders.sku(), builders.sku()
    services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk)
    services.add_to_cart(member_id=buyer.pk, sku_id=scarf.pk)
    services.place_order(
        member_id=buyer.pk,
        lines=[(dress.pk, 1)],
        address=builders.ADDRESS,
        idempotency_key="some-good-key",
        from_cart=True,
    )
    assert list(CartLine.objects.values_list("sku_id", flat=True)) == [scarf.pk]


def test_shipping_takes_the_goods_from_the_shelf_once():
    buyer, dress = builders.member(), builders.sku(stock=5)
    order = builders.pay(builders.order(buyer, (dress, 2)))
    first = services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number=" SF 123 ", by="店长")
    again = services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF123", by="店长")
    assert first.pk == again.pk
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF124", by="店长")
    order.refresh_from_db()
    assert (order.status, order.shipments.count()) == ("shipped", 2)
    assert builders.stock_of(dress) == (3, 0)
    assert DomainEvent.objects.filter(name="shop.OrderShipped").count() == 1


def test_an_unpaid_order_cannot_be_shipped():
    dress = builders.sku()
    order = builders.order(builders.member(), (dress, 1))
    with pytest.raises(WrongState):
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    assert order.shipments.count() == 0
    assert builders.stock_of(dress) == (10, 1)


def test_a_parcel_is_received_by_the_shopper_or_after_ten_days(monkeypatch):
    buyer, dress = builders.member(), builders.sku()
    by_hand, broken, by_time = (builders.pay(builders.order(buyer, (dress, 1))) for _ in range(3))
    for order in (by_hand, broken, by_time):
        services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number=f"SF{order.pk}")
    services.confirm_receipt(order_id=by_hand.pk, member_id=buyer.pk)
    assert services.receive_due_orders() == 0
    receive = fulfilment.receive_order
    with clock.travel(timedelta(days=10, minutes=1)), monkeypatch.context() as ours:
        ours.setattr(  # a fault of ours stands in no other's way
            fulfilment,
            "receive_order",
            lambda order_id, **more: 1 // (order_id != broken.pk) and receive(order_id=order_id, **more),
        )
        assert [services.receive_due_orders() for _turn in range(2)] == [1, 0]
    with clock.travel(timedelta(days=10, hours=1, minutes=2)):
        assert services.receive_due_orders() == 1
    assert set(Order.objects.values_list("status", flat=True)) == {"received"}


def test_another_member_cannot_receive_my_parcel():
    dress = builders.sku()
    order = builders.pay(builders.order(builders.member(), (dress, 1)))
    services.ship_order(order_id=order.pk, carrier="顺丰", tracking_number="SF1")
    with pytest.raises(services.orders.NoSuchOrder):
        services.confirm_receipt(order_id=order.pk, member_id=builders.member().pk)


def test_a_released_order_gives_its_stock_back_once():
    dress = builders.sku()
    order = builders.order(builders.member(), (dress, 4))
    for _ in range(2):
        services.release_order(order_id=order.pk, reason="不想要了", actor="member")
    order.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "不想要了")
    assert builders.stock_of(dress) == (10, 0)
    assert DomainEvent.objects.filter(name="shop.OrderCancelled").count() == 1


def test_an_order_with_an_open_payment_is_not_released():
    dress = builders.sku()
    order = builders.order(builders.member(), (dress, 1))
    builders.payment(order)
    with pytest.raises(WrongState):
        services.release_order(order_id=order.pk, reason="", actor="member")
    assert builders.stock_of(dress) == (10, 1)
