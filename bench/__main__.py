"""`python3 run.py bench [name …]`: without a name, all of them."""

import sys
import traceback
from collections.abc import Callable, Iterator

from bench import lab
from bench.report import Figure, print_line, print_table


def benches() -> dict[str, Callable[[], Iterator[Figure]]]:
    from bench import (
        checkout,
        finding,
        fresh,
        hot,
        imports,
        ledgers,
        lifecycle,
        members,
        messages,
        orders,
        pages,
        peers,
        segments,
    )

    return {
        "order-hot": orders.order_hot,
        "order-many": orders.order_many,
        "order-http-hot": hot.order_http_hot,
        "order-http-many": checkout.order_http_many,
        "order-oscar": peers.order_oscar,
        "webhook": messages.webhook,
        "broadcast-plan": messages.broadcast_plan,
        "broadcast-send": messages.broadcast_send,
        "price-cart": checkout.price_cart,
        "page-list": pages.page_list,
        "page-product": pages.page_product,
        "search": finding.search,
        "ledger": ledgers.ledger,
        "import-orders": imports.import_orders,
        "import-members": imports.import_members,
        "segment-preview": segments.segment_preview,
        "segment-snapshot": segments.segment_snapshot,
        "segment-timeline": segments.segment_timeline,
        "segment-fresh": fresh.segment_fresh,
        "rfm": lifecycle.rfm,
        "lifecycle-fit": lifecycle.lifecycle_fit,
        "member-page": members.member_page,
    }


def main(names: list[str]) -> int:
    lab.prepare()
    known = benches()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"No such bench: {', '.join(unknown)}. There are: {', '.join(known)}.")
        return 2
    figures: list[Figure] = []
    failed = False
    try:
        for name in names or known:
            try:
                lab.begin()
                for one in known[name]():
                    print_line(one)
                    figures.append(one)
            except Exception:
                failed = True
                print(f"{name} failed:")
                traceback.print_exc()
    finally:
        lab.remove()
    print_table(figures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
