"""What must hold when many come at once: threads with connections of their own against a real database."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from core.models import DomainEvent
from shop import services
from shop.errors import PlatformBusy, SoldOut, WrongState
from shop.models import Order, Payment, Refund, StockMovement
from tests.databases import somebody_waits
from tests.shop import builders

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same moment, each in its own thread; their results, or the exceptions they raised."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(60)
            results[place] = call()
        except Exception as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def one_holds_while_other_waits(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """`first` has written but not committed when `second` begins; it commits only when `second` waits for it."""
    written, results = threading.Event(), [None, None]

    def hold() -> None:
        try:
            with transaction.atomic():
                results[0] = first()
                written.set()
                for _ in range(1_200):
                    if somebody_waits():
                        break
                    threading.Event().wait(0.05)
                else:
                    raise AssertionError("the second command never waited: it does not lock the order")
        except Exception as error:
            results[0] = error
        finally:
            written.set()
            connection.close()

    def follow() -> None:
        written.wait(60)
        try:
            results[1] = second()
        except Exception as error:
            results[1] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=hold), threading.Thread(target=follow)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results[0], results[1]


def test_forty_buyers_of_ten_pieces_get_exactly_ten():
    dress = builders.sku(stock=10)
    results = at_once(*[buying((dress, 1)) for _ in range(40)])
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"Order": 10, "SoldOut": 30}
    assert builders.stock_of(dress) == (10, 10)
    assert Order.objects.count() == 10
    assert StockMovement.objects.filter(reason="reserve").count() == 10
    assert DomainEvent.objects.filter(name="shop.OrderPlaced").count() == 10


def test_the_last_pieces_are_named_to_those_who_want_more():
    dress = builders.sku(stock=5)
    results = at_once(*[buying((dress, 3)) for _ in range(6)])
    refused = [result for result in results if isinstance(result, SoldOut)]
    assert len(refused) == 5
    assert {refusal.shortages[0].available for refusal in refused} == {2}


def test_eight_requests_with_one_key_make_one_order():
    buyer, dress = builders.member(), builders.sku(stock=10)
    results = at_once(*[lambda: builders.order(buyer, (dress, 1), key="one-and-the-same")] * 8)
    assert {result.pk for result in results} == {Order.objects.get().pk}
    assert builders.stock_of(dress) == (10, 1)
    assert DomainEvent.objects.filter(name="shop.OrderPlaced").count() == 1


def test_orders_of_the_same_goods_in_any_sequence_do_not_block_each_other():
    one, two = builders.sku(stock=100), builders.sku(stock=100)
    calls = []
    for number in range(16):
        lines = ((one, 1), (two, 1)) if number % 2 else ((two, 1), (one, 1))
        calls.append(buying(*lines))
    assert {type(result) for result in at_once(*calls)} == {Order}
    assert (builders.stock_of(one), builders.stock_of(two)) == ((100, 16), (100, 16))


def test_four_notices_at_once_are_booked_once():
    buyer = builders.member()
    made = builders.payment(builders.order(buyer, (builders.sku(), 1)))
    results = at_once(*[lambda: builders.confirm(made, "420001")] * 4)
    assert {type(result) for result in results} == {Order}
    stats = apps.get_model("crm", "MemberStats").objects.get(member_id=buyer.pk)
    assert (stats.orders_count, stats.paid_fen) == (1, made.amount_fen)
    assert Payment.objects.get().difference == ""
    assert DomainEvent.objects.filter(name="shop.OrderPaid").count() == 1
    assert Refund.objects.count() == 0


def test_payment_first_and_time_out_second_leaves_the_order_paid():
    dress = builders.sku(stock=1)
    order = builders.order(builders.member(), (dress, 1))
    made = builders.payment(order)
    _paid, released = one_holds_while_other_waits(lambda: builders.confirm(made), lambda: release(order))
    assert isinstance(released, WrongState)
    order.refresh_from_db()
    assert (order.status, builders.stock_of(dress)) == ("paid", (1, 1))


def test_time_out_first_and_payment_second_takes_the_goods_again():
    dress = builders.sku(stock=1)
    order = builders.order(builders.member(), (dress, 1))
    made = builders.payment(order)
    Payment.objects.update(status=Payment.CLOSED)
    released, paid = one_holds_while_other_waits(lambda: release(order), lambda: builders.confirm(made))
    assert (released.status, paid.status) == ("cancelled", "paid")
    assert builders.stock_of(dress) == (1, 1)
    assert list(StockMovement.objects.order_by("pk").values_list("reserved_change", flat=True)[1:]) == [
        1,
        -1,
        1,
    ]


def test_a_payment_started_during_the_time_out_keeps_the_stock():
    dress = builders.sku(stock=1)
    order = builders.order(builders.member(), (dress, 1))
    _started, released = one_holds_while_other_waits(lambda: builders.payment(order), lambda: release(order))
    assert isinstance(released, WrongState)
    assert builders.stock_of(dress) == (1, 1)


def test_a_payment_started_during_a_change_of_price_keeps_the_price():
    order = builders.order(builders.member(), (builders.sku(), 1))
    _started, changed = one_holds_while_other_waits(
        lambda: builders.payment(order),
        lambda: services.change_price(
            order_id=order.pk, goods_fen=1, shipping_fen=0, reason="改价", by="小运"
        ),
    )
    assert isinstance(
        changed, WrongState | PlatformBusy
    )  # it sees the payment under the lock, or asks WeChat before
    assert Payment.objects.get().amount_fen == Order.objects.get().total_fen == 9_900


def test_two_operators_ship_one_order_once():
    dress = builders.sku(stock=5)
    order = builders.pay(builders.order(builders.member(), (dress, 2)))
    results = at_once(
        *[
            lambda number=number: services.ship_order(
                order_id=order.pk, carrier="顺丰", tracking_number=f"SF{number}"
            )
            for number in range(3)
        ]
    )
    assert {type(result).__name__ for result in results} == {"Shipment"}
    assert builders.stock_of(dress) == (3, 0)


def test_two_requests_for_a_refund_make_one():
    order = builders.pay(builders.order(builders.member(), (builders.sku(), 1)))
    results = at_once(*[lambda: services.refund_order(order_id=order.pk, reason="缺货", by="小运")] * 4)
    assert {result.pk for result in results} == {Refund.objects.get().pk}


def test_counting_and_ordering_at_once_never_leave_less_than_is_reserved():
    dress = builders.sku(stock=10)
    calls = [buying((dress, 2)) for _ in range(5)]
    calls += [
        lambda number=number: services.adjust_stock(sku_id=dress.pk, change=-3, cause=f"count:{number}")
        for number in range(3)
    ]
    at_once(*calls)
    on_hand, reserved = builders.stock_of(dress)
    assert 0 <= reserved <= on_hand
    moved = StockMovement.objects.values_list("on_hand_change", "reserved_change")
    assert (on_hand, reserved) == (sum(row[0] for row in moved), sum(row[1] for row in moved))


def buying(*lines: tuple[Any, int]) -> Callable[[], Order]:
    """A new member's order, to be placed later."""
    buyer = builders.member()
    return lambda: builders.order(buyer, *lines)


def release(order: Order) -> Order:
    return services.release_order(order_id=order.pk, reason="未在规定时间内付款", actor="system")
