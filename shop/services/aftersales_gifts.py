"""Gifts (满赠) follow the goods for which they were given.

The one rule: what she keeps is measured at what it cost before promotions, coupons and points. A gift that its
promotion would not give for that comes back together with the goods; when nothing paid is kept, everything that was
given along does. A promotion that is gone, or was changed so that it would not have given what it gave, asks for
nothing back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Sum

from core import clock
from shop import aftersales_rules as rules
from shop.models import AfterSaleLine, Order, OrderDiscount, OrderLine
from shop.pricing import Item, PromotionRule
from shop.pricing.promotions import times_reached
from shop.queries.vouchers import redeemed_of
from shop.services.pricing_rules import KeptRules, known_rules, promotion_rules, read_rules

# What a line cost before promotions: these have been taken off by then.
BEFORE_PROMOTIONS = ("member", "offer", "bundle")


@dataclass(frozen=True, slots=True)
class GiftTerms:
    """What has to be kept for a gift to stay; fen and pieces, 0: any."""

    threshold_fen: int
    threshold_quantity: int


def gifts_coming_back(order: Order, going: Mapping[int, int]) -> dict[int, int]:
    """Lines that were given along → pieces of them that come back when `going` (line id → pieces) does.

    Pieces of other open applications count as gone. At most four statements; none without gifts.
    """
    lines = list(_lines(order))
    given = [line for line in lines if not line.total_fen and line.pk not in going]
    if not given:
        return {}
    on_the_way = dict(
        AfterSaleLine.objects.filter(line__order=order, is_open=True, aftersale__kind=rules.RETURN_REFUND)
        .values_list("line_id")
        .annotate(pieces=Sum("quantity"))
        .order_by()
    )
    kept = {
        line.pk: line.quantity - line.refunded_quantity - going.get(line.pk, 0) - on_the_way.get(line.pk, 0)
        for line in lines
    }
    used = redeemed_of(order.pk)
    left = {line.pk: max(kept[line.pk] - used.get(line.pk, 0), 0) for line in given}
    if not any(kept[line.pk] > 0 for line in lines if line.total_fen):
        return {line_id: pieces for line_id, pieces in left.items() if pieces}
    back = {}
    for gift, due in _due(order, lines, kept).items():
        if pieces := min(left.get(gift, 0), max(kept[gift] - due, 0)):
            back[gift] = pieces
    return back


def gift_terms(order: Order, lines: Iterable[OrderLine]) -> dict[int, GiftTerms]:
    """Gift lines → what has to be kept for them to stay. Two statements; none without gifts."""
    gifts = {line.pk: line.sku_id for line in lines if line.kind == OrderLine.GIFT}
    terms = {}
    for gift, promotions in _promotions(order, gifts).items():
        first = min(promotions, key=lambda one: (one.threshold_fen, one.threshold_quantity))
        if first.threshold_fen or first.threshold_quantity:
            terms[gift] = GiftTerms(first.threshold_fen, first.threshold_quantity)
    return terms


def _lines(order: Order) -> Iterable[OrderLine]:
    return OrderLine.objects.filter(order=order).select_related("sku__product", "bundle__sku__product")


def _promotions(order: Order, gifts: Mapping[int, int]) -> dict[int, list[PromotionRule]]:
    """Gift lines → the promotions that gave them and would still give this SKU."""
    if not gifts:
        return {}
    named = [
        (line_id, int(source.split(":")[1]))
        for line_id, source in OrderDiscount.objects.filter(
            order=order, step="promotion", line__in=list(gifts), source__startswith="promotion:"
        ).values_list("line_id", "source")
        if line_id is not None
    ]
    known = (
        {rule.id: rule for rule in promotion_rules({rule_id for _line, rule_id in named})} if named else {}
    )
    found: dict[int, list[PromotionRule]] = {}
    for line_id, rule_id in named:
        rule = known.get(rule_id)
        if rule and rule.kind == "gift" and any(one.item.sku_id == gifts[line_id] for one in rule.extras):
            found.setdefault(line_id, []).append(rule)
    return found


def _due(order: Order, lines: Sequence[OrderLine], kept: Mapping[int, int]) -> dict[int, int]:
    """Gift lines → how many pieces their promotions give for what is kept."""
    gifts = {line.pk: line.sku_id for line in lines if line.kind == OrderLine.GIFT}
    promotions = _promotions(order, gifts)
    if not promotions:
        return {}
    at = clock.now()
    shelf = known_rules(at) or read_rules(at)
    taken: dict[int, int] = {}
    for line_id, amount in OrderDiscount.objects.filter(
        order=order, step__in=BEFORE_PROMOTIONS, line__isnull=False
    ).values_list("line_id", "amount_fen"):
        taken[line_id or 0] = taken.get(line_id or 0, 0) + amount
    goods = [
        (_item(line, shelf), line.unit_price_fen * line.quantity - taken.get(line.pk, 0), line)
        for line in lines
        if line.kind != OrderLine.GIFT
    ]

    def pieces_for(rule: PromotionRule, sku_id: int, count: Mapping[int, int]) -> int:
        covered = [(worth, line) for item, worth, line in goods if rule.scope.covers(item)]
        times = times_reached(
            rule,
            sum(worth * max(count[line.pk], 0) // line.quantity for worth, line in covered),
            sum(max(count[line.pk], 0) for _worth, line in covered),
        )
        return times * next(one.quantity for one in rule.extras if one.item.sku_id == sku_id)

    due = {}
    bought = {line.pk: line.quantity for line in lines}
    for line_id, given_by in promotions.items():
        sku_id = gifts[line_id]
        if sum(pieces_for(rule, sku_id, bought) for rule in given_by) >= bought[line_id]:
            due[line_id] = sum(pieces_for(rule, sku_id, kept) for rule in given_by)
    return due


def _item(line: OrderLine, shelf: KeptRules) -> Item:
    """What promotions look at: of a bundle's part, the bundle."""
    sku = line.bundle.sku if line.bundle is not None else line.sku
    return Item(
        sku_id=sku.pk,
        product_id=sku.product_id,
        unit_price_fen=line.unit_price_fen,
        quantity=line.quantity,
        category_ids=shelf.categories(sku.product.category_id),
        brand_id=sku.product.brand_id,
    )
