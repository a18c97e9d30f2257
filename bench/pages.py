"""Mobile pages against an empty view in the same server, through all middleware."""

import itertools
from collections.abc import Iterator

from bench import lab, load, seeds
from bench.report import Figure, figure

ROUNDS, REQUESTS = 3, 3000


def page_list() -> Iterator[Figure]:
    """A category page with 20 products for a logged-in member inside WeChat."""
    from shop.models import Category

    seeds.shop()
    yield _beside_empty_view("page-list", f"/category/{Category.objects.get(name='bench').pk}/")


def page_product() -> Iterator[Figure]:
    from shop.models import Product

    seeds.shop()
    first = Product.objects.filter(category__name="bench").order_by("pk").values_list("pk", flat=True)[0]
    yield _beside_empty_view("page-product", f"/p/{first}/")


def _beside_empty_view(name: str, path: str) -> Figure:
    from crm.models import Member

    member = Member.objects.get(pk=seeds.members()[0])
    headers = {"User-Agent": "Mozilla/5.0 (iPhone) MicroMessenger/8.0", "Cookie": seeds.member_cookie(member)}
    page = load.request("GET", path, headers=headers)
    empty = load.request("GET", "/healthz", headers=headers)
    values, limits, p99 = [], [], []
    with lab.web(threads=8) as port:
        load.closed_loop(port, itertools.repeat(page, 200), connections=8)
        for _ in range(ROUNDS):
            for request, rates in ((empty, limits), (page, values)):
                outcome = load.closed_loop(port, iter([request] * REQUESTS), connections=32)
                if outcome.statuses != {200: REQUESTS}:
                    raise RuntimeError(f"{name}: {outcome.statuses}")
                rates.append(outcome.per_second)
            p99.append(outcome.percentile(0.99))
    return figure(
        name,
        values,
        "pages/s",
        limits=limits,
        limit_is="an empty view in the same server, through the same middleware",
        p99_ms=[round(one, 1) for one in p99],
    )
