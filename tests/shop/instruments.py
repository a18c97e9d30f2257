"""Coupons, offers and points for tests."""

import itertools
from datetime import timedelta
from typing import Any

from core import clock, ledger
from shop.models import Coupon, Offer, Sku
from shop.pricing.types import Discount, Quote, QuotedLine
from shop.services import pricing

_numbers = itertools.count(1)


def coupon(**values: Any) -> Coupon:
    """¥20 off from ¥50, for ten days."""
    number = next(_numbers)
    made = {
        "code": f"coupon-{number}",
        "name": f"满 50 减 20 · {number}",
        "kind": "amount",
        "amount_fen": 2_000,
        "threshold_fen": 5_000,
        "valid_days": 10,
        "is_claimable": True,
        "created_at": clock.now(),
    }
    return Coupon.objects.create(**{**made, **values})


def offer(sku: Sku, **values: Any) -> Offer:
    """Ten pieces at ¥9.90, one per member, now."""
    moment = clock.now()
    made = {
        "kind": "flash",
        "name": f"整点秒杀 {next(_numbers)}",
        "price_fen": 990,
        "quota": 10,
        "starts_at": moment - timedelta(minutes=1),
        "ends_at": moment + timedelta(hours=1),
        "created_at": moment,
    }
    return Offer.objects.create(sku=sku, **{**made, **values})


def give_points(member: Any, amount: int) -> None:
    ledger.transfer(
        cause=f"test:points:{next(_numbers)}",
        debit=ledger.open_account(kind="points", owner_id=ledger.HOUSE),
        credit=ledger.open_account(kind="points", owner_id=member.pk),
        amount=amount,
    )


def points_of(member: Any) -> tuple[int, int]:
    """Balance, held."""
    account = ledger.open_account(kind="points", owner_id=member.pk)
    return account.balance, account.held


def quote_with(
    monkeypatch: Any, *, coupons: tuple[int, ...] = (), offers: tuple[Offer, ...] = (), points: int = 0
) -> None:
    """Price every order as if these had been looked up a moment ago: what the database holds then decides.

    A coupon takes ¥10 off, an offer's price is taken for its SKU, a point is one fen.
    """

    def quote(*, lines: Any, **_rest: Any) -> Quote:
        quoted, takes = [], []
        for number, (sku_id, quantity) in enumerate(lines):
            price = Sku.objects.get(pk=sku_id).price_fen
            cuts = []
            for offer in offers:
                if offer.sku_id != sku_id:
                    continue
                off = (price - offer.price_fen) * quantity
                cuts.append(Discount("offer", f"offer:{offer.pk}", offer.name, off))
                takes.append((offer.pk, sku_id, quantity))
            if number == 0:
                cuts += [Discount("coupon", f"coupon:{pk}", "券", 1_000) for pk in coupons]
                cuts += [Discount("points", "points", "积分", points)] if points else []
            quoted.append(QuotedLine(sku_id, price, quantity, discounts=tuple(cuts)))
        return Quote(tuple(quoted), coupon_ids=coupons, points_used=points, offer_takes=tuple(takes))

    monkeypatch.setattr(pricing, "quote", quote)
