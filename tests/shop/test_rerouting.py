"""A store cannot serve its part: another does, stock and order agree, and who said so is in the log."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from core.audits import run_audit
from crm.services import prepare_months_ahead
from shop import services
from shop.errors import StockRefused, WrongState
from shop.models import Fulfilment, Order, OrderLine, Stock
from tests.shop import builders
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store
from tests.shop.test_races import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def timeline(db: None) -> None:
    prepare_months_ahead(1)


def served_by_the_lake(**elsewhere: int) -> tuple[Order, Any, Any, Fulfilment]:
    """Paid: a dress and two scarves from the lake; other stores have so many of both afterwards."""
    dress, scarf, lake = builders.sku(stock=0), builders.sku(stock=0), store(HUBIN)
    lay(dress, lake, 1)
    lay(scarf, lake, 2)
    order = builders.pay(placed(builders.member(), (dress, 1), (scarf, 2)))
    for name, pieces in elsewhere.items():
        place = store(XINTIANDI) if name == "shop" else store({"code": "warehouse", "name": "仓库"})
        for sku in (dress, scarf):
            lay(sku, place, pieces)
    return order, dress, scarf, order.fulfilments.get()


def test_another_store_serves_what_this_one_cannot_and_the_order_is_shipped_from_there():
    order, dress, scarf, part = served_by_the_lake(shop=3)
    for _twice in range(2):
        (other,) = services.reroute_fulfilment(fulfilment_id=part.pk, reason="架上没有", by="李娜")
    assert (other.store.code, other.state, other.reason) == ("xintiandi", "waiting", "rerouted")
    part.refresh_from_db()
    assert part.state == "cancelled"
    assert [level(sku, part.store) for sku in (dress, scarf)] == [(1, 0), (2, 0)]
    assert [level(sku, other.store) for sku in (dress, scarf)] == [(3, 1), (3, 2)]
    note = order.log.get(action="rerouted").note
    assert note == "湖滨店 → 新天地店: 架上没有"
    assert run_audit()[1] == []
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1", by="李娜")
    order.refresh_from_db()
    assert (order.status, level(scarf, other.store)) == ("shipped", (1, 0))
    assert run_audit()[1] == []


def test_what_nobody_else_has_stays_where_it_is():
    order, dress, _scarf, part = served_by_the_lake(shop=1)  # one dress, and one scarf too few
    with pytest.raises(StockRefused) as short:
        services.reroute_fulfilment(fulfilment_id=part.pk, reason="架上没有", by="李娜")
    assert "(1)" in short.value.message
    with pytest.raises(WrongState):
        services.reroute_fulfilment(fulfilment_id=part.pk, reason=" \x00 ", by="李娜")
    part.refresh_from_db()
    assert (part.state, order.log.filter(action="rerouted").count()) == ("waiting", 0)
    assert level(dress, part.store) == (1, 1)


def test_a_part_that_went_back_moves_along_and_a_refused_or_sent_part_never_returns():
    order, dress, scarf, part = served_by_the_lake(shop=2, home=2)
    second = OrderLine.objects.get(order=order, sku=scarf)
    refund = services.refund_lines(order_id=order.pk, parts=[(second.pk, 1)], reason="少一件", by="小运")[0]
    with pytest.raises(WrongState):  # money is on its way: first let it arrive
        services.reroute_fulfilment(fulfilment_id=part.pk, reason="架上没有", by="李娜")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="5", status="SUCCESS", refund_fen=refund.amount_fen
    )
    (home,) = services.reroute_fulfilment(fulfilment_id=part.pk, reason="架上没有", by="李娜")
    assert (home.store.code, level(scarf, home.store)) == ("warehouse", (2, 1))
    assert run_audit()[1] == []
    with pytest.raises(WrongState):
        services.reroute_fulfilment(fulfilment_id=home.pk, reason="也没有", store_id=part.store_id, by="仓库")
    (last,) = services.reroute_fulfilment(fulfilment_id=home.pk, reason="也没有", by="仓库")
    assert last.store.code == "xintiandi"
    services.ship_order(order_id=order.pk, carrier="顺丰速运", tracking_number="SF1")
    with pytest.raises(WrongState):
        services.reroute_fulfilment(fulfilment_id=last.pk, reason="晚了", by="李娜")
    assert Stock.objects.filter(reserved__gt=0).count() == 0
    assert level(dress, last.store) == (1, 0)
    assert run_audit()[1] == []


@pytest.mark.django_db(transaction=True)
def test_two_colleagues_who_refuse_and_ship_at_once_move_the_goods_once():
    order, dress, scarf, part = served_by_the_lake(shop=3)
    at_once(
        *[
            lambda: services.reroute_fulfilment(fulfilment_id=part.pk, reason="架上没有", by="李娜")
            for _twice in range(2)
        ],
        lambda: services.ship_order(
            order_id=order.pk, store_id=part.store_id, carrier="顺丰", tracking_number="SF1"
        ),
    )
    reserved = {(row.store.code, row.sku_id): row.reserved for row in Stock.objects.filter(reserved__gt=0)}
    part.refresh_from_db()
    wanted = {("xintiandi", dress.pk): 1, ("xintiandi", scarf.pk): 2}
    assert reserved == (wanted if part.state == "cancelled" else {})
    assert run_audit()[1] == []


def test_staff_hands_a_part_on_in_the_admin(client: Client):
    _order, _dress, _scarf, part = served_by_the_lake(shop=3)
    client.force_login(User.objects.create_superuser("xiaoyun"))
    address = reverse("admin:shop_fulfilment_reroute", args=[part.pk])
    page = client.get(address).content.decode()
    assert "新天地店" in page
    client.post(address, {"_form_submitted": "on", "reason": "当天闭店", "store": ""})
    part.refresh_from_db()
    assert part.state == "cancelled"
    page = client.get(reverse("admin:shop_fulfilment_changelist"), follow=True).content.decode()
    assert "由新天地店发出" in page or "新天地店" in page
