"""An ordinary checkout with everything on: promotions, coupon, points, shipping, routing, ledger, outbox."""

import itertools
import random
import statistics
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

from bench import lab, limits, load, seeds
from bench.report import Figure, figure

ROUNDS, SECONDS = 3, 4
READY = 6_000  # requests that are written before the clock runs
WARM_SECONDS = 2  # every thread of both workers makes its connection and plans its statements
LINES = 3
POINTS_EACH = 100_000_000

RULES = """
INSERT INTO shop_promotion (title, kind, is_active, starts_at, ends_at, threshold_fen, threshold_quantity, amount_fen,
                            off_bps, nth, repeats, max_times, exclusion_group, priority, tiers, only_new, with_offers,
                            with_coupons)
VALUES ('满 200 减 20', 'amount_off', true, now() - interval '1 day', now() + interval '9 days', 20000, 0, 2000, 0, 2,
        true, 0, 'A', 5, '', false, false, true),
       ('满 3 件 95 折', 'percent_off', true, now() - interval '1 day', now() + interval '9 days', 0, 3, 0, 500, 2,
        false, 0, 'B', 1, '', false, false, true),
       ('满 500 减 60', 'amount_off', true, now() - interval '1 day', now() + interval '9 days', 50000, 0, 6000, 0, 2,
        false, 0, 'A', 5, '', false, false, true);
INSERT INTO shop_promotion_categories (promotion_id, category_id)
SELECT p.id, c.id FROM shop_promotion p, shop_category c WHERE p.title = '满 3 件 95 折' AND c.name = 'bench';
INSERT INTO shop_coupon (code, name, kind, amount_fen, rate_bps, threshold_fen, scope, scope_ids, valid_days,
                         is_stackable, granted_count, per_member_limit, returns_on_cancel, returns_on_refund,
                         is_claimable, is_active, created_at)
VALUES ('bench-amount', '满 100 减 10', 'amount', 1000, 0, 10000, 'all', '{}', 30, false, 0, 1000, true, true, false,
        true, now()),
       ('bench-rate', '九五折', 'percentage', 0, 500, 0, 'all', '{}', 30, false, 0, 1000, true, true, false,
        true, now());
INSERT INTO shop_pointspolicy (id, fen_per_100, cap_bps, least, is_active) VALUES (1, 100, 2000, 100, true)
ON CONFLICT (id) DO UPDATE SET is_active = true;
INSERT INTO shop_shippingrate (province, base_fen, free_from_fen) VALUES ('', 800, 19900), ('新疆', 2000, NULL);
INSERT INTO crm_store (code, name, address, province, city, is_active, ships_online)
VALUES ('bench-hubin', '湖滨店', '', '浙江省', '杭州市', true, true),
       ('bench-sanlitun', '三里屯店', '', '北京市', '北京市', true, true);
INSERT INTO shop_stock (sku_id, store_id, on_hand, reserved)
SELECT s.id, p.id, 1000000, 0 FROM shop_sku s, crm_store p WHERE s.code LIKE 'BENCH-%%' AND p.code LIKE 'bench-%%';
INSERT INTO core_ledgeraccount (kind, owner_id, balance, held) VALUES ('points', 0, 0, 0) ON CONFLICT DO NOTHING;
"""
POINTS = """
WITH accounts AS (
    INSERT INTO core_ledgeraccount (kind, owner_id, balance, held)
    SELECT 'points', id, %s, 0 FROM crm_member RETURNING id, owner_id
), moved AS (
    INSERT INTO core_ledgertransfer (cause, debit_id, credit_id, amount, posted_at)
    SELECT 'bench:' || a.owner_id, h.id, a.id, %s, now()
    FROM accounts a, core_ledgeraccount h WHERE h.kind = 'points' AND h.owner_id = 0
    RETURNING id, credit_id, amount
)
INSERT INTO core_ledgerlot (account_id, transfer_id, amount, remaining) SELECT credit_id, id, amount, amount FROM moved
"""
ADDRESSES = """
INSERT INTO shop_address (member_id, receiver, phone, province, city, district, street, postal_code, is_default,
                          used_at)
SELECT m.id, '陈晓', '13800000001', '上海市', '上海市', '静安区', '南京西路 1 号', '', true, now() FROM crm_member m
WHERE NOT EXISTS (SELECT FROM shop_address a WHERE a.member_id = m.id AND a.is_default)
"""
# A shop that has sold before: plans that were made for empty tables would be those of nobody's shop.
HISTORY = """
INSERT INTO shop_order (
    number, member_id, status, channel, external_id, store_id, items_fen, shipping_fen, discount_fen, total_fen,
    paid_fen, refunded_fen, delivery, points_used, receiver, phone, region, street, postal_code, note, idempotency_key,
    cancel_reason, placed_at
)
SELECT 'H' || lpad(n::text, 17, '0'), m.id, 'cancelled', 'mall', '', w.id, 9900, 0, 0, 9900, 0, 0, 'ship', 0, '陈晓',
       '13800000001', '上海市', '南京西路 1 号', '', '', 'history-' || n, '', now() - n * interval '1 minute'
FROM generate_series(1, 20000) n
JOIN (SELECT id, row_number() OVER () - 1 AS place, count(*) OVER () AS of FROM crm_member) m ON m.place = n % m.of
CROSS JOIN (SELECT id FROM crm_store WHERE code = 'warehouse') w
"""
GRANTS = """
INSERT INTO shop_coupongrant (coupon_id, member_id, state, key, ordinal, valid_from, expires_at, granted_at)
SELECT c.id, m.id, 'held', format('bench:%%s:%%s:%%s', c.code, m.id, n), n, now() - interval '1 day',
       now() + interval '20 days', now()
FROM shop_coupon c, crm_member m, generate_series(%s, %s) n WHERE c.code LIKE 'bench-%%'
"""
# Of the orders since an id: how many there are, and how many of them bear each step.
BORNE = """
SELECT count(DISTINCT o.id), count(DISTINCT d.order_id) FILTER (WHERE d.step = 'promotion'),
       count(DISTINCT d.order_id) FILTER (WHERE d.step = 'coupon'),
       count(DISTINCT d.order_id) FILTER (WHERE d.step = 'points')
FROM shop_order o LEFT JOIN shop_orderdiscount d ON d.order_id = o.id WHERE o.id > %s
"""


