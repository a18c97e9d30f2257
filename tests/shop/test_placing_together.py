"""Orders that are written by one statement are those that each buyer would have got alone."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from core import clock
from core.audits import run_audit
from core.models import DomainEvent, EventDelivery, LedgerHold
from shop import services
from shop.models import CartLine, CouponGrant, Order, PointsPolicy, Product, ProductTally, Sku, Stock
from shop.pricing.types import Choices
from shop.services import placing, placing_together
from shop.services.placing_together import BUSY, PLACED, WrittenOrder, _write_together, write_order
from tests.shop import builders, instruments
from tests.shop.test_races import at_once

OWN = {
    "id",
    "number",
    "member_id",
    "idempotency_key",
    "order_id",
    "line_id",
    "event_id",
    "cause",
    "grant_id",
    "source",
}


class _Stop(Exception):
    pass


@pytest.fixture
def worded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WrittenOrder]:
    """What an order would be written with, without writing it."""

    def made(place: Callable[[], Any]) -> WrittenOrder:
        kept: list[WrittenOrder] = []

        def keep(order: WrittenOrder, *, is_alone: bool) -> str:
            kept.append(order)
            raise _Stop

        with monkeypatch.context() as patch:
            patch.setattr(placing, "write_order", keep)
            with pytest.raises(_Stop):
                place()
        return kept[0]

    return made


def rows_of(order: Order) -> list[Any]:
    """All rows of an order without what differs between any two."""
    event = DomainEvent.objects.get(key=f"order:{order.pk}")
    hold = LedgerHold.objects.get(cause=f"order:{order.pk}:points")
    found = [
        [
            {name: value for name, value in row.items() if name not in OWN and not name.endswith("_after")}
            for row in queryset.order_by("pk").values()
        ]
        for queryset in (
            Order.objects.filter(pk=order.pk),
            order.lines.all(),
            order.discounts.all(),
            order.log.all(),
            order.stock_movements.all(),
        )
    ]
    grant = CouponGrant.objects.get(order_id=order.pk)
    assert event.payload["order_id"] == order.pk
    assert (hold.account.owner_id, grant.member_id) == (order.member_id, order.member_id)
    return [
        *found,
        (
            event.name,
            event.occurred_at,
            event.payload["member_id"] == order.member_id,
            event.payload["total_fen"],
        ),
        sorted(EventDelivery.objects.filter(event=event).values_list("handler", "queue", "next_attempt_at")),
        (hold.amount, hold.status, hold.placed_at),
        (grant.state, grant.used_at),
        list(ProductTally.objects.filter(member_id=order.member_id).values_list("product_id", "taken")),
        CartLine.objects.filter(member_id=order.member_id).count(),
    ]


@pytest.mark.django_db
def test_three_orders_of_one_statement_are_what_the_fourth_is_alone(worded: Any) -> None:
    """Of the same goods, with coupon, points, a limit per member, from the cart."""
    dress, scarf = builders.sku(stock=20), builders.sku(stock=20, price_fen=3_300)
    Product.objects.filter(pk=dress.product_id).update(limit_per_member=2)
    PointsPolicy.objects.create(pk=1)
    coupon = instruments.coupon()
    with clock.travel(clock.now()):
        buyers = [builders.member() for _ in range(4)]
        for buyer in buyers:
            instruments.give_points(buyer, 3_000)
            services.grant_coupon(coupon_id=coupon.pk, member_id=buyer.pk, key=f"together-{buyer.pk}")
            services.add_to_cart(member_id=buyer.pk, sku_id=dress.pk, quantity=2)

        def place(buyer: Any) -> Order:
            return services.place_order(
                member_id=buyer.pk,
                lines=[(dress.pk, 2), (scarf.pk, 1)],
                address=builders.ADDRESS,
                idempotency_key=f"together-{buyer.pk}",
                choices=Choices(points=10**9),
                from_cart=True,
            )

        alone, *asked = buyers
        usual = place(alone)
        orders = [worded(lambda buyer=buyer: place(buyer)) for buyer in asked]
        assert _write_together(orders) == [PLACED] * 3
        again = [place(buyer) for buyer in asked]
    assert [order.pk for order in again] == [one.order_id for one in orders]
    for order in again:
        assert rows_of(order) == rows_of(usual)
    assert order.points_used > 0
    assert [builders.stock_of(sku) for sku in (dress, scarf)] == [(20, 8), (20, 4)]
    assert run_audit()[1] == []
    # Each of them under a key that is taken: nothing is written, and each caller looks for herself.
    assert _write_together(orders) == [BUSY] * 3


@pytest.mark.django_db
def test_one_that_cannot_be_written_spoils_no_others(worded: Any) -> None:
    last, plenty = builders.sku(stock=1), builders.sku(stock=9)
    buyers = [builders.member() for _ in range(3)]
    orders = [
        worded(lambda buyer=buyer, sku=sku: builders.order(buyer, (sku, 1)))
        for buyer, sku in zip(buyers, (last, last, plenty), strict=True)
    ]
    assert _write_together(orders) == [BUSY] * 3
    assert (Order.objects.count(), builders.stock_of(plenty)) == (0, (9, 0))
    assert [write_order(order, is_alone=False) for order in orders] == [PLACED, "stock", PLACED]
    second = worded(lambda: builders.order(buyers[0], (plenty, 1)))
    third = worded(lambda: builders.order(buyers[0], (plenty, 2)))
    assert _write_together([second, third]) == [PLACED, BUSY]
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_row_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds one SKU's stock for long: others are served meanwhile, and who wants it when it is free."""
    monkeypatch.setattr(placing_together, "PATIENCE", "20ms")
    held, free = builders.sku(), builders.sku()
    patient, *others = [builders.member() for _ in range(4)]
    is_held, served = threading.Event(), threading.Event()
    waiting: list[bool] = []

    def hold() -> None:
        with transaction.atomic():
            Stock.objects.select_for_update().get(sku=held)
            is_held.set()
            assert served.wait(60)
            waiting.append(not Order.objects.filter(member=patient).exists())

    def buy(buyer: Any, sku: Sku) -> Order:
        assert is_held.wait(60)
        return builders.order(buyer, (sku, 1))

    def buy_free() -> None:
        at_once(*[lambda buyer=buyer: buy(buyer, free) for buyer in others])
        served.set()

    found = at_once(hold, lambda: buy(patient, held), buy_free)
    assert not any(isinstance(one, Exception) for one in found), found
    assert waiting == [True]
    assert (builders.stock_of(held), builders.stock_of(free)) == ((10, 1), (10, 3))


@pytest.mark.django_db(transaction=True)
def test_a_crowd_orders_the_same_goods_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve buyers, eight pieces: what fails as a batch is written one by one."""
    batches: list[int] = []
    write = placing_together._call

    def counted(orders: Any, *, patience: str = "") -> str:
        batches.append(len(orders))
        return write(orders, patience=patience)

    monkeypatch.setattr(placing_together, "_call", counted)
    sku, other = builders.sku(stock=8), builders.sku(stock=50)
    buyers = [builders.member() for _ in range(12)]
    at_once(*[lambda buyer=buyer: builders.order(buyer, (sku, 1), (other, 1)) for buyer in buyers])
    assert max(batches) > 1
    assert Order.objects.count() == 8
    assert (builders.stock_of(sku), builders.stock_of(other)) == ((8, 8), (50, 8))
    assert run_audit()[1] == []
