"""Two colleagues at one moment: threads with connections of their own against a real database."""

from collections import Counter

import pytest

from core.audits import run_audit
from core.models import DomainEvent
from crm.services import prepare_months_ahead
from shop import services
from shop.models import Order, StockMovement
from tests.shop import builders
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store
from tests.shop.test_races import at_once, buying

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def timeline(transactional_db: None) -> None:
    prepare_months_ahead(1)


def test_six_colleagues_with_one_code_hand_over_once():
    dress, shop = builders.sku(stock=0), store(XINTIANDI)
    lay(dress, shop, 3)
    order = builders.pay(placed(builders.member(), (dress, 1), pickup=shop))
    code = order.fulfilments.get().code
    results = at_once(
        *[lambda: services.redeem_pickup(code=code, store_id=shop.pk, by="李娜") for _ in range(6)]
    )
    assert Counter(type(result).__name__ for result in results) == {"Fulfilment": 1, "PickupRefused": 5}
    assert {result.code for result in results if hasattr(result, "message")} == {"used"}
    assert level(dress, shop) == (2, 0)
    assert DomainEvent.objects.filter(name="shop.OrderReceived").count() == 1


def test_a_refund_and_a_hand_over_at_once_never_both_happen():
    dress, shop = builders.sku(stock=0), store(XINTIANDI)
    lay(dress, shop, 4)
    for _ in range(4):
        order = builders.pay(placed(builders.member(), (dress, 1), pickup=shop))
        code = order.fulfilments.get().code
        handed, _refund = at_once(
            lambda code=code: services.redeem_pickup(code=code, store_id=shop.pk, by="李娜"),
            lambda order=order: services.refund_order(order_id=order.pk, reason="破损", by="小运"),
        )
        order.refresh_from_db()
        if (
            type(handed).__name__ == "Fulfilment"
        ):  # she had it first; the refund then is one of a received order
            assert order.status == Order.RECEIVED
        else:
            assert (order.status, handed.code) == (Order.PAID, "refunded")


def test_orders_that_two_stores_share_never_take_more_than_there_is_and_ship_at_once():
    dress, scarf, lake = builders.sku(stock=5), builders.sku(stock=0), store(HUBIN)
    lay(dress, lake, 4)
    lay(scarf, lake, 9)
    buyers = [builders.member() for _ in range(8)]
    results = at_once(*[lambda buyer=buyer: placed(buyer, (dress, 2), (scarf, 1)) for buyer in buyers])
    assert Counter(type(result).__name__ for result in results) == {"Order": 4, "SoldOut": 4}
    assert level(dress, lake)[1] + level(dress, services.warehouse_id())[1] == 8
    for order in [builders.pay(result) for result in results if isinstance(result, Order)]:
        places = list(order.fulfilments.values_list("store_id", flat=True))
        shipped = at_once(
            *[
                lambda order=order, place=place: services.ship_order(
                    order_id=order.pk, store_id=place, carrier="顺丰", tracking_number=f"SF{place}"
                )
                for place in places
            ]
        )
        assert {type(one).__name__ for one in shipped} == {"Shipment"}
        order.refresh_from_db()
        assert order.status == Order.SHIPPED
    assert DomainEvent.objects.filter(name="shop.OrderShipped").count() == 4
    assert run_audit()[1] == []


def test_counting_a_store_while_orders_come_in_loses_nothing():
    dress, home = builders.sku(stock=20), services.warehouse_id()
    round_ = services.open_stocktake(store_id=home)
    services.count_skus(stocktake_id=round_.pk, counts=[(dress.pk, 12)])
    calls = [buying((dress, 2)) for _ in range(8)]
    calls += [lambda: services.book_stocktake(stocktake_id=round_.pk, by="店长") for _ in range(2)]
    results = Counter(type(result).__name__ for result in at_once(*calls))
    assert set(results) <= {"Order", "SoldOut", "Stocktake", "StockRefused"}
    on_hand, reserved = builders.stock_of(dress)
    booked = StockMovement.objects.filter(cause=f"stocktake:{round_.pk}").count()
    # Either the count came in time and no more than twelve were sold, or the orders did and nothing was booked.
    assert (on_hand, booked) in [(12, 1), (20, 0)]
    assert reserved == results["Order"] * 2 <= on_hand
    assert run_audit()[1] == []