def order_http_many() -> Iterator[Figure]:
    """32 connections post the checkout form of 3 lines over 1,000 SKUs; all rules run, and every order bears them."""
    skus, buyers = seeds.shop(), seeds.members()
    limits.prepare_orders()
    _switch_on()
    values, ceilings, extra = [], [], {}
    try:
        for number in range(ROUNDS):
            ceilings.append(limits.orders_per_second(skus=1000, seconds=SECONDS))
            lab.execute(GRANTS, [number * 2 + 1, number * 2 + 2])
            value, extra = _round(skus, buyers)
            values.append(value)
    finally:
        _switch_off()
    yield figure(
        "order-http-many",
        values,
        "orders/s",
        limits=ceilings,
        limit_is=limits.ORDER_LIMIT_IS,
        lines=LINES,
        **extra,
    )


def _switch_on() -> None:
    lab.execute(RULES.replace("%%", "%"))
    lab.execute(POINTS, [POINTS_EACH, POINTS_EACH])
    lab.execute(ADDRESSES)
    lab.execute(HISTORY)
    lab.execute("ANALYZE")


def _switch_off() -> None:
    """Other benches of the same run do without."""
    lab.execute(
        "UPDATE shop_promotion SET is_active = false; UPDATE shop_pointspolicy SET is_active = false;"
        "DELETE FROM shop_shippingrate; UPDATE crm_store SET is_active = false WHERE code LIKE 'bench-%';"
        "UPDATE shop_coupongrant SET state = 'revoked' WHERE state = 'held'"
    )


def _round(skus: list[int], buyers: list[int]) -> tuple[float, dict[str, object]]:
    ((last,),) = lab.execute("SELECT coalesce(max(id), 0) FROM shop_order")
    forms = _forms(skus, buyers)
    ready = list(itertools.islice(forms, READY))
    forms = itertools.chain(ready, forms)
    with lab.web(threads=8) as port:  # as many as the shop starts by itself
        load.closed_loop(port, forms, connections=32, seconds=WARM_SECONDS)
        outcome = load.closed_loop(port, forms, connections=32, seconds=SECONDS)
    placed = sum(count for status, count in outcome.statuses.items() if status in (302, 303))
    if placed < len(outcome.latencies):
        raise RuntimeError(f"not every checkout placed an order: {outcome.statuses}")
    ((orders, *borne),) = lab.execute(BORNE, [last])
    if min(borne) < orders * 0.95:
        raise RuntimeError(f"of {orders} orders only {borne} bear promotions, coupons, points")
    return placed / outcome.seconds, {
        "p50_ms": round(outcome.percentile(0.5), 1),
        "p99_ms": round(outcome.percentile(0.99), 1),
        "connections": 32,
        "with_promotion_coupon_points": [round(count / orders, 3) for count in borne],
    }


def _forms(skus: list[int], buyers: list[int]) -> Iterator[load.Request]:
    """Endless checkout forms as the browser posts them; the members take turns, each with her own address."""
    from crm.models import Member
    from shop.models import Address

    csrf = "a" * 32
    addresses = dict(Address.objects.filter(is_default=True).values_list("member_id", "pk"))
    known = []
    for member in Member.objects.filter(pk__in=buyers):
        headers = {
            "Cookie": f"{seeds.member_cookie(member)}; csrftoken={csrf}",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0",
        }
        known.append((headers, addresses[member.pk]))
    chance = random.Random(7)
    chance.shuffle(known)

    def forms() -> Iterator[load.Request]:
        for headers, address_id in itertools.cycle(known):
            form = [
                ("csrfmiddlewaretoken", csrf),
                ("from", "product"),
                *(("line", f"{sku}:1") for sku in chance.sample(skus, LINES)),
                ("address", str(address_id)),
                ("points", "1"),
                ("key", uuid.uuid4().hex),
                ("note", ""),
            ]
            yield load.request("POST", "/checkout/", headers=headers, body=urlencode(form).encode())

    return forms()


def price_cart() -> Iterator[Figure]:
    """200 lines through all the pure steps: 12 promotions, 40 coupons, 20 offers, points, shipping."""
    from bench.carts import large_cart
    from shop.pricing import price

    ground = large_cart()
    for _ in range(3):
        price(*ground)
    runs = []
    for _ in range(15):
        started = time.perf_counter()
        price(*ground)
        runs.append((time.perf_counter() - started) * 1000)
    yield figure(
        "price-cart",
        [statistics.median(runs[at : at + 5]) for at in (0, 5, 10)],
        "ms",
        limits=[20.0],
        limit_is="the promise for a cart of 200 lines",
        lines=200,
        slowest_ms=round(max(runs), 3),
    )
