"""How many of a product one may buy: per order, per person, given back with what she does not keep."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client

from core.audits import run_audit
from crm import sessions
from crm.services import prepare_months_ahead
from shop import services
from shop.errors import LimitReached, OfferGone
from shop.models import Offer, OfferTake, Order, Product, ProductTally, Refund, Sku
from tests.shop import builders, instruments
from tests.shop.test_races import at_once, one_holds_while_other_waits

CHECK = "shop.product_tallies_are_what_members_bought"


@pytest.fixture
def shopper(db: None) -> Any:
    prepare_months_ahead(1)
    member = builders.member(name="林小满", openid="o-test")
    services.save_address(member_id=member.pk, address=builders.ADDRESS, is_default=True)
    return member


@pytest.fixture
def visitor(shopper: Any) -> Client:
    carrier = HttpResponse()
    sessions.log_in(carrier, shopper)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def limited(**limits: int | None) -> tuple[Sku, Sku]:
    """Two variants of one product."""
    first = builders.sku(stock=50, product_name="限量香氛")
    Product.objects.filter(pk=first.product_id).update(**limits)
    return first, builders.sku(stock=50, product=first.product)


def taken(sku: Sku, member: Any) -> int | None:
    found = ProductTally.objects.filter(product_id=sku.product_id, member_id=member.pk)
    return found.values_list("taken", flat=True).first()


@pytest.mark.django_db
def test_an_order_has_no_more_than_its_limit_whatever_the_variant(shopper: Any) -> None:
    red, blue = limited(limit_per_order=2)
    with pytest.raises(LimitReached, match="一个订单最多 2 件") as refusal:
        builders.order(shopper, (red, 1), (blue, 2))
    assert (refusal.value.left, Order.objects.exists(), builders.stock_of(red)) == (2, False, (50, 0))
    for _again in range(2):
        builders.order(shopper, (red, 1), (blue, 1))
    assert not ProductTally.objects.exists()


@pytest.mark.django_db
def test_what_she_does_not_keep_she_may_buy_again(shopper: Any) -> None:
    red, blue = limited(limit_per_member=3)
    first = builders.order(shopper, (red, 1), (blue, 1))
    with pytest.raises(LimitReached, match="每人限购 3 件，您还可以买 1 件"):
        builders.order(shopper, (red, 2))
    paid = builders.pay(builders.order(shopper, (red, 1)))
    with pytest.raises(LimitReached, match="已买满"):
        builders.order(shopper, (red, 1))
    builders.order(builders.member(), (red, 3))  # another's limit is her own
    for _twice in range(2):
        builders.release(first)
        services.undo_effects(first, cause="release")
    assert taken(red, shopper) == 1
    refund = services.refund_order(order_id=paid.pk, reason="不想要了")
    assert taken(red, shopper) == 1  # until the money is back
    for _twice in range(2):
        services.confirm_refund(
            out_refund_no=refund.out_refund_no, refund_id="r", status="SUCCESS", refund_fen=refund.amount_fen
        )
    assert taken(red, shopper) == 0
    builders.order(shopper, (blue, 3))
    assert run_audit()[1] == []
    for corruption in ("UPDATE shop_producttally SET taken = 2", "DELETE FROM shop_producttally"):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(corruption)
            assert CHECK in {finding.check for finding in run_audit()[1]}
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_a_limit_that_comes_later_counts_what_she_has(shopper: Any) -> None:
    red, _blue = limited()
    builders.order(shopper, (red, 2))
    Product.objects.filter(pk=red.product_id).update(limit_per_member=3)
    assert taken(red, shopper) == 2
    with pytest.raises(LimitReached):
        builders.order(shopper, (red, 2))
    other = builders.member(name="小满的旧号")
    builders.order(other, (red, 1))
    services.move_member(kept_id=shopper.pk, merged_id=other.pk)
    assert (taken(red, shopper), run_audit()[1]) == (3, [])
    Product.objects.filter(pk=red.product_id).update(limit_per_member=None)
    assert taken(red, shopper) is None


@pytest.mark.django_db
def test_late_money_does_not_revive_an_order_past_the_limit(shopper: Any) -> None:
    red, _blue = limited(limit_per_member=2)
    order = builders.order(shopper, (red, 2))
    payment = builders.payment(order)
    builders.release(order)
    builders.order(shopper, (red, 1))
    assert builders.confirm(payment).status == Order.CANCELLED
    assert Refund.objects.get().kind == Refund.LATE
    assert (taken(red, shopper), builders.stock_of(red), run_audit()[1]) == (1, (50, 1), [])


@pytest.mark.django_db(transaction=True)
def test_however_fast_she_clicks_the_limit_holds() -> None:
    buyer, (red, blue) = builders.member(), limited(limit_per_member=2)
    calls: list[Callable[[], Any]] = [
        lambda sku=sku: builders.order(buyer, (sku, 1)) for sku in (red, blue, red, blue, red, blue)
    ]
    results = at_once(*calls)
    assert sorted(type(result).__name__ for result in results) == ["LimitReached"] * 4 + ["Order"] * 2
    assert (taken(red, buyer), run_audit()[1]) == (2, [])
    mine = [result for result in results if isinstance(result, Order)]
    again = at_once(*[lambda order=order: builders.release(order) for order in mine], *calls[:4])
    assert not [result for result in again if not isinstance(result, (Order, LimitReached))]
    kept = Order.objects.exclude(status=Order.CANCELLED).count()
    assert (taken(red, buyer), kept <= 2, run_audit()[1]) == (kept, True, [])


@pytest.mark.django_db(transaction=True)
def test_the_count_of_a_new_limit_waits_for_the_order_that_is_being_written() -> None:
    buyer, (red, _blue) = builders.member(), limited()
    one_holds_while_other_waits(
        lambda: builders.order(buyer, (red, 2)),
        lambda: Product.objects.filter(pk=red.product_id).update(limit_per_member=3),
    )
    assert (taken(red, buyer), run_audit()[1]) == (2, [])


def test_pages_say_how_many_she_may_still_buy(visitor: Client, shopper: Any) -> None:
    red, _blue = limited(limit_per_member=2)
    page = f"/p/{red.product_id}/"
    assert "每人限购 2 件" in visitor.get(page).content.decode()
    services.add_to_cart(member_id=shopper.pk, sku_id=red.pk, quantity=3)
    assert "每人限购 2 件：您还可以买 2 件" in visitor.get("/cart/").content.decode()
    checkout = visitor.get(f"/checkout/?line={red.pk}:3").content.decode()
    assert "您还可以买 2 件" in checkout
    assert 'data-test="checkout-submit" disabled' in checkout
    builders.order(shopper, (red, 2))
    html = visitor.get(page).content.decode()
    assert "您已买满" in html
    assert 'data-test="add-to-cart"' not in html


@pytest.mark.django_db
def test_a_group_price_is_for_teams_only(
    monkeypatch: pytest.MonkeyPatch, shopper: Any, visitor: Client
) -> None:
    sku = builders.sku(price_fen=9_900)
    group = instruments.offer(sku, kind=Offer.GROUP, price_fen=100)
    assert services.quote(member_id=shopper.pk, lines=[(sku.pk, 1)]).total_fen == 9_900
    assert group.name not in visitor.get(f"/p/{sku.product_id}/").content.decode()
    instruments.quote_with(monkeypatch, offers=(group,))  # as if somebody had got the price in by a side door
    with pytest.raises(OfferGone, match="拼团") as refusal:
        builders.order(shopper, (sku, 1))
    assert (refusal.value.reason, Order.objects.exists()) == ("group", False)


@pytest.mark.django_db
def test_the_welcome_price_returns_only_while_nothing_was_paid(shopper: Any) -> None:
    sku = builders.sku(price_fen=9_900)
    instruments.offer(sku, kind=Offer.FIRST_ORDER, price_fen=10)
    unpaid = builders.order(shopper, (sku, 1))
    assert unpaid.total_fen == 10
    builders.release(unpaid)
    order = builders.pay(builders.order(shopper, (sku, 1)))
    assert order.total_fen == 10
    refund = services.refund_order(order_id=order.pk, reason="不想要了")
    services.confirm_refund(
        out_refund_no=refund.out_refund_no, refund_id="r", status="SUCCESS", refund_fen=10
    )
    assert OfferTake.objects.filter(released_at__isnull=True).count() == 0
    assert builders.order(shopper, (sku, 1)).total_fen == 9_900
