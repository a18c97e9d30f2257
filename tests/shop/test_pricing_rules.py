"""Rules of prices and routing are kept in the process; whatever changes them, the next quote knows."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from core import clock
from crm.models import Member, Store
from shop import services
from shop.models import (
    Brand,
    Category,
    MemberPrice,
    OrderLine,
    PointsPolicy,
    Promotion,
    PromotionExtra,
    ShippingRate,
)
from shop.pricing import Choices, Quote
from tests.shop import builders, instruments, stores


def promotion(**values: Any) -> Promotion:
    """Half off, now."""
    moment = clock.now()
    window = {"starts_at": moment - timedelta(days=1), "ends_at": moment + timedelta(days=1)}
    return Promotion.objects.create(
        **{"title": "五折", "kind": "percent_off", "off_bps": 5_000, "is_active": True, **window, **values}
    )


class Shelf:
    """One SKU under a promotion of the category above it, a coupon, points, a rate."""

    def __init__(self) -> None:
        above = Category.objects.create(name="全部")
        self.category = Category.objects.create(name="香水", parent=above)
        self.sku = builders.sku(price_fen=10_000, category=self.category)
        self.other = builders.sku(price_fen=2_000)
        self.buyer = builders.member()
        Member.objects.filter(pk=self.buyer.pk).update(tier="金卡")
        self.promotion = promotion()
        self.promotion.categories.add(above)
        self.coupon = instruments.coupon()
        services.grant_coupon(coupon_id=self.coupon.pk, member_id=self.buyer.pk, key="kept")
        instruments.give_points(self.buyer, 5_000)
        ShippingRate.objects.create(base_fen=800)
        PointsPolicy.objects.create(pk=1)

    def quote(self) -> Quote:
        choices = Choices(points=1_000)
        return services.quote(member_id=self.buyer.pk, lines=[(self.sku.pk, 1)], choices=choices)


def gift(shelf: Shelf) -> None:
    made = promotion(kind="gift", title="满赠", exclusion_group="")
    PromotionExtra.objects.create(promotion=made, sku=shelf.other)


# Past everything that this process could notice, as another one would.
CHANGES: list[str | Callable[[Shelf], Any]] = [
    "UPDATE shop_promotion SET off_bps = 1000",
    "UPDATE shop_promotion SET is_active = false",
    "UPDATE shop_category SET parent_id = NULL",
    "INSERT INTO shop_promotion_except_products (promotion_id, product_id)"
    " SELECT p.id, s.product_id FROM shop_promotion p, shop_sku s",
    "UPDATE shop_shippingrate SET base_fen = 300",
    "DELETE FROM shop_pointspolicy",
    "UPDATE shop_coupon SET amount_fen = 500",
    lambda shelf: shelf.promotion.categories.set([Category.objects.create(name="空")]),
    lambda shelf: (shelf.promotion.categories.clear(), shelf.promotion.products.add(shelf.other.product)),
    lambda shelf: (shelf.promotion.categories.clear(), shelf.promotion.brands.add(Brand.objects.create(name="无"))),
    lambda shelf: instruments.offer(shelf.sku),
    lambda shelf: MemberPrice.objects.create(sku=shelf.sku, tier="金卡", price_fen=9_000),
    gift,
]  # fmt: skip


@pytest.mark.django_db
def test_a_change_is_known_to_the_next_quote_and_forgotten_with_its_transaction() -> None:
    shelf = Shelf()
    usual = shelf.quote()
    assert usual.total_fen == 5_000 - 2_000 - 1_000 + 800
    for change in CHANGES:
        with transaction.atomic():
            if isinstance(change, str):
                with connection.cursor() as cursor:
                    cursor.execute(change)
            else:
                change(shelf)
            assert shelf.quote() != usual, change
            transaction.set_rollback(True)
        assert shelf.quote() == usual, change
    with CaptureQueriesContext(connection) as asked:
        shelf.quote()
    assert len(asked) == 1


@pytest.mark.django_db
def test_gifts_are_looked_at_by_every_quote() -> None:
    shelf = Shelf()
    gift(shelf)
    assert len(shelf.quote().lines) == 2
    services.adjust_stock(sku_id=shelf.other.pk, change=-10, cause="gone", reason="adjust")
    with CaptureQueriesContext(connection) as asked:
        assert len(shelf.quote().lines) == 1
    assert len(asked) == 1


@pytest.mark.django_db
def test_a_promotion_begins_and_ends_by_the_clock() -> None:
    shelf = Shelf()
    usual, moment = shelf.quote(), clock.now()
    for away in (timedelta(days=2), timedelta(days=-2)):
        with clock.travel(moment + away):
            assert all(note.step != "promotion" for note in shelf.quote().notes)
    assert shelf.quote() == usual


@pytest.mark.django_db
def test_an_order_is_served_by_the_stores_of_now() -> None:
    shelf = Shelf()
    near = stores.store(stores.HUBIN)
    stores.lay(shelf.sku, near, 5)
    placed = [builders.order(shelf.buyer, (shelf.sku, 1))]
    Store.objects.filter(code="warehouse").update(is_active=False)
    placed.append(builders.order(shelf.buyer, (shelf.sku, 1)))
    served = [OrderLine.objects.get(order=one).store_id for one in placed]
    assert served[0] != near.pk == served[1]


@pytest.mark.django_db(transaction=True)
def test_editors_do_not_wait_for_each_other_and_both_are_seen() -> None:
    shelf = Shelf()
    usual, edited, seen = shelf.quote().total_fen, threading.Event(), threading.Event()

    def slow_editor() -> None:
        try:
            with transaction.atomic():
                Promotion.objects.update(off_bps=1_000)
                edited.set()
                seen.wait(60)
        finally:
            connection.close()

    editor = threading.Thread(target=slow_editor)
    editor.start()
    try:
        assert edited.wait(60)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            ShippingRate.objects.update(base_fen=300)
        assert [shelf.quote().total_fen for _twice in range(2)] == [usual - 500] * 2
    finally:
        seen.set()
        editor.join(60)
    assert shelf.quote().total_fen == 9_000 - 2_000 - 1_000 + 300
