"""How often pages and orders ask the database: round trips are what they cost."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.backends.postgresql import base
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import clock, statements
from crm import sessions
from shop import services
from shop.models import Order, PointsPolicy, Promotion, ShippingRate
from tests.shop import builders, instruments, stores

pytestmark = pytest.mark.django_db


def test_a_checkout_with_everything_on_takes_two_round_trips() -> None:
    """Three lines, promotion, coupon, points, shipping, two stores to choose from; within the test's transaction a
    savepoint and its release come on top, and the first order after a change of the rules reads them."""
    moment = clock.now()
    Promotion.objects.create(
        title="满 200 减 20",
        kind="amount_off",
        is_active=True,
        starts_at=moment - timedelta(days=1),
        ends_at=moment + timedelta(days=1),
        threshold_fen=20_000,
        amount_fen=2_000,
    )
    PointsPolicy.objects.create(pk=1)
    ShippingRate.objects.create(province="", base_fen=800, free_from_fen=99_900)
    buyer, skus = builders.member(), [builders.sku() for _ in range(3)]
    for sku in skus:
        stores.lay(sku, stores.store(stores.HUBIN), 5)
    instruments.give_points(buyer, 5_000)
    services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=buyer.pk, key="round-trips")
    address = services.save_address(member_id=buyer.pk, address=builders.ADDRESS)
    client = logged_in(buyer)
    form = {
        "line": [f"{sku.pk}:1" for sku in skus],
        "address": address.pk,
        "points": "1",
        "key": "k" * 24,
        "from": "product",
    }
    client.post("/checkout/", form | {"key": "f" * 24, "points": "", "coupon": "0"})
    Order.objects.update(number="first")
    with CaptureQueriesContext(connection) as asked:
        placed = client.post("/checkout/", form)
    order = Order.objects.exclude(number="first").get()
    assert placed.headers["Location"] == f"/pay/{order.number}/"
    assert set(order.discounts.values_list("step", flat=True)) == {"promotion", "coupon", "points"}
    assert len(asked) == 2 + 2, [query["sql"][:80] for query in asked]


def logged_in(buyer: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, buyer)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def test_rules_that_changed_meanwhile_are_read_again_by_the_checkout() -> None:
    """What is asked together with who she is was asked by the rules that this process knew."""
    buyer, sku = builders.member(), builders.sku()
    address = services.save_address(member_id=buyer.pk, address=builders.ADDRESS)
    client = logged_in(buyer)
    form = {"line": f"{sku.pk}:1", "address": address.pk, "from": "product"}
    totals = []
    for fee in (800, 1_200):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM shop_shippingrate")
            cursor.execute("INSERT INTO shop_shippingrate (province, base_fen) VALUES ('', %s)", [fee])
        assert client.post("/checkout/", form | {"key": f"{fee:024d}"}).status_code == 302
        totals.append(Order.objects.get(idempotency_key=f"{fee:024d}").total_fen)
    assert totals == [sku.price_fen + 800, sku.price_fen + 1_200]
    again = client.post("/checkout/", form | {"key": f"{800:024d}"})
    assert again.headers["Location"] == f"/pay/{Order.objects.get(idempotency_key=f'{800:024d}').number}/"
    type(buyer).objects.update(session_version=7)  # logged out everywhere
    assert "/pay/" not in client.post("/checkout/", form | {"key": "o" * 24}).headers.get("Location", "")
    assert Order.objects.count() == 2


def test_a_prepared_statement_answers_what_a_plain_one_does() -> None:
    pair = "SELECT %s::int + 1, %s::text, '100%%'"
    assert statements.rows(pair, [1, "a"]) == statements.rows(pair, [1, "a"]) == [(2, "a", "100%")]
    thrice = "SELECT %(n)s::int, %(n)s + 1, %(t)s::text[]"
    assert statements.named(thrice, {"n": 4, "t": ["x"]}) == [(4, 5, ["x"])]
    assert statements.named(thrice, {"n": 5, "t": []}) == [(5, 6, [])]


def test_a_prepared_statement_follows_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection under the same wrapper prepares anew; behind PgBouncer nothing is prepared."""
    assert statements.rows("SELECT %s::int", [7]) == [(7,)]
    kept = connection.prepared_statements  # type: ignore[attr-defined]
    name = statements._numbered("SELECT %s::int").name
    assert name in kept[1]
    try:
        connection.prepared_statements = (None, {name})  # of the connection before
        with connection.cursor() as cursor:
            cursor.execute(f"DEALLOCATE {name}")
        assert statements.rows("SELECT %s::int", [8]) == [(8,)]
    finally:
        connection.prepared_statements = kept
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with CaptureQueriesContext(connection) as asked:
        assert statements.rows("SELECT %s::int", [9]) == [(9,)]
    assert asked[0]["sql"] == "SELECT 9::int"


def test_a_connection_that_the_server_ended_is_seen_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    other = connection.copy()
    other.ensure_connection()
    asked: list[bool] = []
    plain = base.DatabaseWrapper.is_usable
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: asked.append(True) or plain(self))
    try:
        assert other.is_usable()
        assert not asked
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [other.connection.info.backend_pid])
        assert not other.is_usable()
        assert asked
    finally:
        other.close()
