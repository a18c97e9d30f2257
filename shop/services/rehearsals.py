"""A promotion draft tried on the paid orders of a time: what it would have cost, and which orders it makes free."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock, jobs
from core.errors import NotFound, Refusal
from shop.models import Promotion, Rehearsal
from shop.pricing import (
    Buyer,
    Choices,
    CouponRule,
    Item,
    OfferRule,
    PointsRule,
    PromotionRule,
    Rules,
    price,
)
from shop.pricing.rules import is_open
from shop.services.pricing import coupon_rules
from shop.services.pricing_rules import draft_rule, promotion_rules

KIND = "shop.rehearsal"
BATCH = 200
EXAMPLES = 50
LONGEST = timedelta(days=366)


class BadRehearsal(Refusal):
    code = "bad_rehearsal"


@transaction.atomic
def start_rehearsal(
    *,
    promotion_id: int,
    created_by_id: int | None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Rehearsal:
    """Queue the replay of the paid orders of a time (the last 30 days) with a promotion; it changes no order.

    Raises NotFound, BadRehearsal for a time that is empty or longer than a year.
    """
    if not Promotion.objects.filter(pk=promotion_id).exists():
        raise NotFound(_("This promotion does not exist any more."))
    moment = clock.now()
    until = until or moment
    since = since or until - timedelta(days=30)
    if not since < until or until - since > LONGEST:
        raise BadRehearsal(_("Choose a time of at most a year."))
    rehearsal = Rehearsal.objects.create(
        promotion_id=promotion_id, since=since, until=until, created_at=moment, created_by_id=created_by_id
    )
    rehearsal.job = jobs.enqueue(
        kind=KIND, params={"rehearsal_id": rehearsal.pk}, created_by_id=created_by_id
    )
    rehearsal.save(update_fields=["job"])
    return rehearsal


@dataclass
class _Sums:
    """What a batch of orders adds to the rehearsal."""

    orders_count: int = 0
    changed_count: int = 0
    free_count: int = 0
    before_fen: int = 0
    after_fen: int = 0
    gifts_fen: int = 0
    cost_fen: int = 0
    uncosted_fen: int = 0


def work(progress: jobs.Progress) -> dict[str, Any]:
    """Order by order, in batches whose sums and checkpoint are one transaction: it may die and go on anywhere."""
    rehearsal = Rehearsal.objects.get(pk=progress.params["rehearsal_id"])
    draft = draft_rule(rehearsal.promotion_id)
    others = _others(rehearsal)
    total = _count(rehearsal)
    last = int(progress.checkpoint.get("order_id", 0))
    done = int(progress.checkpoint.get("done", 0))
    while orders := _orders_after(rehearsal, last):
        sums, examples = _Sums(), []
        coupons = _coupons_then(orders)
        for order in orders:
            example = _replay(order, draft, others, coupons, sums)
            if example is not None:
                examples.append(example)
        last, done = orders[-1]["id"], done + len(orders)
        with transaction.atomic():
            progress.report(done=done, total=total, checkpoint={"order_id": last, "done": done})
            Rehearsal.objects.filter(pk=rehearsal.pk).update(
                **{name: F(name) + value for name, value in vars(sums).items()},
                examples=_kept(
                    [*Rehearsal.objects.values_list("examples", flat=True).get(pk=rehearsal.pk), *examples]
                ),
            )
    rehearsal.refresh_from_db()
    return {
        "orders": rehearsal.orders_count,
        "changed": rehearsal.changed_count,
        "free": rehearsal.free_count,
        "discount_fen": rehearsal.discount_fen,
    }


def _kept(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The free orders first, then the dearest changes."""

    def order(one: dict[str, Any]) -> tuple[bool, int, str]:
        return (one["after_fen"] > 0, one["after_fen"] - one["before_fen"], one["number"])

    return sorted(examples, key=order)[:EXAMPLES]


def _others(rehearsal: Rehearsal) -> tuple[PromotionRule, ...]:
    """The promotions that ran in that time, with their own windows: the draft competes with them as it would live."""
    ids = (
        Promotion.objects.filter(is_active=True, starts_at__lt=rehearsal.until, ends_at__gt=rehearsal.since)
        .exclude(pk=rehearsal.promotion_id)
        .values_list("pk", flat=True)
    )
    return promotion_rules(ids)


