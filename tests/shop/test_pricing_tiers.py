"""A member's tier: set by an operator, it decides her prices and promotions, and nobody else sees them."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock
from crm import sessions
from crm.models import Member
from crm.services import merge_members, prepare_months_ahead
from shop import services
from shop.models import Category, MemberPrice, Order, Promotion, Sku
from shop.pages import frame
from shop.services import hot
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db


def phone_of(member: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, member)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def gold(name: str = "金小满") -> Any:
    buyer = builders.member(name)
    Member.objects.filter(pk=buyer.pk).update(tier="金卡")
    return buyer


@pytest.fixture
def dress() -> Sku:
    """¥100, ¥80 for gold; gold also has a promotion of its own from two pieces."""
    prepare_months_ahead(1)
    made, moment = builders.sku(price_fen=10_000), clock.now()
    MemberPrice.objects.create(sku=made, tier="金卡", price_fen=8_000)
    MemberPrice.objects.create(sku=made, tier="银卡", price_fen=9_000)
    Promotion.objects.create(
        title="金卡满 150 减 10",
        kind="amount_off",
        is_active=True,
        starts_at=moment - timedelta(days=1),
        ends_at=moment + timedelta(days=1),
        threshold_fen=15_000,
        amount_fen=1_000,
        tiers="金卡，黑卡",
    )
    return made


def test_her_tier_decides_what_she_sees_and_pays_and_the_kept_page_stays_everybodys(
    dress: Sku, settings: Any
) -> None:
    settings.FRAGMENT_SECONDS = 60.0
    frame.forget_fragments()
    buyer, plain = gold(), builders.member()
    address = f"/p/{dress.product_id}/"
    try:
        for _twice in range(2):  # whoever comes first, and out of what was kept then
            mine = phone_of(buyer).get(address).content.decode()
            assert "金卡 · 会员价" in mine
            assert "<span data-price>80</span>" in mine
            assert "金卡满 150 减 10" in mine
            for other in (phone_of(plain), Client()):
                page = other.get(address).content.decode()
                assert "会员价" not in page
                assert "<span data-price>100</span>" in page
                assert "金卡" not in page
    finally:
        frame.forget_fragments()
    assert "金卡" in phone_of(buyer).get("/me/").content.decode()
    page = phone_of(buyer).get(f"/checkout/?line={dress.pk}:2").content.decode()
    assert "会员价" in page
    saved = services.save_address(member_id=buyer.pk, address=builders.ADDRESS)
    form = {"line": f"{dress.pk}:2", "address": saved.pk}
    for key in ("a" * 24, "b" * 24):  # also when this process knows the rules already
        assert phone_of(buyer).post("/checkout/", {**form, "key": key}).status_code == 302
    assert set(Order.objects.values_list("total_fen", flat=True)) == {15_000}
    assert builders.order(buyer, (dress, 2)).total_fen == 15_000
    assert builders.order(plain, (dress, 2)).total_fen == 20_000
    assert services.quote(member_id=buyer.pk, lines=[(dress.pk, 1)], tier="银卡").total_fen == 9_000


def test_cards_show_her_tiers_price_and_the_kept_lists_stay_everybodys(settings: Any) -> None:
    prepare_months_ahead(1)
    settings.FRAGMENT_SECONDS = 60.0
    frame.forget_fragments()
    shelf = Category.objects.create(name="裙装")
    dress, beside = builders.sku(price_fen=10_000, category=shelf), builders.sku()
    MemberPrice.objects.create(sku=dress, tier="金卡", price_fen=8_000)
    beside.product.related.add(dress.product_id)
    hers, others = phone_of(gold()), (phone_of(builders.member()), Client())
    pages = [(page, page) for page in ("/", f"/category/{shelf.pk}/", "/search/?sort=new")]
    for part in (f"/category/{shelf.pk}/", f"/p/{beside.product_id}/beside/"):
        pages.append((f"{part}?mine=1", part))  # what a page of hers asks for next, and one of anybody's
    try:
        for number, (mine, page) in enumerate(pages):
            headers = {"HX-Request": "true"} if number > 2 else {}
            for _twice in range(2):  # whoever comes first, and out of what was kept then
                text = hers.get(mine, headers=headers).content.decode()
                assert "<small>¥</small>80</span>" in text, page
                assert "金卡 · 会员价" in text, page
                assert "¥100</span>" in text, page
                for other in others:
                    for address in (mine, page):
                        text = other.get(address, headers=headers).content.decode()
                        assert "会员价" not in text, page
                        assert "<small>¥</small>100</span>" in text, page
        for one in (hers, others[0]):
            with CaptureQueriesContext(connection) as asked:
                one.get(pages[1][1])
            assert len(asked) == 1, asked.captured_queries  # who she is; the rest is kept
        assert "/beside/?mine=1" in hers.get(f"/p/{beside.product_id}/").content.decode()
        assert '/beside/"' in others[0].get(f"/p/{beside.product_id}/").content.decode()
    finally:
        frame.forget_fragments()


def test_a_hot_offer_goes_through_the_checkout_when_a_tier_has_it_cheaper(dress: Sku) -> None:
    buyer, plain = gold(), builders.member()
    for one in (buyer, plain):
        services.save_address(member_id=one.pk, address=builders.ADDRESS)
    offer = instruments.offer(dress, price_fen=8_500)
    answer = hot.buy_offer(offer_id=offer.pk, member_id=buyer.pk, key="k" * 20)
    assert answer.state == hot.CHECKOUT
    MemberPrice.objects.update(
        price_fen=8_600
    )  # what is left of the tier's own does not make the offer cheaper
    assert hot.buy_offer(offer_id=offer.pk, member_id=plain.pk, key="k" * 20).state == hot.PLACED


def test_the_operator_chooses_among_the_tiers_that_mean_something(dress: Sku, client: Client) -> None:
    client.force_login(User.objects.create_superuser("yunying"))
    buyer = builders.member()
    page = reverse("admin:crm_member_change", args=[buyer.pk]) + "?edit=1"
    shown = client.get(page).content.decode()
    assert all(f'value="{word}"' in shown for word in ("金卡", "银卡", "黑卡"))
    form = {"name": "小池", "birthday": "", "time_zone": "", "note": ""}
    assert "tier" in client.post(page, form | {"tier": "钻石卡"}).context["adminform"].form.errors
    client.post(page, form | {"tier": "金卡"})
    buyer.refresh_from_db()
    assert buyer.tier == "金卡"
    listed = client.get(reverse("admin:crm_member_changelist") + "?tier=金卡").content.decode()
    assert f"#{buyer.pk}" in listed
    older = builders.member()
    kept = merge_members(kept_id=older.pk, merged_id=buyer.pk)
    assert kept.tier == "金卡"
