"""Offers, coupons and points when many want them at once: threads with connections of their own.

Every order is priced as if everything were still to be had, so that the database alone decides.
"""

from functools import partial
from typing import Any

import pytest
from django.db.models import Sum

from core import clock
from core.audits import run_audit
from shop import services
from shop.errors import CouponRefused, OfferGone
from shop.models import CouponGrant, Offer, OfferTake, OfferTally, OfferWaiting, Order
from shop.pricing.types import Choices
from tests.shop import builders, instruments
from tests.shop.test_races import at_once, buying, one_holds_while_other_waits

pytestmark = pytest.mark.django_db(transaction=True)


def kinds(results: list[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for result in results:
        counts[type(result).__name__] = counts.get(type(result).__name__, 0) + 1
    return counts


def test_ten_pieces_and_forty_buyers_give_exactly_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    dress = builders.sku(stock=100)
    flash = instruments.offer(dress)
    instruments.quote_with(monkeypatch, offers=(flash,))
    results = at_once(*[buying((dress, 1)) for _ in range(40)])
    assert kinds(results) == {"Order": 10, "OfferGone": 30}
    assert {result.reason for result in results if isinstance(result, OfferGone)} == {"gone"}
    flash.refresh_from_db()
    assert (flash.taken, OfferTake.objects.aggregate(n=Sum("quantity"))["n"], Order.objects.count()) == (
        10,
        10,
        10,
    )
    assert builders.stock_of(dress) == (100, 10)
    assert run_audit()[1] == []


def test_one_member_takes_no_more_than_her_share_however_fast_she_clicks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dress, buyer = builders.sku(stock=100), builders.member()
    flash = instruments.offer(dress, per_member_limit=2)
    instruments.quote_with(monkeypatch, offers=(flash,))
    results = at_once(*[lambda: builders.order(buyer, (dress, 1)) for _ in range(6)])
    assert kinds(results) == {"Order": 2, "OfferGone": 4}
    assert OfferTally.objects.get(offer=flash, member_id=buyer.pk).taken == 2
    flash.refresh_from_db()
    assert flash.taken == 2


def test_the_first_order_price_is_for_one_order_whatever_the_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    buyer, skus = builders.member(), [builders.sku() for _ in range(4)]
    welcomes = [instruments.offer(sku, kind="first_order", price_fen=10) for sku in skus]
    instruments.quote_with(monkeypatch, offers=tuple(welcomes))
    results = at_once(*[lambda sku=sku: builders.order(buyer, (sku, 1)) for sku in skus])
    assert kinds(results) == {"Order": 1, "OfferGone": 3}
    assert {result.reason for result in results if isinstance(result, OfferGone)} == {"first_order"}
    assert OfferTake.objects.get().is_first_order
    assert Offer.objects.aggregate(n=Sum("taken"))["n"] == 1


def test_a_coupon_pays_for_one_order_only(monkeypatch: pytest.MonkeyPatch) -> None:
    dress, buyer = builders.sku(stock=100), builders.member()
    held = services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=buyer.pk, key="test:one")
    instruments.quote_with(monkeypatch, coupons=(held.pk,))
    results = at_once(
        *[lambda number=number: _order(buyer, dress, held.pk, f"race-key-{number}") for number in range(4)]
    )
    assert kinds(results) == {"Order": 1, "CouponRefused": 3}
    held.refresh_from_db()
    placed = Order.objects.get()
    assert (held.state, held.order_id, placed.discount_fen) == ("used", placed.pk, 1_000)
    assert builders.stock_of(dress) == (100, 1)


def _order(buyer: Any, dress: Any, grant_id: int, key: str) -> Order:
    return services.place_order(
        member_id=buyer.pk,
        lines=[(dress.pk, 1)],
        address=builders.ADDRESS,
        idempotency_key=key,
        choices=Choices(coupon_ids=(grant_id,)),
    )


def test_points_are_held_for_one_order_only(monkeypatch: pytest.MonkeyPatch) -> None:
    dress, buyer = builders.sku(stock=100), builders.member()
    instruments.give_points(buyer, 900)
    instruments.quote_with(monkeypatch, points=500)
    results = at_once(*[lambda: builders.order(buyer, (dress, 1)) for _ in range(3)])
    assert kinds(results) == {"Order": 1, "PointsRefused": 2}
    assert instruments.points_of(buyer) == (900, 500)


def test_a_coupon_of_five_is_given_to_five_and_once_each() -> None:
    few = instruments.coupon(quota=5)
    members = [builders.member() for _ in range(12)]
    calls = [
        lambda member=member, turn=turn: services.claim_coupon(
            code=few.code, member_id=member.pk, token=f"turn-{turn}"
        )
        for member in members
        for turn in range(2)
    ]
    results = at_once(*calls)
    few.refresh_from_db()
    assert (few.granted_count, CouponGrant.objects.count()) == (5, 5)
    assert kinds(results) == {"CouponGrant": 5, "CouponRefused": 19}
    assert CouponGrant.objects.values("member_id").distinct().count() == 5


def test_however_often_she_taps_she_gets_one() -> None:
    many, buyer = instruments.coupon(), builders.member()
    results = at_once(
        *[
            lambda turn=turn: services.claim_coupon(code=many.code, member_id=buyer.pk, token=f"turn-{turn}")
            for turn in range(5)
        ]
    )
    many.refresh_from_db()
    assert kinds(results) == {"CouponGrant": 1, "CouponRefused": 4}
    assert many.granted_count == 1


def test_batches_and_claims_at_once_stay_within_quota_and_limit() -> None:
    few = instruments.coupon(quota=7)
    members = [builders.member() for _ in range(6)]
    batch = [member.pk for member in members]
    results = at_once(
        lambda: services.grant_coupons(coupon_id=few.pk, member_ids=batch, key="batch:a"),
        lambda: services.grant_coupons(coupon_id=few.pk, member_ids=batch, key="batch:b"),
        *[
            lambda member=member: services.claim_coupon(code=few.code, member_id=member.pk, token="t")
            for member in members
        ],
    )
    few.refresh_from_db()
    assert (few.granted_count, CouponGrant.objects.count()) == (6, 6)
    assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, CouponRefused)]


