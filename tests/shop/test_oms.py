"""The systems of stores and warehouses: stock in bulk, work lists, parcels in, and sales over the counter."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core import clock, tokens
from core.audits import run_audit
from core.models import ApiToken
from crm import services as crm_services
from crm.models import MemberStats, PhoneLook
from crm.services import prepare_months_ahead
from shop import services
from shop.models import Order, Shipment, Stock, StockMovement
from tests.shop import builders, goods
from tests.shop.stores import HUBIN, XINTIANDI, lay, level, placed, store

pytestmark = pytest.mark.django_db
Call = Callable[..., Any]


@pytest.fixture
def oms(client: Client) -> Call:
    prepare_months_ahead(1)
    scopes = ["stock:read", "stock:write", "orders:read", "orders:write", "sales:write"]
    _token, secret = tokens.issue_token(name="OMS", scopes=scopes)

    def call(method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {secret}"} | ({"Idempotency-Key": key} if key else {})
        content = "" if body is None else json.dumps(body)
        return client.generic(
            method, f"/api/v1/{path}", data=content, content_type="application/json", headers=headers
        )

    return call


def split_order() -> tuple[Order, Any, Any, Any]:
    dress, scarf, lake = builders.sku(stock=2), builders.sku(stock=0), store(HUBIN)
    lay(scarf, lake, 1)
    return builders.pay(placed(builders.member(), (dress, 2), (scarf, 1))), dress, scarf, lake


def test_many_stocks_change_once_per_key_and_together(oms: Call) -> None:
    dress, scarf, lake = builders.sku(stock=0), builders.sku(stock=0), store(HUBIN)
    deltas = [{"sku": dress.code, "change": 5}, {"sku": scarf.code, "change": 2}]
    body = {"store": "hubin", "reason": "receive", "note": "到货", "deltas": deltas}
    for _ in range(2):
        answer = oms("POST", "stock/deltas/", body, key="delivery-1")
        assert (answer.status_code, [row["on_hand"] for row in answer.json()]) == (201, [5, 2])
    assert StockMovement.objects.get(stock__sku=dress).actor == "OMS"
    bad = {**body, "deltas": [{"sku": dress.code, "change": 1}, {"sku": scarf.code, "change": -3}]}
    refused = oms("POST", "stock/deltas/", bad, key="delivery-2")
    assert (refused.status_code, refused.json()["code"]) == (409, "stock_refused")
    assert f"{scarf.code} (2)" in refused.json()["message"]
    assert (level(dress, lake), level(scarf, lake)) == ((5, 0), (2, 0))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"store": "nowhere"}, 404),
        ({"deltas": []}, 400),
        ({"deltas": [{"sku": "unknown", "change": 1}]}, 400),
        ({"deltas": [{"sku": "🐟" * 10_000, "change": 1}]}, 400),
        ({"deltas": [{"sku": "SELF", "change": 0}]}, 400),
        ({"deltas": [{"sku": "SELF", "change": 10**12}]}, 400),
        ({"reason": "sell"}, 400),
    ],
)
def test_senseless_deltas_are_refused(oms: Call, changes: dict[str, Any], status: int) -> None:
    dress = builders.sku(stock=0)
    body = {"store": "hubin", "deltas": [{"sku": "SELF", "change": 1}], **changes}
    body["deltas"] = [
        {**row, "sku": dress.code if row["sku"] == "SELF" else row["sku"]} for row in body["deltas"]
    ]
    store(HUBIN)
    assert oms("POST", "stock/deltas/", body, key="k").status_code == status
    assert StockMovement.objects.count() == 0


def test_a_store_reads_its_work_list_and_tells_its_parcel(
    oms: Call, django_assert_max_num_queries: Any
) -> None:
    order, _dress, scarf, lake = split_order()
    split_order()
    with django_assert_max_num_queries(6):
        page = oms("GET", "fulfilments/?state=waiting&store=hubin&limit=1").json()
    assert page["next"]
    part = page["results"][0]
    assert (part["order"], part["kind"], part["reason"]) == (order.number, "ship", "split")
    assert [(line["sku"], line["quantity"]) for line in part["lines"]] == [(scarf.code, 1)]
    assert part["phone"] == "138****0001"
    for _ in range(2):
        parcel = {"carrier": "顺丰速运", "tracking_number": "SF1"}
        answer = oms("POST", f"fulfilments/{part['id']}/shipments/", parcel, key="parcel-1")
        assert answer.status_code == 201
    assert oms("GET", f"fulfilments/{part['id']}/").json()["state"] == "shipped"
    order.refresh_from_db()
    assert (order.status, level(scarf, lake)) == ("paid", (0, 0))
    assert oms("POST", "fulfilments/999999/shipments/", parcel, key="parcel-2").status_code == 404


def test_a_pickup_is_made_ready_and_redeemed_by_the_till(oms: Call) -> None:
    dress, shop = builders.sku(stock=0), store(XINTIANDI)
    lay(dress, shop, 1)
    order = builders.pay(placed(builders.member(), (dress, 1), pickup=shop))
    part = order.fulfilments.get()
    scopes = ["orders:read", "orders:write", "members:phone"]
    token, secret = tokens.issue_token(name="DESK", scopes=scopes)
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "r"}
    ready = f"/api/v1/fulfilments/{part.pk}/ready/"
    for turn in (1, 2):
        answer = Client().post(ready, content_type="application/json", headers=headers)
        assert (answer.json()["state"], answer.json()["phone"]) == ("ready", part.order.phone)
        looks = PhoneLook.objects.values_list("who", "count")
        assert list(looks) == [("DESK", 1)] * turn, "the same answer again is another look"
    ApiToken.objects.filter(pk=token.pk).update(scopes=scopes[:2])
    refused = Client().post(ready, content_type="application/json", headers=headers)
    assert (refused.status_code, part.order.phone in refused.content.decode()) == (403, False)
    assert PhoneLook.objects.count() == 2
    store(HUBIN)
    wrong = oms("POST", "pickups/", {"code": part.code, "store": "hubin"}, key="p1")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_store")
    assert oms("POST", "pickups/", {"code": part.code, "store": "xintiandi"}, key="p2").status_code == 201
    again = oms("POST", "pickups/", {"code": part.code, "store": "xintiandi"}, key="p3")
    assert (again.status_code, again.json()["code"]) == (409, "used")


def test_several_orders_leave_in_one_parcel_once_per_key(oms: Call) -> None:
    prepare_months_ahead(1)
    buyer, dress = builders.member(), builders.sku(stock=4)
    numbers = [builders.pay(builders.order(buyer, (dress, 1))).number for _ in range(2)]
    stranger = builders.pay(builders.order(builders.member(), (dress, 1)))
    body = {"store": "warehouse", "orders": numbers, "carrier": "顺丰速运", "tracking_number": "SF77"}
    for wrong, status in (
        ({"orders": [numbers[0], stranger.number]}, 409),
        ({"orders": [numbers[0], "no-such-order"]}, 400),
        ({"orders": numbers[:1]}, 400),
        ({"tracking_number": " "}, 400),
        ({"store": "nowhere"}, 404),
    ):
        assert oms("POST", "shipments/", {**body, **wrong}, key=f"wrong-{wrong}"[:80]).status_code == status
    assert not Order.objects.filter(status="shipped").exists()
    for key in ("parcel-1", "parcel-1", "another-key"):
        answer = oms("POST", "shipments/", body, key=key)
        assert (answer.status_code, answer.json()["orders"]) == (201, sorted(numbers))
    leader, other = Shipment.objects.order_by("pk")
    assert (leader.leader_id, other.leader_id, leader.actor) == (None, leader.pk, "OMS")
    assert set(Order.objects.filter(number__in=numbers).values_list("status", flat=True)) == {"shipped"}
    assert builders.stock_of(dress) == (2, 1)
    assert oms("GET", f"orders/{numbers[1]}/").json()["shipments"][0]["tracking_number"] == "SF77"
    assert run_audit()[1] == []


def sale(**changes: Any) -> dict[str, Any]:
    return {"store": "hubin", "number": "POS-20261122-0001", **changes}


class TestSales:
    def test_belong_to_the_member_who_also_buys_online(self, oms: Call) -> None:
        guest, dress, lake = builders.member(), builders.sku(stock=5, price_fen=10_000), store(HUBIN)
        crm_services.give_phone(member_id=guest.pk, phone="13800000009", verified=True)
        lay(dress, lake, 5)
        builders.pay(builders.order(guest, (dress, 1)))
        lines = [{"sku": dress.code, "quantity": 3, "total_fen": 25_000}]
        body = sale(member={"phone": "138 0000 0009"}, lines=lines)
        for key in ("sale-1", "sale-1", "another-key"):
            answer = oms("POST", "sales/", body, key=key)
            assert answer.status_code == 201
        told = answer.json()
        assert (told["member_id"], told["channel"], told["status"]) == (guest.pk, "store:hubin", "received")
        stats = MemberStats.objects.get(pk=guest.pk)
        assert (stats.orders_count, stats.paid_fen) == (2, 35_000)
        assert level(dress, lake) == (2, 0)
        assert Order.objects.filter(member=guest).count() == 2
        line = Order.objects.get(channel="store:hubin").lines.get()
        assert (line.unit_price_fen, line.discount_fen, line.total_fen) == (8_334, 2, 25_000)
        assert run_audit()[1] == []

    def test_make_a_member_of_a_new_phone_once_and_need_none(self, oms: Call) -> None:
        dress, lake = builders.sku(stock=0), store(HUBIN)
        lay(dress, lake, 5)
        lines = [{"sku": dress.code, "quantity": 1, "total_fen": 9_900}]
        first = oms("POST", "sales/", sale(number="1", member={"phone": "13700000001"}, lines=lines), key="1")
        second = oms(
            "POST", "sales/", sale(number="2", member={"phone": "13700000001"}, lines=lines), key="2"
        )
        nobody = oms("POST", "sales/", sale(number="3", lines=lines), key="3")
        other = sale(number="3", lines=[{**lines[0], "total_fen": 1}])  # the till counts from 1 again
        assert oms("POST", "sales/", other, key="4").status_code == 422
        assert first.json()["member_id"] == second.json()["member_id"] is not None
        assert nobody.json()["member_id"] is None
        assert level(dress, lake) == (2, 0)

    def test_do_not_take_what_is_not_there_or_belongs_to_orders(self, oms: Call) -> None:
        dress, lake = builders.sku(stock=0), store(HUBIN)
        lay(dress, lake, 2)
        placed(builders.member(), (dress, 1))
        lines = [{"sku": dress.code, "quantity": 2, "total_fen": 9_900}]
        refused = oms("POST", "sales/", sale(lines=lines, member={"phone": "13700000001"}), key="1")
        assert (refused.status_code, refused.json()["code"]) == (409, "stock_refused")
        assert level(dress, lake) == (2, 1)
        assert not Order.objects.filter(channel="store:hubin").exists()

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"sold_at": "2099-01-01T00:00:00+08:00"}, 422),
            ({"sold_at": "1999-01-01T00:00:00+08:00"}, 422),
            ({"member": {"phone": "not a phone"}}, 422),
            ({"member": {"member_id": 999_999}}, 422),
            ({"member": {}}, 400),
            ({"number": ""}, 400),
            ({"number": "🐟" * 10_000}, 400),
            ({"store": "nowhere"}, 404),
            ({"lines": []}, 400),
            ({"lines": [{"sku": "SELF", "quantity": -1, "total_fen": 1}]}, 400),
            ({"lines": [{"sku": "SELF", "quantity": 1, "total_fen": -1}]}, 400),
        ],
    )
    def test_refuse_nonsense_and_change_nothing(
        self, oms: Call, changes: dict[str, Any], status: int
    ) -> None:
        dress, lake = builders.sku(stock=0), store(HUBIN)
        lay(dress, lake, 2)
        body = sale(lines=[{"sku": "SELF", "quantity": 1, "total_fen": 1}])
        body |= changes
        body["lines"] = [{**row, "sku": dress.code} for row in body["lines"]]
        assert oms("POST", "sales/", body, key="1").status_code == status
        assert (level(dress, lake), Order.objects.count()) == ((2, 0), 0)

    def test_of_bundles_take_their_parts_and_cost_what_the_till_took(self, oms: Call) -> None:
        lake, cream, soap = store(HUBIN), builders.sku(stock=0, price_fen=6_000), builders.sku(stock=0)
        lay(cream, lake, 5)
        lay(soap, lake, 5)
        pack = goods.bundle((cream, 2), (soap, 1))
        lines = [
            {"sku": pack.code, "quantity": 2, "total_fen": 25_001},
            {"sku": soap.code, "quantity": 1, "total_fen": 9_000},
        ]
        answer = oms("POST", "sales/", sale(lines=lines), key="1")
        assert (answer.status_code, answer.json()["total_fen"]) == (201, 34_001)
        assert (level(cream, lake), level(soap, lake)) == ((1, 0), (2, 0))
        order = Order.objects.get()
        assert (order.bundles.get().quantity, order.lines.filter(kind="part").count()) == (2, 2)
        assert sum(line.total_fen for line in order.bundles.get().lines.all()) == 25_001
        refused = oms("POST", "sales/", sale(number="2", lines=lines[:1]), key="2")
        assert (refused.status_code, cream.code in refused.json()["message"]) == (409, True)
        assert run_audit()[1] == []

    def test_of_what_is_no_parcel_are_refused_and_it_gets_no_stock(self, oms: Call) -> None:
        dress, lake, code = builders.sku(stock=0), store(HUBIN), goods.codes("AAA-1")
        lay(dress, lake, 2)
        lines = [{"sku": sku.code, "quantity": 1, "total_fen": 5_000} for sku in (dress, code)]
        refused = oms("POST", "sales/", sale(lines=lines, member={"phone": "13700000001"}), key="1")
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_sale")
        assert code.code in refused.json()["message"]
        for sku in (code, goods.bundle((dress, 1))):
            deltas = [{"sku": dress.code, "change": 1}, {"sku": sku.code, "change": 1}]
            answer = oms("POST", "stock/deltas/", {"store": "hubin", "deltas": deltas}, key=sku.code)
            assert (answer.status_code, sku.code in answer.json()["message"]) == (409, True)
            assert not Stock.objects.filter(sku=sku).exists()
        assert (level(dress, lake), Order.objects.count()) == ((2, 0), 0)

    def test_of_last_month_stand_where_they_happened(self, oms: Call) -> None:
        guest, dress, lake = builders.member(), builders.sku(stock=0), store(HUBIN)
        lay(dress, lake, 2)
        sold_at = clock.now() - timedelta(days=40)
        order = services.record_sale(
            store_id=lake.pk,
            number="1",
            lines=[services.SoldLine(dress.pk, 1, 5_000)],
            sold_at=sold_at,
            member_id=guest.pk,
        )
        assert order.paid_at == sold_at
        assert MemberStats.objects.get(pk=guest.pk).last_paid_at == sold_at
