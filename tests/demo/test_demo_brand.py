"""The demo brand is believable, adds up, and can be loaded again."""

import io
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from PIL import Image

from analytics.models import LifetimeRow
from campaigns.models import WinBackRule
from config import processes
from config.demo_brand import loading, marketing, people, pictures
from config.demo_brand.catalogue import CATEGORIES, ITEMS
from config.demo_brand.wording import full_width
from core import clock
from core.audits import run_audit
from crm import queries as crm_queries
from crm.models import Activity, Identity, Member, MemberStats, PointsTask, Segment, Store
from shop import queries
from shop.models import (
    AfterSale,
    Booking,
    Category,
    CouponGrant,
    Fulfilment,
    Invoice,
    MallItem,
    MemberPrice,
    Offer,
    OfferWaiting,
    Order,
    Product,
    ProductImage,
    Question,
    RechargeOffer,
    Review,
    Sku,
    Voucher,
)
from wechat.models import Account


@pytest.fixture
def place(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own; pictures are kept between tests, they never change."""
    settings.MEDIA_ROOT = settings.VAR / "test-demo-media"
    settings.VAR = tmp_path
    settings.SANDBOX_URL = ""
    monkeypatch.setattr(people, "MEMBERS", 120)
    return tmp_path


@pytest.mark.django_db
def test_the_demo_is_complete_adds_up_and_stays_when_loaded_again(place: Path, client: Client) -> None:
    loading.load()
    assert Category.objects.count() == len(CATEGORIES) == 8
    assert Product.objects.filter(status="on_sale", kind="goods").count() == len(ITEMS) == 60
    assert {"virtual", "service", "bundle"} == set(
        Product.objects.exclude(kind="goods").values_list("kind", flat=True)
    )
    assert not Product.objects.filter(status="on_sale", is_in_stock=False).exclude(kind="goods").exists()
    assert all(2 <= product.skus.count() <= 4 for product in Product.objects.filter(kind="goods")[:20])
    assert Store.objects.count() == 4
    assert Member.objects.count() == Identity.objects.filter(kind="openid").count() == 120
    assert Account.objects.count() == 5
    assert set(Group.objects.values_list("name", flat=True)) == {"运营", "店长", "客服"}
    assert run_audit()[1] == []
    assert (MallItem.objects.count(), PointsTask.objects.count(), RechargeOffer.objects.count()) == (5, 8, 4)
    fresh = Segment.objects.get(is_live=True)
    assert (fresh.changes.exists(), fresh.days.count()) == (True, 30)
    kinds = set(Activity.objects.values_list("kind", flat=True))
    assert {
        "followed",
        "visited",
        "viewed_product",
        "paid",
        "shipped",
        "touched",
        "opened",
        "unfollowed",
    } <= kinds
    assert {"received", "shipped", "paid", "refunded"} <= set(Order.objects.values_list("status", flat=True))
    assert MemberStats.objects.filter(orders_count__gt=0).count() > 30
    assert LifetimeRow.objects.filter(alive__gt=0, expected_orders_milli__gt=0).exists(), (
        "the lifecycle came first"
    )
    assert len(list(crm_queries.silent_since(clock.now() - timedelta(days=60)))) >= 5
    states: dict[Any, tuple[str, set[str]]] = {
        AfterSale: ("status", {"applied", "approved", "returned", "received", "refunded", "refused"}),
        Fulfilment: ("state", {"waiting", "ready", "shipped", "handed_over"}),
        Review: ("state", {"shown", "pending"}),
        Question: ("state", {"shown", "open"}),
        Invoice: ("status", {"requested", "issued"}),
        Booking: ("state", {"booked"}),
        CouponGrant: ("state", {"held", "used"}),
    }
    for model, (name, wanted) in states.items():
        assert wanted <= set(model.objects.values_list(name, flat=True)), model
    assert sorted(offer.left for offer in Offer.objects.filter(kind="flash")) == [0, 20, 43]
    assert OfferWaiting.objects.count() == 5
    star = Member.objects.get(identities__value=people.STAR_OPENID)
    assert star.tier == "金卡"
    assert MemberPrice.objects.filter(tier="金卡").count() == 3
    assert [
        order.can_pay(clock.now()) for order in Order.objects.filter(member=star, presale__isnull=False)
    ] == [True]
    assert set(Voucher.objects.filter(line__order__member=star).values_list("state", flat=True)) == {
        "redeemed",
        "unused",
    }
    assert Order.objects.filter(deposit_paid_at__isnull=False, paid_at__isnull=True).count() == 4
    assert queries.with_companions(Fulfilment.objects.all()).filter(companions_count=2).count() == 3
    assert {"paid", "shipped", "received"} <= set(
        Order.objects.filter(member=star).values_list("status", flat=True)
    )
    assert Order.objects.get(member=star, fulfilments__reason="split", fulfilments__store__code="hubin")

    login = json.loads((place / "demo-login.json").read_text())
    assert stat.S_IMODE((place / "demo-login.json").stat().st_mode) == 0o600
    assert client.login(username=login["username"], password=login["password"])
    assert User.objects.get(username="lina").staff.store.code == "xintiandi"

    image = ProductImage.objects.select_related("product").order_by("pk")[0]
    assert (image.width, image.height) == (800, 800)
    assert image.image.size < 60_000
    assert 0 < image.thumbnail.size < 30_000

    counts = [model.objects.count() for model in (Member, Activity, Order, Sku, ProductImage)]
    loading.load()
    assert [model.objects.count() for model in (Member, Activity, Order, Sku, ProductImage)] == counts
    assert json.loads((place / "demo-login.json").read_text()) == login
    assert run_audit()[1] == []


@pytest.mark.django_db
def test_a_production_database_is_left_alone(settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError):
        call_command("demo_brand")
    assert Member.objects.count() == 0


def test_the_same_picture_has_the_same_bytes() -> None:
    wish = {"shape": "round", "tone": "rose", "label": "玫瑰", "seed": "玫瑰信笺"}
    one, two = pictures.picture(**wish), pictures.picture(**wish)
    assert one == two
    assert one != pictures.picture(**wish, angle=1)
    with Image.open(io.BytesIO(one)) as image:
        assert (image.size, image.format) == ((800, 800), "WEBP")


def test_the_texts_carry_chinese_punctuation() -> None:
    assert full_width("风,从海面来(夏天)") == "风\uff0c从海面来\uff08夏天\uff09"
    assert full_width("100ml, 50ml") == "100ml, 50ml"
    for item in ITEMS:
        for text in (item.line, item.story, *item.facts.values()):
            assert not any(mark + letter in full_width(text) for mark in ",;" for letter in "的一不是")


@pytest.mark.django_db
def test_what_the_shop_asks_for_after_a_payment_is_what_the_win_back_rule_sends(place: Path) -> None:
    marketing.put_tags()
    marketing.put_rules(Account.objects.create(kind="service", key="brand", name="池塘香氛服务号"))
    rule = WinBackRule.objects.get()
    asked = processes.demo_environment(var=place, port=1, sandbox_port=2)["ORDER_TEMPLATES"].split(",")
    assert rule.is_active
    assert rule.template_id in asked
    assert {"subscribe", "mass"} <= set(rule.channels)
    for name, text in rule.template_fields.items():
        assert name.startswith("thing")
        assert len(text) <= 20