_WHERE = "o.paid_at >= %(since)s AND o.paid_at < %(until)s AND o.currency = 'CNY' AND o.status <> 'cancelled'"


def _count(rehearsal: Rehearsal) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM shop_order o WHERE {_WHERE}",  # noqa: S608  our own words only
            {"since": rehearsal.since, "until": rehearsal.until},
        )
        return int(cursor.fetchone()[0])


def _orders_after(rehearsal: Rehearsal, order_id: int) -> list[dict[str, Any]]:
    """The next orders with their goods as they were sold, at the prices of then."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT jsonb_build_object(
                'id', o.id, 'number', o.number, 'member_id', o.member_id, 'at', o.placed_at,
                'tier', coalesce((SELECT tier FROM crm_member WHERE id = o.member_id), ''),
                'points', o.points_used, 'points_fen', (
                    SELECT coalesce(sum(d.amount_fen), 0) FROM shop_orderdiscount d
                    WHERE d.order_id = o.id AND d.step = 'points'
                ),
                'coupons', (
                    SELECT coalesce(jsonb_agg(DISTINCT split_part(d.source, ':', 2)::bigint), '[]')
                    FROM shop_orderdiscount d
                    WHERE d.order_id = o.id AND d.step = 'coupon' AND starts_with(d.source, 'coupon:')
                ),
                'was_first', NOT EXISTS (SELECT FROM shop_order e WHERE e.member_id = o.member_id
                                         AND e.paid_at IS NOT NULL AND e.id < o.id),
                'lines', (
                    SELECT jsonb_agg(jsonb_build_array(l.sku_id, s.product_id, l.price, l.quantity, p.categories,
                                                       c.cost_fen, g.brand_id) ORDER BY l.sku_id)
                    FROM (SELECT sku_id, max(price) AS price, sum(quantity) AS quantity FROM (
                              SELECT sku_id, unit_price_fen AS price, quantity FROM shop_orderline
                              WHERE order_id = o.id AND kind = 'goods'
                              UNION ALL
                              SELECT sku_id, unit_price_fen, quantity FROM shop_orderbundle WHERE order_id = o.id
                          ) sold GROUP BY sku_id) l
                    JOIN shop_sku s ON s.id = l.sku_id
                    JOIN shop_product g ON g.id = s.product_id
                    LEFT JOIN shop_costprice c ON c.sku_id = l.sku_id
                    CROSS JOIN LATERAL (SELECT ARRAY(
                        WITH RECURSIVE up AS (
                            SELECT k.id, k.parent_id, 0 AS depth FROM shop_category k
                            JOIN shop_product g ON g.category_id = k.id WHERE g.id = s.product_id
                            UNION ALL
                            SELECT k.id, k.parent_id, up.depth + 1 FROM shop_category k
                            JOIN up ON k.id = up.parent_id WHERE up.depth < 8
                        ) SELECT id FROM up) AS categories) p
                ),
                'members', (
                    SELECT jsonb_agg(jsonb_build_array(sku_id, off)) FROM (
                        SELECT l.sku_id, sum(d.amount_fen) AS off FROM shop_orderdiscount d
                        JOIN shop_orderline l ON l.id = d.line_id AND l.kind = 'goods'
                        WHERE d.order_id = o.id AND d.step = 'member' GROUP BY 1
                    ) had
                ),
                'offers', (
                    SELECT jsonb_agg(jsonb_build_array(k.offer_id, f.sku_id, k.taken_quantity, (
                        SELECT coalesce(sum(d.amount_fen), 0) FROM shop_orderdiscount d
                        WHERE d.order_id = o.id AND d.step = 'offer' AND d.source = 'offer:' || k.offer_id
                    )) ORDER BY k.offer_id)
                    FROM shop_offertake k JOIN shop_offer f ON f.id = k.offer_id WHERE k.order_id = o.id
                ))
            FROM (SELECT * FROM shop_order o WHERE {_WHERE} AND o.id > %(last)s ORDER BY o.id LIMIT %(batch)s) o
            ORDER BY o.id
            """,  # noqa: S608  our own words only
            {"since": rehearsal.since, "until": rehearsal.until, "last": order_id, "batch": BATCH},
        )
        return [json.loads(row[0]) for row in cursor.fetchall()]


