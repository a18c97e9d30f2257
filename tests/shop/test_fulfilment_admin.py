"""The operator's pages for stock in several stores: what they show, what their buttons do, what they cost."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from crm import services as crm_services
from crm.models import Staff
from crm.services import prepare_months_ahead
from shop import services
from shop.models import CartLine, Stock, Stocktake, Transfer
from tests.shop import builders
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store

pytestmark = pytest.mark.django_db
SUBMITTED = {"_form_submitted": "on"}


@pytest.fixture
def operator(client: Client) -> Client:
    prepare_months_ahead(1)
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    return client


def press(client: Client, name: str, pk: int, button: str, **values: Any) -> Any:
    address = reverse(f"admin:shop_{name}_changelist") + f"{pk}/{button}/"
    return client.post(address, {**SUBMITTED, **values}, HTTP_HX_REQUEST="true", follow=True)


def test_a_store_is_counted_in_the_admin(operator: Client) -> None:
    dress, scarf = builders.sku(stock=5), builders.sku(stock=5)
    made = operator.post(
        reverse("admin:shop_stocktake_add"), {"store": services.warehouse_id(), "title": "月末盘点"}
    )
    round_ = Stocktake.objects.get()
    assert made["Location"].endswith(f"/{round_.pk}/change/")
    press(operator, "stocktake", round_.pk, "count", counts=f"{dress.code}, 3\n{scarf.code}\t5\n")
    page = operator.get(reverse("admin:shop_stocktake_change", args=[round_.pk])).content.decode()
    assert "-2" in page
    refused = press(operator, "stocktake", round_.pk, "count", counts=f"{dress.code} many")
    assert "第 1 行" in refused.content.decode()
    press(operator, "stocktake", round_.pk, "book")
    assert (builders.stock_of(dress), builders.stock_of(scarf)) == ((3, 0), (5, 0))
    assert Stocktake.objects.get().closed_by == "小运"


def test_a_transfer_is_put_together_sent_and_received(operator: Client) -> None:
    dress, lake = builders.sku(stock=5), store(HUBIN)
    home = services.warehouse_id()
    add = reverse("admin:shop_transfer_add")
    wrong = operator.post(add, {"sender": home, "receiver": home, "goods": f"{dress.code} 2", "note": ""})
    assert "两家不同的门店" in wrong.content.decode()
    operator.post(add, {"sender": home, "receiver": lake.pk, "goods": f"{dress.code} 3", "note": "补货"})
    made = Transfer.objects.get()
    press(operator, "transfer", made.pk, "send")
    press(operator, "transfer", made.pk, "receive", arrived=f"{dress.code} 2", note="少一件")
    assert (level(dress, home), level(dress, lake)) == ((2, 0), (2, 0))
    page = operator.get(reverse("admin:shop_transfer_changelist")).content.decode()
    assert "-1" in page


def test_what_runs_low_is_listed_and_ordered_from_elsewhere_for_a_member(operator: Client) -> None:
    dress, plenty, lake = builders.sku(stock=4), builders.sku(stock=9), store(HUBIN)
    lay(dress, lake, 2)
    lay(plenty, lake, 9)
    there = Stock.objects.get(sku=dress, store=lake)
    press(operator, "stock", there.pk, "safety", safety="2")
    page = operator.get(reverse("admin:shop_lowstock_changelist")).content.decode()
    assert dress.code in page
    assert plenty.code not in page
    guest = builders.member()
    crm_services.give_phone(member_id=guest.pk, phone="13800000009", verified=True)
    press(operator, "stock", there.pk, "elsewhere", guest="13800000009", quantity="1")
    assert CartLine.objects.get(member_id=guest.pk).sku_id == dress.pk
    unknown = press(operator, "stock", there.pk, "elsewhere", guest="13999999999", quantity="1")
    assert "找不到" in unknown.content.decode()


def test_a_store_ships_its_part_and_sees_only_its_own(operator: Client) -> None:
    dress, scarf, lake = builders.sku(stock=1), builders.sku(stock=0), store(HUBIN)
    lay(scarf, lake, 1)
    order = builders.pay(placed(builders.member(), (dress, 1), (scarf, 1)))
    mine = order.fulfilments.get(store=lake)
    user = User.objects.create_user("zhaomin", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_fulfilment", "change_order"]))
    Staff.objects.create(work_userid="zhaomin", name="赵敏", store=lake, user=user)
    manager = Client()
    manager.force_login(user)
    page = manager.get(reverse("admin:shop_fulfilment_changelist")).content.decode()
    assert page.count(order.number) == 1
    other = order.fulfilments.exclude(store=lake).get()
    assert manager.get(reverse("admin:shop_fulfilment_change", args=[other.pk])).status_code == 302
    press(manager, "fulfilment", other.pk, "ship", carrier="顺丰速运", tracking_number="SF0")
    press(manager, "fulfilment", mine.pk, "ship", carrier="顺丰速运", tracking_number="SF1")
    assert sorted(order.fulfilments.values_list("state", flat=True)) == ["shipped", "waiting"]


def test_a_store_manager_sees_and_changes_her_own_shelves_and_orders_alone(operator: Client) -> None:
    dress, lake = builders.sku(stock=5), store(HUBIN)
    lay(dress, lake, 3)
    far = builders.pay(placed(builders.member(), (dress, 1)))
    user = User.objects.create_user("zhaomin", is_staff=True)
    names = ["view_stock", "change_stock", "view_stockmovement", "view_order", "change_order"]
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    Staff.objects.create(work_userid="zhaomin", name="赵敏", store=lake, user=user)
    manager = Client()
    manager.force_login(user)
    mine, other = Stock.objects.get(sku=dress, store=lake), Stock.objects.exclude(store=lake).get()
    page = manager.get(reverse("admin:shop_stock_changelist")).content.decode()
    assert "湖滨店" in page
    assert f"/{other.pk}/change/" not in page
    assert manager.get(reverse("admin:shop_stock_change", args=[other.pk])).status_code == 302
    change = {"kind": "remove", "quantity": 1, "note": "破损"}
    press(manager, "stock", mine.pk, "adjust", token="one", **change)
    press(manager, "stock", other.pk, "adjust", token="two", **change)
    press(manager, "stock", other.pk, "safety", safety=9)
    assert (level(dress, lake), level(dress, other.store_id)) == ((2, 0), (5, 1))
    assert Stock.objects.get(pk=other.pk).safety is None
    movements = manager.get(reverse("admin:shop_stockmovement_changelist")).content.decode()
    assert far.number not in movements
    assert far.number not in manager.get(reverse("admin:shop_order_changelist")).content.decode()
    press(manager, "order", far.pk, "ship", carrier="顺丰速运", tracking_number="SF0")
    assert far.shipments.count() == 0


def test_a_list_costs_few_queries_however_long_it_is(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    lake, shop = store(HUBIN), store(XINTIANDI)
    for _ in range(4):
        dress = builders.sku(stock=1)
        lay(dress, lake, 1)
        builders.pay(placed(builders.member(), (dress, 2)))
        services.open_stocktake(store_id=lake.pk)
        services.create_transfer(sender_id=lake.pk, receiver_id=shop.pk, lines=[(dress.pk, 1)])
    for name in ("fulfilment", "stocktake", "transfer", "lowstock", "stock"):
        here = reverse(f"admin:shop_{name}_changelist")
        operator.get(here)
        with django_assert_max_num_queries(12, info=name):
            assert operator.get(here).status_code == 200
