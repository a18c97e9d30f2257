"""加价购 in cart and checkout: shown with the reason, ticked, priced by the pipeline, ordered."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core import clock
from core.audits import run_audit
from shop import services
from shop.models import Order, Promotion, PromotionExtra
from tests.shop import builders
from tests.shop.test_coupons_checkout import form_of, linked
from tests.shop.test_limits import shopper, visitor

__all__ = ["shopper", "visitor"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> tuple[Any, list[Any]]:
    """¥99 of goods; from ¥150 on, one of two little things at ¥9.90, and a third that is sold out."""
    moment = clock.now()
    dress = builders.sku(price_fen=9_900)
    extras = [builders.sku(price_fen=3_900, stock=stock, name="") for stock in (5, 5, 0)]
    promotion = Promotion.objects.create(
        title="加价换购",
        kind="add_on",
        threshold_fen=15_000,
        starts_at=moment - timedelta(days=1),
        ends_at=moment + timedelta(days=1),
        is_active=True,
        **({"created_at": moment} if hasattr(Promotion, "created_at") else {}),
    )
    for extra in extras:
        PromotionExtra.objects.create(promotion=promotion, sku=extra, price_fen=990)
    return dress, extras


def test_too_little_in_the_cart_says_what_is_missing(visitor: Client, world: Any) -> None:
    dress, extras = world
    html = visitor.get(f"/checkout/?line={dress.pk}:1").content.decode()
    assert "再买 ¥51 可换购" in html
    assert html.count('data-test="add-on-closed"') == 3
    cheat = form_of(html) | {"addon": [str(extras[0].pk)]}
    visitor.post("/checkout/", cheat)
    order = Order.objects.get()
    assert (order.total_fen, order.lines.count()) == (9_900, 1)


def test_a_tick_adds_it_another_tick_takes_the_other_one(visitor: Client, world: Any) -> None:
    dress, extras = world
    html = visitor.get(f"/checkout/?line={dress.pk}:2").content.decode()
    assert (html.count('data-test="add-on"'), html.count('data-test="add-on-closed"')) == (2, 1)
    html = visitor.get(linked(html, "add-on")).content.decode()
    assert form_of(html)["addon"] == [str(extras[0].pk)]
    assert form_of(html)["total"] == ["20790"]
    second = html.split('data-test="add-on"')[1]
    html = visitor.get(
        linked(f'<a {second.rsplit("<a ", 1)[1]} data-test="add-on">', "add-on")
    ).content.decode()
    assert form_of(html)["addon"] == [str(extras[1].pk)]
    visitor.post("/checkout/", form_of(html))
    order = Order.objects.get()
    assert order.total_fen == 20_790
    assert list(order.lines.order_by("pk").values_list("sku_id", "quantity", "total_fen")) == [
        (dress.pk, 2, 19_800),
        (extras[1].pk, 1, 990),
    ]
    assert builders.stock_of(extras[1]) == (5, 1)
    assert run_audit()[1] == []


def test_the_cart_has_boxes_that_lead_to_the_checkout(visitor: Client, shopper: Any, world: Any) -> None:
    dress, extras = world
    services.add_to_cart(member_id=shopper.pk, sku_id=dress.pk, quantity=2)
    ticks = {"sku": [str(dress.pk)], "addon": [str(extras[1].pk), "999999"]}
    html = visitor.post("/cart/", ticks, headers={"HX-Request": "true"}).content.decode()
    assert "207.90" in html
    assert html.count("checked") == 3  # the line, all, the add-on
    answer = visitor.post("/cart/checkout/", ticks)
    assert f"addon={extras[1].pk}" in answer["Location"]
    assert form_of(visitor.get(answer["Location"]).content.decode())["total"] == ["20790"]