def _prices_then(
    order: dict[str, Any], items: Iterable[Item]
) -> tuple[dict[int, int], tuple[OfferRule, ...]]:
    """What her tier paid a piece, and the pieces that she had at a special price: most promotions leave these alone."""
    known = {item.sku_id: item for item in items}
    members = {
        sku_id: known[sku_id].unit_price_fen - off // known[sku_id].quantity
        for sku_id, off in order["members"] or ()
        if sku_id in known
    }
    offers = tuple(
        OfferRule(
            offer_id,
            f"offer:{offer_id}",
            sku_id,
            price_fen=members.get(sku_id, known[sku_id].unit_price_fen) - off // pieces,
            left=pieces,
        )
        for offer_id, sku_id, pieces, off in order["offers"] or ()
        if sku_id in known
    )
    return members, offers


def _coupons_then(orders: Iterable[dict[str, Any]]) -> dict[int, CouponRule]:
    """The coupons that these orders used, as they are by now; of their gifts as many as there were."""
    used = {grant_id for order in orders for grant_id in order["coupons"]}
    return {
        grant_id: replace(rule, extras=tuple(replace(extra, available=None) for extra in rule.extras))
        for grant_id, rule in coupon_rules(used, clock.now()).items()
    }


def _points_then(order: dict[str, Any]) -> PointsRule | None:
    """Points at what they were worth, as many as she used and the goods still cost."""
    if not order["points"]:
        return None
    return PointsRule(-(-order["points_fen"] * 100 // order["points"]), cap_bps=10_000, least=0)


def _replay(
    order: dict[str, Any],
    draft: PromotionRule,
    others: tuple[PromotionRule, ...],
    coupons: dict[int, CouponRule],
    sums: _Sums,
) -> dict[str, Any] | None:
    """Price one order without and with the draft; the example when that makes a difference."""
    sums.orders_count += 1
    lines = order["lines"] or []
    if not lines:
        return None
    items = [
        Item(
            sku_id=sku,
            product_id=product,
            unit_price_fen=fen,
            quantity=pieces,
            category_ids=frozenset(categories),
            brand_id=brand,
        )
        for sku, product, fen, pieces, categories, _cost, brand in lines
    ]
    at = datetime.fromisoformat(order["at"])
    buyer = Buyer(
        member_id=order["member_id"], tier=order["tier"], is_new=order["was_first"], points=order["points"]
    )
    ran = tuple(rule for rule in others if is_open(rule, at))
    # Stock of today says nothing about then: gifts count as there.
    extras = tuple(replace(extra, available=None) for extra in draft.extras)
    drafted = replace(draft, extras=extras)
    # The parcel's fee is not what a promotion changes. Her coupons and points she would have used all the same.
    choices = Choices(coupon_ids=tuple(order["coupons"]), points=order["points"], delivery="pickup")
    held = tuple(coupons[grant_id] for grant_id in order["coupons"] if grant_id in coupons)
    members, offers = _prices_then(order, items)
    without = Rules(members, offers, ran, held, _points_then(order))
    before = price(items, buyer, choices, without, at)
    after = price(items, buyer, choices, replace(without, promotions=(*ran, drafted)), at)
    gifts_fen = sum(
        line.unit_price_fen * line.quantity
        for line in after.lines
        if line.kind == "gift" and any(one.source == draft.source for one in line.discounts)
    )
    if after.total_fen == before.total_fen and not gifts_fen:
        return None
    sums.changed_count += 1
    sums.free_count += after.total_fen == 0
    sums.before_fen += before.total_fen
    sums.after_fen += after.total_fen
    sums.gifts_fen += gifts_fen
    totals = {line.sku_id: line.total_fen for line in after.lines if line.kind == "goods"}
    for sku, _product, _fen, pieces, _categories, cost, _brand in lines:
        if cost is None:
            sums.uncosted_fen += totals.get(sku, 0)
        else:
            sums.cost_fen += cost * pieces
    return {
        "id": order["id"],
        "number": order["number"],
        "before_fen": before.total_fen,
        "after_fen": after.total_fen,
        "gifts_fen": gifts_fen,
    }
