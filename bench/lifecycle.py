"""RFM of all members by thresholds; the nightly run of the lifecycle over everybody's purchases."""

import time
from collections.abc import Iterator
from datetime import timedelta

from bench import crowd, lab
from bench.report import Figure, figure

MEMBERS = crowd.MEMBERS
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
    from crm.services.lifecycle import SORT_MEMORY
    from crm.services.lifecycle_sql import ends_sql

    lab.execute(SEED)
    lab.execute(f"SET work_mem = '{SORT_MEMORY}'")
    today = clock.today()
    scores = f"SELECT rfm, count(*) FROM (SELECT {rfm_sql('life')} AS rfm FROM crm_memberlife life) scored GROUP BY 1"
    runs, ends_ms = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ((days, purchases, spend),) = lab.execute(ends_sql("crm_memberlife"), [today])
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


FIT_LIMIT_MS = 300_000.0


def lifecycle_fit() -> Iterator[Figure]:
    """The nightly run, first over members of whom nothing is known: read the orders, fit both models, write everybody's
    stage and scores; then the next night's, after a day on which nothing happened, and once more in the same night.
    """
    from core import clock
    from crm import services

    crowd.seed()
    times, runs = [], []
    for days in (0, 1, 1):
        started = time.perf_counter()
        with clock.travel(timedelta(days=days)):
            runs.append(services.refresh_lives(whole=False))
        times.append((time.perf_counter() - started) * 1_000)
    first, night, again = runs
    yield figure(
        "lifecycle-fit",
        times[:1],
        "ms",
        limits=[FIT_LIMIT_MS],
        limit_is="five minutes for a million members, from their orders to their stages",
        members=crowd.MEMBERS,
        buyers=first.written,
        next_night_ms=round(times[1]),
        next_night_judged=night.judged,
        next_night_written=night.written,
        again_ms=round(times[2]),
        again_judged=again.judged,
        fitted={
            name: round(getattr(first.fit, name) or 0, 4) for name in ("r", "alpha", "a", "b", "p", "q", "v")
        },
    )
