"""Merged shipping: several orders of one member leave a store in one parcel."""

from collections import Counter
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from core.audits import run_audit
from core.events import deliver_due
from core.models import DomainEvent
from crm import sessions
from crm.services import prepare_months_ahead
from shop import logistics, queries, services
from shop.errors import NoSuchOrder, WrongState
from shop.models import Fulfilment, Order, ServiceRules, Shipment
from tests.shop import builders
from tests.shop.stores import HUBIN, lay, store
from tests.shop.test_logistics import step, window
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


def waiting(buyer: Any, count: int = 2) -> list[Fulfilment]:
    """So many paid orders of hers to one address, as the warehouse sees them."""
    scarf = builders.sku(stock=count)
    orders = [builders.pay(builders.order(buyer, (scarf, 1))) for _ in range(count)]
    return [order.fulfilments.get() for order in orders]


def together(parts: list[Fulfilment], number: str = "SF100") -> Shipment:
    return services.ship_together(
        fulfilment_ids=[part.pk for part in parts], carrier="顺丰速运", tracking_number=number, by="小运"
    )


def announced(name: str) -> int:
    return DomainEvent.objects.filter(name=f"shop.{name}").count()


def test_orders_in_one_parcel_are_shipped_told_and_followed_as_one() -> None:
    prepare_months_ahead(1)
    ServiceRules.objects.create(when_signed=ServiceRules.AT_ONCE)
    buyer = builders.member(openid="o-together")
    parts = waiting(buyer, 3)
    part = queries.fulfilments_for(User(is_superuser=True)).get(pk=parts[0].pk)
    assert [one.pk for one in queries.companions_of(part)] == [parts[1].pk, parts[2].pk]
    window("o-together")
    first = together(parts)
    assert together(parts) == first
    assert Counter(Order.objects.values_list("status", flat=True)) == {"shipped": 3}
    assert list(Shipment.objects.order_by("pk").values_list("leader_id", flat=True)) == [
        None,
        first.pk,
        first.pk,
    ]
    assert Shipment.objects.get(next_ask_at__isnull=False) == first
    assert builders.stock_of(parts[0].order.lines.get().sku) == (0, 0)
    numbers = [one.order.number for one in parts]
    deliver_due()
    sent = (
        apps.get_model("wechat", "OutboundMessage")
        .objects.filter(origin="shop-shipped")
        .select_related("body")
    )
    assert all(number in sent.get().body.content["text"] for number in numbers)
    assert len(queries.latest_parcels(buyer.pk)) == 1
    carrier = HttpResponse()
    sessions.log_in(carrier, buyer)
    phone = Client()
    phone.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    page = phone.get(reverse("shop:tracking", args=[numbers[1]])).content.decode()
    assert page.count('data-test="parcel"') == page.count('data-test="parcel-others"') == 1
    assert numbers[0] in page
    assert numbers[2] in page

    last = Shipment.objects.get(leader=first, order=parts[2].order)
    assert services.ask_again(shipment_ids=[last.pk]) == 1
    assert services.note_steps(shipment_id=last.pk, steps=[step(1, logistics.PICKED)], source="provider") == 1
    assert Counter(Order.objects.values_list("status", flat=True)) == {"received": 3}
    assert (announced("OrderShipped"), announced("ParcelSigned"), announced("OrderReceived")) == (3, 3, 3)
    assert run_audit()[1] == []


def test_after_sales_stay_with_each_order() -> None:
    parts = waiting(builders.member())
    together(parts)
    services.refund_order(order_id=parts[0].order_id, reason="破损", by="小运")
    orders = Order.objects.order_by("pk")
    assert [order.is_refunding for order in orders] == [True, False]
    assert run_audit()[1] == []


def test_what_does_not_belong_together_is_refused_and_nothing_is_sent() -> None:
    buyer, lake = builders.member(), store(HUBIN)
    mine = waiting(buyer)
    (others,) = waiting(builders.member(), 1)
    dress = builders.sku(stock=0)
    lay(dress, lake, 1)
    elsewhere = builders.pay(builders.order(buyer, (dress, 1))).fulfilments.get()
    moved = waiting(buyer, 1)[0]
    Order.objects.filter(pk=moved.order_id).update(street="别处 3 号")
    for parts in ([mine[0], others], [mine[0], elsewhere], [mine[0], moved], mine[:1], [mine[0], mine[0]]):
        with pytest.raises(WrongState):
            together(parts)
    with pytest.raises(WrongState):
        together(mine, number="")
    with pytest.raises(NoSuchOrder):
        services.ship_together(fulfilment_ids=[mine[0].pk, 10**9], carrier="顺丰", tracking_number="SF1")
    services.refund_order(order_id=mine[1].order_id, reason="不要了")
    with pytest.raises(WrongState):
        together(mine)
    assert not Shipment.objects.exists()
    assert not Fulfilment.objects.filter(state=Fulfilment.SHIPPED).exists()


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_send_each_order_once() -> None:
    prepare_months_ahead(1)
    parts = waiting(builders.member(), 3)
    results = at_once(
        *[lambda: together(parts) for _ in range(3)],
        lambda: together(parts[1:], number="SF200"),
        lambda: services.ship_order(order_id=parts[0].order_id, carrier="顺丰速运", tracking_number="SF100"),
    )
    assert {type(one).__name__ for one in results} <= {"Shipment", "WrongState"}
    assert set(Order.objects.values_list("status", flat=True)) <= {"shipped", "paid"}
    left = Order.objects.filter(status="shipped").count()
    assert left in (1, 2, 3)
    assert announced("OrderShipped") == left
    assert builders.stock_of(parts[0].order.lines.get().sku) == (3 - left, 3 - left)
    assert run_audit()[1] == []


def test_the_operator_sees_what_can_go_together_and_sends_it(client: Client) -> None:
    prepare_months_ahead(1)
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    parts = waiting(builders.member())
    (alone,) = waiting(builders.member(), 1)
    listed = reverse("admin:shop_fulfilment_changelist")
    page = client.get(f"{listed}?together=1").content.decode()
    assert "还有 1 单" in page
    assert alone.order.number not in page
    button = f"{listed}{parts[0].pk}/together/"
    assert parts[1].order.number in client.get(button, HTTP_HX_REQUEST="true").content.decode()
    given = {"_form_submitted": "on", "carrier": "顺丰速运", "tracking_number": "SF7"}
    client.post(button, {**given, "others": [alone.pk]}, HTTP_HX_REQUEST="true")
    assert not Shipment.objects.exists()
    client.post(button, {**given, "others": [parts[1].pk]}, HTTP_HX_REQUEST="true")
    assert Shipment.objects.filter(tracking_number="SF7").count() == 2
    assert "SF7" in client.get(reverse("admin:shop_order_change", args=[parts[1].order_id])).content.decode()
    page = client.get(reverse("admin:shop_shipment_change", args=[Shipment.objects.order_by("pk")[1].pk]))
    assert reverse("admin:shop_order_change", args=[parts[0].order_id]) in page.content.decode()
