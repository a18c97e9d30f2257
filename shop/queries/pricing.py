"""Quotes in words: what each rule took off, what it says, and the promotions that a product takes part in."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from core import clock, statements
from core.money import yuan
from shop.models import MemberPrice, Promotion
from shop.pricing.types import Note, Quote, QuotedLine
from shop.pricing.words import HINTS, WORDS


@dataclass(frozen=True, slots=True)
class Saving:
    """One rule's effect on the whole cart."""

    step: str
    source: str
    title: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Hint:
    """A sentence about a rule: `title` names the rule, empty when the sentence says all."""

    step: str
    title: str
    text: str
    applied: bool
    amount_fen: int


def step_label(step: str) -> str:
    return {
        "member": _("Member price"),
        "offer": _("Special price"),
        "promotion": _("Promotion"),
        "coupon": _("Coupon"),
        "points": _("Points"),
        "shipping": _("Shipping"),
    }[step]


def note_text(note: Note) -> str:
    """A note as a sentence in the reader's language."""
    values = {name: _value(name, value) for name, value in note.values.items()}
    return _(WORDS[note.message]) % values


def _value(name: str, value: int | str) -> str:
    if name.endswith("_fen"):
        return yuan(int(value)).removesuffix(".00")
    if name == "off_bps":
        return paid_share(int(value))
    return str(value)


def paid_share(off_bps: int) -> str:
    """What remains to be paid, as shoppers say it: 2,000 bps off → "8 折"; the whole price off → free."""
    if off_bps >= 10_000:
        return pgettext("what remains to be paid", "nothing")
    tenths = f"{(10_000 - off_bps) / 1_000:.2f}".rstrip("0").rstrip(".")
    return pgettext("what remains to be paid", "%(tenths)s tenths") % {"tenths": tenths}


def savings_of(quote: Quote) -> list[Saving]:
    """What was taken off, by rule, in the order of the steps; gifts at their full price are left out."""
    sums: dict[tuple[str, str, str], int] = {}
    discounts = [one for line in quote.lines if line.kind == "goods" for one in line.discounts]
    for one in [*discounts, *quote.shipping_discounts]:
        key = (one.step, one.source, one.title)
        sums[key] = sums.get(key, 0) + one.amount_fen
    order = ("member", "offer", "promotion", "coupon", "points", "shipping")
    return [
        Saving(step, source, title or step_label(step), amount)
        for (step, source, title), amount in sorted(sums.items(), key=lambda entry: order.index(entry[0][0]))
    ]


def gifts_of(quote: Quote) -> list[QuotedLine]:
    return [line for line in quote.lines if line.kind == "gift"]


def goods_fen(quote: Quote) -> int:
    """The goods at the catalogue's prices, without gifts: what stands above the savings."""
    return sum(line.unit_price_fen * line.quantity for line in quote.lines if line.kind == "goods")


def shipping_before_fen(quote: Quote) -> int:
    """The fee before a coupon took it off: a line of its own above the savings."""
    return quote.shipping_fen + sum(one.amount_fen for one in quote.shipping_discounts)


def hints_of(quote: Quote, *, most: int = 3) -> list[Hint]:
    """What helps the shopper to pay less, and gifts that come along; each sentence once."""
    found: dict[tuple[str, str], Hint] = {}
    for note in quote.notes:
        if note.message in HINTS or note.message in ("gift_added", "shipping_free_from"):
            if note.step == "coupon" and not note.applied:
                continue  # coupons have their own page to say so
            hint = _hint(note)
            found.setdefault((hint.title, hint.text), hint)
    return list(found.values())[:most]


def notes_of(quote: Quote) -> list[Hint]:
    """Every note of every step, in order, for who checks a price."""
    return [_hint(note) for note in quote.notes]


def _hint(note: Note) -> Hint:
    return Hint(note.step, note.title, note_text(note), note.applied, note.amount_fen)


def skus_in_words(sku_ids: Iterable[int]) -> dict[int, str]:
    """SKU → product and variant. One statement; none for nothing."""
    ids = list(sku_ids)
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT s.id, concat_ws(' ', p.name, nullif(s.name, '')) FROM shop_sku s
            JOIN shop_product p ON p.id = s.product_id WHERE s.id = ANY(%s)
            """,
            [ids],
        )
        return dict(cursor.fetchall())


def shipping_promise() -> str:
    """What every product may promise of its parcel: free, free from an amount, or nothing. One statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT province, base_fen, free_from_fen FROM shop_shippingrate ORDER BY province")
        rates = cursor.fetchall()
    if all(base_fen == 0 for _province, base_fen, _free in rates):
        return _("Free shipping")
    usual = next((rate for rate in rates if not rate[0]), None)
    if usual is None or usual[2] is None:
        return ""
    return _("Free shipping from ¥%(from_fen)s") % {"from_fen": _value("from_fen", usual[2])}


