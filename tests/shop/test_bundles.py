"""Bundles: as many as their scarcest part allows, ordered as their parts, given back to the fen."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from core.audits import run_audit
from shop import queries, services
from shop.errors import BundleRefused, SoldOut
from shop.models import BundleItem, CartLine, Order, OrderBundle, Product
from shop.pricing.types import Choices
from tests.shop import builders
from tests.shop.goods import bundle, ordered, service
from tests.shop.stores import XINTIANDI, lay, store
from tests.shop.test_aftersales import money_is_back
from tests.shop.test_races import at_once
from tests.shop.test_vouchers import phone_of, text_of

pytestmark = pytest.mark.django_db


def clean() -> bool:
    return run_audit()[1] == []


def available(sku: Any) -> int:
    return queries.product_page(sku.product_id).skus[0].available


def test_a_bundle_is_as_many_as_its_scarcest_part_allows_and_reserves_its_parts() -> None:
    cream, serum = builders.sku(stock=7, price_fen=20_000), builders.sku(stock=5, price_fen=15_001)
    box = bundle((cream, 1), (serum, 2), price_fen=40_001)
    assert available(box) == 2
    buyer = builders.member()
    services.add_to_cart(member_id=buyer.pk, sku_id=box.pk, quantity=2)
    services.add_to_cart(member_id=buyer.pk, sku_id=cream.pk, quantity=1)
    order = services.place_order(
        member_id=buyer.pk, lines=[(box.pk, 2)], address=builders.ADDRESS, idempotency_key="box-key-1",
        from_cart=True, expected_total_fen=80_002,
    )  # fmt: skip
    assert list(CartLine.objects.values_list("sku", flat=True)) == [cream.pk]
    assert (builders.stock_of(cream), builders.stock_of(serum)) == ((7, 2), (5, 4))
    kept = OrderBundle.objects.get()
    assert (kept.quantity, kept.unit_price_fen) == (2, 40_001)
    assert {line.sku_id: (line.kind, line.quantity, line.bundle_id) for line in order.lines.all()} == {
        cream.pk: ("part", 2, kept.pk),
        serum.pk: ("part", 4, kept.pk),
    }
    assert sum(line.total_fen for line in order.lines.all()) == order.total_fen == 80_002
    assert available(box) == 0
    assert clean()
    with pytest.raises(SoldOut):
        builders.order(builders.member(), (box, 1))
    builders.release(order)
    assert available(box) == 2
    assert clean()


def test_a_part_goes_back_alone_and_everything_gives_back_exactly_what_was_paid() -> None:
    parts = [
        (builders.sku(stock=9, price_fen=price), count) for price, count in ((333, 3), (777, 1), (101, 2))
    ]
    order = builders.pay(builders.order(builders.member(), (bundle(*parts, price_fen=1_000), 1)))
    first = order.lines.order_by("pk")[0]
    services.refund_lines(order_id=order.pk, parts=[(first.pk, 2)], reason="多了")
    money_is_back()
    order.refresh_from_db()
    assert 0 < order.refunded_fen < 1_000
    assert builders.stock_of(first.sku) == (9, 1)
    assert clean()
    services.refund_order(order_id=order.pk, reason="都不要了")
    money_is_back()
    order.refresh_from_db()
    assert (order.status, order.refunded_fen) == (Order.REFUNDED, 1_000)
    assert [builders.stock_of(sku) for sku, _count in parts] == [(9, 0)] * 3
    assert clean()


def test_a_bundle_may_hold_a_service_and_be_collected_in_a_store() -> None:
    shop, cream = store(XINTIANDI), builders.sku(stock=0, price_fen=20_000)
    lay(cream, shop, 1)
    box = bundle((cream, 1), (service(price_fen=10_000), 1))
    assert [one.has_all for one in queries.pickup_choices(queries.parcel_lines([(box.pk, 1)]))] == [True]
    order = services.place_order(
        member_id=builders.member().pk, lines=[(box.pk, 1)], address=builders.ADDRESS,
        choices=Choices(delivery="pickup", pickup_store_id=shop.pk), idempotency_key="box-key-2",
    )  # fmt: skip
    builders.pay(order)
    assert [line.vouchers.count() for line in order.lines.order_by("pk")] == [0, 1]
    services.redeem_pickup(code=order.fulfilments.get().code, store_id=shop.pk, by="李娜")
    order.refresh_from_db()
    assert order.status == Order.RECEIVED
    assert clean()
    whole = bundle((service(), 1), (service(), 2), price_fen=100)
    assert ordered(builders.member(), (whole, 1)).shipping_fen == 0
    assert clean()


def test_a_bundle_in_a_bundle_is_refused_by_the_command_and_by_the_database() -> None:
    cream = builders.sku(stock=1)
    inner, outer = bundle((cream, 1)), bundle((cream, 2))
    with pytest.raises(BundleRefused):
        services.set_bundle(bundle_id=outer.pk, parts=[(inner.pk, 1)])
    with pytest.raises(BundleRefused):
        services.set_bundle(bundle_id=cream.pk, parts=[(inner.pk, 1)])
    for values in ({"bundle": inner, "sku": outer}, {"bundle": cream, "sku": builders.sku()}):
        with pytest.raises(IntegrityError), transaction.atomic():
            BundleItem.objects.create(**values)
    assert BundleItem.objects.count() == 2
    assert available(inner) == 1
    assert available(outer) == 0


@pytest.mark.django_db(transaction=True)
def test_the_last_part_is_sold_once_alone_or_in_a_bundle() -> None:
    cream, serum = builders.sku(stock=3), builders.sku(stock=9)
    box = bundle((cream, 1), (serum, 1))
    buyers = [builders.member() for _ in range(8)]
    results = at_once(
        *[
            lambda buyer=buyer, sku=sku: builders.order(buyer, (sku, 1))
            for buyer, sku in zip(buyers, [box, cream] * 4, strict=True)
        ]
    )
    assert sum(isinstance(one, Order) for one in results) == 3
    assert sum(isinstance(one, SoldOut) for one in results) == 5
    assert builders.stock_of(cream) == (3, 3)
    assert clean()


def test_pages_show_what_is_in_a_bundle(admin_client: Client) -> None:
    cream, buyer = builders.sku(stock=4, product_name="晨雾面霜"), builders.member()
    box, phone = bundle((cream, 2), price_fen=10_000), phone_of(buyer)
    page = text_of(phone.get(f"/p/{box.product_id}/"))
    assert 'data-test="bundle-parts"' in page
    assert "晨雾面霜" in page
    apart = 2 * cream.price_fen
    assert f"单买合计 ¥{apart / 100:g}，套装省 ¥{(apart - 10_000) / 100:g}" in page
    assert "晨雾面霜" in text_of(phone.get(f"/checkout/?line={box.pk}:1"))
    order = builders.pay(builders.order(buyer, (box, 2)))
    page = text_of(phone.get(f"/orders/{order.number}/"))
    assert 'data-test="order-saving"' not in page
    assert page.count('data-test="bundle-part"') == 1
    assert "×4" in page
    assert box.product.name in text_of(phone.get("/orders/"))
    services.refresh_sold_counts()
    assert Product.objects.get(pk=box.product_id).sold_count == 2
    assert available(box) == 0
    assert "已售罄" in text_of(phone.get(f"/p/{box.product_id}/"))
    assert admin_client.get("/admin/shop/bundle/").status_code == 200
    assert admin_client.get(f"/admin/shop/bundle/{box.pk}/change/").status_code == 200
    item = BundleItem.objects.get()
    answer = admin_client.post(
        f"/admin/shop/bundle/{box.pk}/change/",
        {
            "items-TOTAL_FORMS": "1", "items-INITIAL_FORMS": "1", "items-MIN_NUM_FORMS": "1",
            "items-0-id": item.pk, "items-0-bundle": box.pk, "items-0-sku": cream.pk, "items-0-quantity": "1",
        },
    )  # fmt: skip
    assert answer.status_code == 302
    assert BundleItem.objects.get().quantity == 1