def test_pieces_return_once_however_often_the_order_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    dress, buyer = builders.sku(stock=100), builders.member()
    flash = instruments.offer(dress, price_fen=5_000)
    held = services.grant_coupon(coupon_id=instruments.coupon().pk, member_id=buyer.pk, key="test:one")
    instruments.give_points(buyer, 300)
    instruments.quote_with(monkeypatch, offers=(flash,), coupons=(held.pk,), points=300)
    order = builders.order(buyer, (dress, 1))
    assert instruments.points_of(buyer) == (300, 300)
    assert kinds(at_once(*[lambda: builders.release(order) for _ in range(4)])) == {"Order": 4}
    flash.refresh_from_db()
    held.refresh_from_db()
    assert (flash.taken, held.state, instruments.points_of(buyer)) == (0, "held", (300, 0))
    assert OfferTally.objects.get().taken == 0
    again = builders.order(buyer, (dress, 1))  # everything can be used once more
    assert again.pk != order.pk
    assert run_audit()[1] == []


def test_pieces_of_one_order_return_once_though_two_give_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    dress = builders.sku(stock=100)
    flash = instruments.offer(dress)
    instruments.quote_with(monkeypatch, offers=(flash,))
    order, _other = buying((dress, 1))(), buying((dress, 1))()
    undo = partial(services.undo_effects, order, cause="now")
    assert one_holds_while_other_waits(undo, undo) == (None, None)
    flash.refresh_from_db()
    assert flash.taken == 1


def test_one_piece_that_lies_free_is_told_to_one_though_the_job_runs_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flash = instruments.offer(builders.sku(stock=5), quota=1)
    for _place in range(2):
        OfferWaiting.objects.create(offer=flash, member=builders.member(), joined_at=clock.now())
    monkeypatch.setattr("shop.services.offers._tell", lambda _offer, _waiting: "sent")
    assert one_holds_while_other_waits(services.tell_waiting_again, services.tell_waiting_again) == (1, 0)
    assert OfferWaiting.objects.filter(told_at__isnull=False).count() == 1