class Badge(NamedTuple):
    """A promotion that runs for a product; `tiers` are the words of those whom it is for, empty for everybody."""

    title: str
    tiers: frozenset[str]


def tier_words(sku_id: int | None = None, at: datetime | None = None) -> set[str]:
    """The tiers that have prices or promotions of their own: of one SKU, at one moment, if given. Two statements."""
    promotions, prices = Promotion.objects.exclude(tiers=""), MemberPrice.objects.order_by("tier")
    if at is not None:
        promotions = promotions.filter(is_active=True, starts_at__lte=at, ends_at__gt=at)
    if sku_id is not None:
        prices = prices.filter(sku=sku_id)
    promoted = promotions.values_list("tiers", flat=True).distinct()
    priced = prices.values_list("tier", flat=True).distinct()
    return {*priced, *(word for text in promoted for word in words_in(text))}


def words_in(text: str) -> frozenset[str]:
    """ "金卡，银卡" → its words."""
    return frozenset(word.strip() for word in text.replace("，", ",").split(",") if word.strip())


def promotion_badges(product_id: int) -> list[Badge]:
    """The promotions that run now for a product, the most important first. One statement."""
    moment = clock.now()
    found = statements.named(
        """
        WITH RECURSIVE up AS (
            SELECT c.id, c.parent_id, 0 AS depth FROM shop_category c
            JOIN shop_product g ON g.category_id = c.id WHERE g.id = %(product)s
            UNION ALL
            SELECT c.id, c.parent_id, up.depth + 1 FROM shop_category c JOIN up ON c.id = up.parent_id
            WHERE up.depth < 8
        )
        SELECT p.title, p.tiers FROM shop_promotion p
        WHERE p.is_active AND p.starts_at <= %(now)s AND p.ends_at > %(now)s
          AND NOT EXISTS (SELECT FROM shop_promotion_except_products x
                          WHERE x.promotion_id = p.id AND x.product_id = %(product)s)
          AND CASE
            WHEN p.kind = 'bundle' THEN EXISTS (
                SELECT FROM shop_promotionextra e JOIN shop_sku s ON s.id = e.sku_id
                WHERE e.promotion_id = p.id AND s.product_id = %(product)s)
            ELSE EXISTS (SELECT FROM shop_promotion_products x
                         WHERE x.promotion_id = p.id AND x.product_id = %(product)s)
              OR EXISTS (SELECT FROM shop_promotion_categories x JOIN up ON up.id = x.category_id
                         WHERE x.promotion_id = p.id)
              OR EXISTS (SELECT FROM shop_promotion_brands x JOIN shop_product g ON g.brand_id = x.brand_id
                         WHERE x.promotion_id = p.id AND g.id = %(product)s)
              OR NOT (EXISTS (SELECT FROM shop_promotion_products x WHERE x.promotion_id = p.id)
                      OR EXISTS (SELECT FROM shop_promotion_brands x WHERE x.promotion_id = p.id)
                      OR EXISTS (SELECT FROM shop_promotion_categories x WHERE x.promotion_id = p.id))
          END
        ORDER BY p.priority DESC, p.id LIMIT 6
        """,
        {"product": product_id, "now": moment},
    )
    return [Badge(title, words_in(tiers)) for title, tiers in found]


def tier_costs(product_ids: Iterable[int], tier: str) -> dict[int, tuple[int, int]]:
    """Product → (from, to) in fen, of those of the products that are cheaper for the tier. One statement."""
    found = statements.rows(
        """
        SELECT s.product_id, min(least(s.price_fen, r.price_fen)), max(least(s.price_fen, r.price_fen))
        FROM shop_sku s LEFT JOIN shop_memberprice r ON r.sku_id = s.id AND r.tier = %s::text
        WHERE s.product_id = ANY(%s::bigint[]) AND s.is_active
        GROUP BY s.product_id HAVING bool_or(r.price_fen < s.price_fen)
        """,
        [tier, sorted(product_ids)],
    )
    return {product_id: (least, most) for product_id, least, most in found}


def skus_by_code(codes: Iterable[str]) -> dict[str, int]:
    """SKU code → id, of those that exist. One statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT code, id FROM shop_sku WHERE code = ANY(%s)", [list(codes)])
        return dict(cursor.fetchall())
