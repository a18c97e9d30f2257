"""A hot offer through HTTP: orders per second with 32 buyers, and a crowd of 10,000 on 1,000 pieces, again and again.

`POND_BENCH_CROWDS` says how often the crowd comes (3; 100 for the proof).
"""

import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from bench import lab, limits, load, seeds
from bench.report import Figure, figure

ROUNDS, SECONDS, BUYERS = 3, 4, 32
MEMBERS = 24_000
CROWD, PIECES = 10_000, 1_000
P99_MS = 60.0
CSRF = "a" * 32
REGIONS = [("上海市", "上海市", "静安区"), ("浙江省", "杭州市", "西湖区"), ("四川省", "成都市", "锦江区"),
           ("广东省", "深圳市", "南山区"), ("北京市", "北京市", "海淀区"), ("陕西省", "西安市", "雁塔区")]  # fmt: skip


def order_http_hot() -> Iterator[Figure]:
    """Every buyer is a member of her own with a login and an address; one piece each."""
    sku = seeds.shop()[0]
    cookies = _cookies()
    limits.prepare_orders()
    rates, ceilings, p50, p99, client = [], [], [], [], []
    with lab.web(threads=16) as port:
        _placed(port, cookies, _offer(sku, MEMBERS), seconds=2)
        lab.execute(
            "ANALYZE"
        )  # a shop that sells has had orders before: plans made for empty tables read them whole
        for _ in range(ROUNDS):
            ceilings.append(limits.orders_per_second(skus=1, seconds=SECONDS))
            rate, outcome = _placed(port, cookies, _offer(sku, MEMBERS), seconds=SECONDS)
            rates.append(rate)
            p50.append(outcome.percentile(0.5))
            p99.append(outcome.percentile(0.99))
            client.append(round(outcome.client_cores, 2))
        yield figure(
            "order-http-hot", rates, "orders/s", limits=ceilings, limit_is=limits.ORDER_LIMIT_IS,
            buyers=BUYERS, p50_ms=[round(one, 1) for one in p50], p99_ms=[round(one, 1) for one in p99],
            client_cores=client,
        )  # fmt: skip
        yield figure(
            "order-http-hot-p99", p99, "ms", limits=[P99_MS], limit_is="what a buyer may have to wait"
        )
        yield from _crowds(port, sku, cookies)


def _crowds(port: int, sku: int, cookies: list[str]) -> Iterator[Figure]:
    """Each crowd must leave exactly as many orders as there were pieces, nothing for the audit to find, and a door
    that says "sold out" quickly.
    """
    from core.audits import run_audit
    from shop.models import OfferTake

    wanted = int(os.environ.get("POND_BENCH_CROWDS", "3"))
    exact, seconds, refusals, faults = 0, [], [], []
    for number in range(wanted):
        offer = _offer(sku, PIECES)
        outcome = load.closed_loop(port, iter(_taps(offer, cookies[:CROWD])), connections=BUYERS)
        seconds.append(outcome.seconds)
        placed = OfferTake.objects.filter(offer_id=offer).count()
        found = run_audit()[1]
        if placed == PIECES and outcome.statuses == {201: PIECES, 409: CROWD - PIECES} and not found:
            exact += 1
        else:
            faults.append(f"crowd {number}: {placed} orders, {outcome.statuses}, audit {found[:3]}")
        refused = load.closed_loop(port, iter(_taps(offer, cookies[CROWD : 2 * CROWD])), connections=BUYERS)
        if refused.statuses != {409: CROWD}:
            faults.append(f"crowd {number}: sold out, but {refused.statuses}")
        refusals.append(refused.per_second)
        if sys.stderr.isatty() or wanted > 10:
            print(f"crowd {number + 1} of {wanted}: {exact} exact", file=sys.stderr, flush=True)
    yield figure(
        "order-http-hot-crowds", [float(exact)], "crowds", limits=[float(wanted)],
        limit_is=f"{CROWD} buyers on {PIECES} pieces, exactly {PIECES} orders and a clean audit",
        seconds=[round(one, 2) for one in seconds], faults=faults,
    )  # fmt: skip
    yield figure(
        "order-http-hot-sold-out", refusals, "answers/s", limits=[6000.0], limit_is="the mark on two cores"
    )


def _placed(port: int, cookies: list[str], offer: int, *, seconds: float) -> tuple[float, load.Outcome]:
    outcome = load.closed_loop(port, iter(_taps(offer, cookies)), connections=BUYERS, seconds=seconds)
    if set(outcome.statuses) != {201}:
        raise RuntimeError(f"not every tap placed an order: {outcome.statuses}")
    return outcome.per_second, outcome


def _taps(offer: int, cookies: Iterable[str]) -> list[load.Request]:
    """The form of the product page, once per member; written out before the clock runs."""
    from django.middleware.csrf import _mask_cipher_secret

    token = _mask_cipher_secret(CSRF)
    taps = []
    for cookie in cookies:
        form = {"csrfmiddlewaretoken": token, "key": uuid.uuid4().hex}
        headers = {
            "Cookie": cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Origin": "http://127.0.0.1",
            "User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0",
        }
        taps.append(load.request("POST", f"/buy/{offer}/", headers=headers, body=urlencode(form).encode()))
    return taps


def _offer(sku: int, pieces: int) -> int:
    from core import clock
    from shop.models import Offer

    Offer.objects.filter(sku_id=sku).update(
        is_active=False
    )  # one at a time: the checkout would take the first
    moment = clock.now()
    window: dict[str, Any] = {
        "starts_at": moment,
        "ends_at": moment + timedelta(hours=9),
        "created_at": moment,
    }
    made = Offer.objects.create(
        sku_id=sku,
        kind=Offer.FLASH,
        name="整点秒杀",
        price_fen=990,
        quota=pieces,
        per_member_limit=1,
        **window,
    )
    return made.pk


def _cookies() -> list[str]:
    """Logins of members who have an address each, spread over regions."""
    from crm.models import Member

    ids = seeds.members(MEMBERS)
    lab.execute(
        """
        INSERT INTO shop_address (member_id, receiver, phone, province, city, district, street, postal_code, is_default,
                                  used_at)
        SELECT m.id, '陈晓', '13800000001', r.province, r.city, r.district, '中山路 1 号', '', true, now()
        FROM unnest(%s::bigint[]) WITH ORDINALITY AS m(id, place)
        JOIN unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS r(province, city, district, place)
            ON r.place = m.place %% %s + 1
        WHERE NOT EXISTS (SELECT FROM shop_address a WHERE a.member_id = m.id)
        """,
        [ids, *map(list, zip(*REGIONS, strict=True)), len(REGIONS)],
    )
    lab.execute("ANALYZE")
    members = Member.objects.filter(pk__in=ids).only("pk", "session_version")
    return [f"{seeds.member_cookie(member)}; csrftoken={CSRF}" for member in members]
