"""RFM of a million buyers by thresholds: the ends of all bands, then everybody's score, in the database."""

import os
import time
from collections.abc import Iterator

from bench import lab
from bench.report import Figure, figure

MEMBERS = int(os.environ.get("POND_BENCH_MEMBERS", "1000000"))
ROUNDS = 5
LIMIT_MS = 1_500.0

# Most buy once, few often, amounts are skewed: the shape of a shop's history, in fixed proportions.
SEED = f"""
SELECT setseed(0.4);
INSERT INTO crm_memberlife (member_id, frequency, first_day, last_day, spent_fen, repeat_fen, chance_bps, vigour_bps,
    orders_milli, value_fen, rfm, stage, since, scored_on)
SELECT n, again, last - 30 * again, last, (1 + again) * mean, again * mean, 10000, 5000, 100, 1000, 111, 'cooling',
       current_date, current_date
FROM (
    SELECT n, floor(-ln(1 - random()) * 2)::int AS again, current_date - floor(power(random(), 2) * 720)::int AS last,
           (5000 + 60000 * power(random(), 3))::bigint AS mean
    FROM generate_series(1, {MEMBERS}) n
) made;
ANALYZE crm_memberlife;
"""


def rfm() -> Iterator[Figure]:
    """Median of the rounds; a round reads every row twice and writes none (the nightly run writes what changed)."""
    from core import clock
    from crm.lifecycle import rfm_params, rfm_sql
    from crm.models import LifeDefinition
    from crm.services.lifecycle import ENDS, SORT_MEMORY

    lab.execute(SEED)
    lab.execute(f"SET work_mem = '{SORT_MEMORY}'")
    today = clock.today()
    scores = f"SELECT rfm, count(*) FROM (SELECT {rfm_sql('life')} AS rfm FROM crm_memberlife life) scored GROUP BY 1"
    runs, ends_ms = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ((days, purchases, spend),) = lab.execute(ENDS.replace("life_now", "crm_memberlife"), [today])
        counted = time.perf_counter()
        rule = LifeDefinition(days_ends=days, purchases_ends=purchases, spend_ends_fen=spend)
        found = lab.execute(scores, rfm_params(rule, today))
        runs.append((time.perf_counter() - started) * 1_000)
        ends_ms.append((counted - started) * 1_000)
        assert sum(count for _score, count in found) == MEMBERS
    yield figure(
        "rfm",
        runs,
        "ms",
        limits=[LIMIT_MS],
        limit_is="1.5 s for the ends of all bands and the score of every member",
        members=MEMBERS,
        ends_ms=round(sorted(ends_ms)[ROUNDS // 2], 1),
    )
