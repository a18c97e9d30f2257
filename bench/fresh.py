"""How soon an order is seen in segments, and what it costs the order."""

import json
import time
import urllib.request
from collections.abc import Iterator
from statistics import median

from bench import crowd, lab
from bench.report import Figure, figure
from bench.segments import condition, operator

ORDERS, RATE_SECONDS = 20, 4
SEEN_LIMIT_MS = 1_000.0


def segment_fresh() -> Iterator[Figure]:
    """An order is booked as the shop books it; then the preview is asked, in another process, until it counts her."""
    from django.urls import reverse

    from core import clock
    from crm import services

    crowd.seed()
    headers = {**operator(), "Content-Type": "application/json"}
    rules = {
        "all": [
            condition("last_order_days", "between", [None, 0]),
            condition("spend_fen", "between", [9_900, None]),
        ]
    }
    # Those who never bought.
    buyers = lab.execute(
        "SELECT member_id FROM crm_memberstats WHERE orders_count = 0 ORDER BY 1 LIMIT %s", [ORDERS]
    )
    runs, asked = [], []
    with lab.web(threads=2) as port:
        body = json.dumps(rules).encode()
        address = f"http://127.0.0.1:{port}{reverse('admin:crm_segment_preview')}"

        def count() -> int:
            ask = urllib.request.Request(address, data=body, headers=headers)
            with urllib.request.urlopen(ask) as answer:
                return int(json.load(answer)["count"])

        before = [count() for _both_processes in range(8)][-1]
        for (buyer,) in buyers:
            moment = clock.now()
            services.book_purchase(member_id=buyer, paid_fen=9_900, at=moment)
            started = time.perf_counter()
            tries = 1
            while (found := count()) != before + 1:
                tries += 1
                if found != before or time.perf_counter() - started > 10:
                    raise RuntimeError(f"segment-fresh: {before} before the order, {found} after")
            runs.append((time.perf_counter() - started) * 1000)
            asked.append(tries)
            before += 1
    yield figure(
        "segment-fresh",
        runs,
        "ms",
        limits=[SEEN_LIMIT_MS],
        limit_is="the promise, from the order's commit to a preview that counts it",
        members=crowd.MEMBERS,
        times_asked=max(asked),
    )
    yield from _what_noting_costs()


# An order as an expert would insert it, alone; then with her figures, which the triggers note for the bitmaps.
INSERT_ONLY = """
\\set buyer random(1, :members)
INSERT INTO hand.bought (buyer, total) VALUES (:buyer, 9900);
"""
WITH_FIGURES = """
\\set buyer random(1, :members)
WITH bought AS (INSERT INTO hand.bought (buyer, total) VALUES (:buyer, 9900) RETURNING buyer, at)
UPDATE crm_memberstats s SET orders_count = orders_count + 1, paid_fen = paid_fen + 9900,
    last_paid_at = GREATEST(last_paid_at, at), last_active_at = GREATEST(last_active_at, at)
FROM bought WHERE s.member_id = bought.buyer;
"""


def _what_noting_costs() -> Iterator[Figure]:
    lab.execute("CREATE SCHEMA IF NOT EXISTS hand")
    lab.execute(
        """
        CREATE TABLE hand.bought (id bigserial PRIMARY KEY, buyer int NOT NULL, total int NOT NULL,
                                  at timestamptz NOT NULL DEFAULT now());
        CREATE INDEX ON hand.bought (buyer);
        """
    )
    members = {"members": crowd.MEMBERS}
    rates, limits, unnoted = [], [], []
    for _round in range(3):
        limits.append(lab.pgbench(INSERT_ONLY, clients=8, seconds=RATE_SECONDS, variables=members))
        lab.execute("ALTER TABLE crm_memberstats DISABLE TRIGGER USER")
        unnoted.append(lab.pgbench(WITH_FIGURES, clients=8, seconds=RATE_SECONDS, variables=members))
        lab.execute("ALTER TABLE crm_memberstats ENABLE TRIGGER USER")
        rates.append(lab.pgbench(WITH_FIGURES, clients=8, seconds=RATE_SECONDS, variables=members))
    from crm import services

    started = time.perf_counter()
    folded = services.fold_bitmaps()
    yield figure(
        "segment-fresh-rate",
        rates,
        "orders/s",
        limits=limits,
        limit_is="inserting the order alone, 8 clients; the promise is 0.5 of it",
        without_triggers=round(median(unnoted), 1),
        folded_members=folded,
        folded_in_ms=round((time.perf_counter() - started) * 1000),
    )
