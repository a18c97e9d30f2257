"""ERP and warehouse: they read what there is, set stock once per key, and ship."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from core import tokens
from crm.models import Staff, Store
from shop import services
from shop.models import Order, Stock, StockMovement
from tests.shop import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def erp(client: Client) -> Callable[..., Any]:
    """A client with every scope of the shop; `key` is the Idempotency-Key."""
    _token, secret = tokens.issue_token(
        name="ERP", scopes=["products:read", "stock:read", "stock:write", "orders:read", "orders:write"]
    )

    def call(method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {secret}"} | ({"Idempotency-Key": key} if key else {})
        content = "" if body is None else json.dumps(body)
        return client.generic(
            method, f"/api/v1/{path}", data=content, content_type="application/json", headers=headers
        )

    return call


class TestProducts:
    def test_are_listed_with_their_skus_in_few_statements(
        self, erp: Callable[..., Any], django_assert_max_num_queries
    ) -> None:
        for _ in range(12):
            made = builders.sku(stock=1)
        erp("GET", "products/")
        with django_assert_max_num_queries(5):  # token, products, SKUs, pictures
            answer = erp("GET", "products/")
        assert len(answer.json()["results"]) == 12
        assert answer.json()["results"][-1]["skus"][0]["code"] == made.code

    def test_are_filtered(self, erp: Callable[..., Any]) -> None:
        one, two = builders.sku(stock=0), builders.sku(stock=0)
        services.set_products_status(product_ids=[two.product_id], status="off")
        found = erp("GET", "products/?status=on_sale").json()["results"]
        assert [row["id"] for row in found] == [one.product_id]
        found = erp("GET", f"products/?sku={two.code}").json()["results"]
        assert [row["id"] for row in found] == [two.product_id]
        refused = erp("GET", "products/?status=nonsense")
        assert (refused.status_code, list(refused.json()["fields"])) == (400, ["status"])

    def test_open_with_text_and_pictures(
        self, erp: Callable[..., Any], django_assert_max_num_queries
    ) -> None:
        made = builders.sku(stock=0)
        with django_assert_max_num_queries(6):
            page = erp("GET", f"products/{made.product_id}/").json()
        assert page["detail"] == ""
        assert page["images"] == []
        assert erp("GET", "products/999999/").status_code == 404


class TestStock:
    def test_is_listed_by_the_codes_that_an_erp_knows(
        self, erp: Callable[..., Any], django_assert_max_num_queries
    ) -> None:
        for _ in range(10):
            made = builders.sku(stock=3)
        with django_assert_max_num_queries(4):
            rows = erp("GET", "stock/").json()["results"]
        assert rows[-1] == {
            "sku": made.code,
            "store": "warehouse",
            "on_hand": 3,
            "reserved": 0,
            "available": 3,
        }
        assert len(erp("GET", f"stock/?sku={made.code}").json()["results"]) == 1
        assert erp("GET", f"stock/{made.code}/warehouse/").json()["on_hand"] == 3

    def test_is_set_as_counted_and_made_where_it_was_missing(self, erp: Callable[..., Any]) -> None:
        made = builders.sku(stock=3)
        Store.objects.create(code="xintiandi", name="新天地店")
        assert erp("PUT", f"stock/{made.code}/warehouse/", {"on_hand": 8}).json()["on_hand"] == 8
        answer = erp("PUT", f"stock/{made.code}/xintiandi/", {"on_hand": 5, "note": "盘点"})
        assert answer.json()["available"] == 5
        movement = StockMovement.objects.latest("pk")
        assert (movement.note, movement.actor, movement.on_hand_after) == ("盘点", "ERP", 5)

    def test_is_adjusted_once_per_key(self, erp: Callable[..., Any]) -> None:
        made = builders.sku(stock=3)
        for _ in range(3):
            answer = erp(
                "POST", f"stock/{made.code}/warehouse/adjustments/", {"change": 4}, key="delivery-77"
            )
            assert (answer.status_code, answer.json()["on_hand"]) == (201, 7)
        assert builders.stock_of(made) == (7, 0)
        assert erp("POST", f"stock/{made.code}/warehouse/adjustments/", {"change": 4}).status_code == 400
        assert builders.stock_of(made) == (7, 0)

    def test_that_orders_reserved_cannot_be_taken_away(self, erp: Callable[..., Any]) -> None:
        made = builders.sku(stock=3)
        builders.order(builders.member(), (made, 2))
        answer = erp("PUT", f"stock/{made.code}/warehouse/", {"on_hand": 1})
        assert (answer.status_code, answer.json()["code"]) == (409, "stock_refused")
        assert builders.stock_of(made) == (3, 2)

    @pytest.mark.parametrize("body", [{}, {"on_hand": -1}, {"on_hand": "many"}, {"on_hand": 10**9}])
    def test_refuses_nonsense_and_stays(self, erp: Callable[..., Any], body: dict[str, Any]) -> None:
        made = builders.sku(stock=3)
        answer = erp("PUT", f"stock/{made.code}/warehouse/", body)
        assert (answer.status_code, list(answer.json()["fields"])) == (400, ["on_hand"])
        assert builders.stock_of(made) == (3, 0)

    def test_of_unknown_things_is_not_found(self, erp: Callable[..., Any]) -> None:
        made = builders.sku(stock=3)
        assert erp("PUT", f"stock/{made.code}/nowhere/", {"on_hand": 1}).status_code == 404
        assert erp("PUT", "stock/nothing/warehouse/", {"on_hand": 1}).status_code == 404
        assert Stock.objects.count() == 1


class TestOrders:
    def test_are_listed_with_lines_and_masked_phones(
        self, erp: Callable[..., Any], django_assert_max_num_queries
    ) -> None:
        made = builders.sku(stock=50)
        for _ in range(8):
            placed = builders.order(builders.member(), (made, 2))
        with django_assert_max_num_queries(6):
            rows = erp("GET", "orders/?status=pending_payment").json()["results"]
        assert len(rows) == 8
        assert rows[-1]["number"] == placed.number
        assert rows[-1]["lines"][0]["total_fen"] == 19_800
        assert rows[-1]["phone"] == "138****0001"
        assert rows[-1]["currency"] == "CNY"
        assert erp("GET", "orders/?status=paid").json()["results"] == []
        assert erp("GET", "orders/?placed_since=2999-01-01T00:00:00Z").json()["results"] == []

    def test_show_the_phone_to_a_key_that_may_see_it(self, client: Client) -> None:
        placed = builders.order(builders.member(), (builders.sku(), 1))
        secret = tokens.issue_token(name="WMS", scopes=["orders:read", "members:phone"])[1]
        answer = client.get(f"/api/v1/orders/{placed.number}/", headers={"Authorization": f"Bearer {secret}"})
        assert answer.json()["phone"] == "13800000001"

    def test_are_shipped_once_and_leave_the_stock(self, erp: Callable[..., Any]) -> None:
        made = builders.sku(stock=5)
        paid = builders.pay(builders.order(builders.member(), (made, 2)))
        parcel = {"carrier": "顺丰速运", "tracking_number": "SF100200300"}
        for key in ("k1", "k1", "k2"):
            answer = erp("POST", f"orders/{paid.number}/shipments/", parcel, key=key)
            assert (answer.status_code, answer.json()["tracking_number"]) == (201, "SF100200300")
        paid.refresh_from_db()
        assert (paid.status, paid.shipments.count()) == (Order.SHIPPED, 1)
        assert builders.stock_of(made) == (3, 0)

    def test_that_are_not_paid_are_not_shipped(self, erp: Callable[..., Any]) -> None:
        placed = builders.order(builders.member(), (builders.sku(), 1))
        parcel = {"carrier": "顺丰速运", "tracking_number": "SF1"}
        answer = erp("POST", f"orders/{placed.number}/shipments/", parcel, key="k")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        placed.refresh_from_db()
        assert (placed.status, placed.shipments.count()) == (Order.PENDING_PAYMENT, 0)


def test_a_store_manager_sees_her_own_store_only(client: Client) -> None:
    mine, other = (Store.objects.create(code=code, name=code) for code in ("mine", "other"))
    made = builders.sku(stock=1)
    for store in (mine, other):
        services.adjust_stock(sku_id=made.pk, store_id=store.pk, change=1, cause=f"t:{store.code}")
    user = User.objects.create_user("dianzhang", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_stock"))
    Staff.objects.create(name="店长", user=user, store=mine)
    client.force_login(user)
    rows = client.get("/api/v1/stock/").json()["results"]
    assert [row["store"] for row in rows] == ["mine"]
