"""Mobile pages against an empty view in the same server, as fast as they go and at a calm hundred a second."""

import itertools
from collections.abc import Iterator
from datetime import timedelta

from bench import lab, load, seeds
from bench.report import Figure, figure

ROUNDS, REQUESTS, VISITORS = 3, 3000, 50
CALM_RATE, CALM_SECONDS, CALM_LIMIT_MS = 100, 8.0, 6.0


def page_list() -> Iterator[Figure]:
    """A category page with 20 products, for fifty logged-in members inside WeChat by turns."""
    from shop.models import Category

    product_id = seeds.full_product()
    path = f"/category/{Category.objects.get(name='bench').pk}/"
    yield from _beside_empty_view("page-list", path, product_id)


def page_product() -> Iterator[Figure]:
    """A product with pictures, six variants, reviews and questions, for the same members: first at its usual price,
    then in a flash sale, which is when everybody comes.
    """
    from core import clock
    from shop.models import Offer

    product_id = seeds.full_product()
    yield from _beside_empty_view("page-product", f"/p/{product_id}/", product_id)
    moment = clock.now()
    Offer.objects.create(
        sku_id=seeds.shop()[0],
        kind=Offer.FLASH,
        name="整点秒杀",
        price_fen=990,
        quota=1000,
        starts_at=moment,
        ends_at=moment + timedelta(hours=9),
        created_at=moment,
    )
    yield from _beside_empty_view("page-product-offer", f"/p/{product_id}/", product_id)


def _visitors(product_id: int) -> list[dict[str, str]]:
    """The headers of VISITORS logged-in members who were here before, with different carts; half like the product."""
    from crm.models import Member

    ids = seeds.members()[:VISITORS]
    lab.execute(
        """
        INSERT INTO shop_cartline (member_id, sku_id, quantity, is_selected, seen_price_fen, added_at)
        SELECT m.id, s.id, 1, true, s.price_fen, now()
        FROM unnest(%s::bigint[]) WITH ORDINALITY AS m(id, place),
             LATERAL (SELECT id, price_fen FROM shop_sku WHERE code LIKE 'BENCH-%%' ORDER BY id LIMIT m.place %% 5) s
        ON CONFLICT DO NOTHING
        """,
        [ids],
    )
    lab.execute(
        "INSERT INTO shop_favourite (member_id, product_id, added_at)"
        " SELECT m, %s, now() FROM unnest(%s::bigint[]) m ON CONFLICT DO NOTHING",
        [product_id, ids[::2]],
    )
    lab.execute("ANALYZE shop_cartline, shop_favourite")
    return [
        {
            "User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0",
            "Cookie": f"{seeds.member_cookie(member)}; csrftoken={'a' * 32}",
        }
        for member in Member.objects.filter(pk__in=ids)
    ]


def _beside_empty_view(name: str, path: str, product_id: int) -> Iterator[Figure]:
    visitors = _visitors(product_id)
    pages = [load.request("GET", path, headers=headers) for headers in visitors]
    empties = [load.request("GET", "/healthz", headers=headers) for headers in visitors]
    values, limits, p99, calm = [], [], [], []
    with lab.web(threads=8) as port:
        load.closed_loop(port, itertools.islice(itertools.cycle(pages), 1000), connections=32)
        for _ in range(ROUNDS):
            for requests, rates in ((empties, limits), (pages, values)):
                asked = itertools.islice(itertools.cycle(requests), REQUESTS)
                outcome = load.closed_loop(port, asked, connections=32)
                if outcome.statuses != {200: REQUESTS}:
                    raise RuntimeError(f"{name}: {outcome.statuses}")
                rates.append(outcome.per_second)
            p99.append(outcome.percentile(0.99))
        for _ in range(ROUNDS):
            calm.append(
                load.open_loop(
                    port,
                    lambda number: pages[number % VISITORS],
                    rate=CALM_RATE,
                    seconds=CALM_SECONDS,
                    connections=16,
                )
            )
    yield figure(
        name,
        values,
        "pages/s",
        limits=limits,
        limit_is="an empty view in the same server, through all middleware",
        p99_ms=[round(one, 1) for one in p99],
    )
    for share in (50, 95):
        yield figure(
            f"{name}-p{share}",
            [one.percentile(share / 100) for one in calm],
            "ms",
            limits=[CALM_LIMIT_MS],
            limit_is=f"the promise for p95 at {CALM_RATE} a second, open loop",
        )
