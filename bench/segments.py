"""Segments over a million members: the count while one types, saving who is in, conditions over the timeline."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from statistics import median
from typing import Any

from bench import crowd, lab, load
from bench.report import Figure, figure

ROUNDS, REQUESTS = 7, 60
HTTP_LIMIT_MS, SNAPSHOT_LIMIT_MS, TIMELINE_LIMIT_MS = 15.0, 150.0, 300.0
SNAPSHOT_SHARE = 0.057  # of the members: 57,000 of a million


def condition(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def asked(tags: tuple[int, int], without: int, spend_fen: int = 50_000) -> dict[str, Any]:
    """Tag in (A, B), not C, last order 30 to 90 days ago, spend at least 500 yuan, no touch in 7 days."""
    return {
        "all": [
            condition("tags", "any", list(tags)),
            condition("tags", "none", [without]),
            condition("last_order_days", "between", [30, 90]),
            condition("spend_fen", "between", [spend_fen, None]),
            condition("untouched_days", "at_least", 7),
        ]
    }


# The same by hand, over the same tables and over a narrow table with the tags as an array, which `performance.md`
# found to be the fastest that SQL has.
BY_HAND = {
    "figures, tags by EXISTS": """
        SELECT count(*) FROM crm_memberstats s WHERE s.last_paid_at >= %(from)s AND s.last_paid_at < %(until)s
        AND s.paid_fen >= %(spend)s AND (s.last_touch_at IS NULL OR s.last_touch_at < %(touch)s)
        AND EXISTS (SELECT FROM crm_membertag t WHERE t.member_id = s.member_id AND t.tag_id = ANY(%(tags)s))
        AND NOT EXISTS (SELECT FROM crm_membertag t WHERE t.member_id = s.member_id AND t.tag_id = %(without)s)
    """,
    "tags first": """
        SELECT count(*) FROM (
            SELECT member_id FROM crm_membertag WHERE tag_id = ANY(%(tags)s)
            EXCEPT SELECT member_id FROM crm_membertag WHERE tag_id = %(without)s
        ) t JOIN crm_memberstats s USING (member_id) WHERE s.last_paid_at >= %(from)s AND s.last_paid_at < %(until)s
        AND s.paid_fen >= %(spend)s AND (s.last_touch_at IS NULL OR s.last_touch_at < %(touch)s)
    """,
    "array of tags, GIN": """
        SELECT count(*) FROM hand.narrow s WHERE s.tags && %(tags)s::int[] AND NOT s.tags && ARRAY[%(without)s::int]
        AND s.last_paid_at >= %(from)s AND s.last_paid_at < %(until)s AND s.paid_fen >= %(spend)s
        AND (s.last_touch_at IS NULL OR s.last_touch_at < %(touch)s)
    """,
    "intarray query, GIN": """
        SELECT count(*) FROM hand.narrow s WHERE s.tags @@ %(query)s::query_int
        AND s.last_paid_at >= %(from)s AND s.last_paid_at < %(until)s AND s.paid_fen >= %(spend)s
        AND (s.last_touch_at IS NULL OR s.last_touch_at < %(touch)s)
    """,
}
NARROW = """
CREATE EXTENSION IF NOT EXISTS intarray;
CREATE SCHEMA IF NOT EXISTS hand;
DROP TABLE IF EXISTS hand.narrow;
CREATE TABLE hand.narrow AS
    SELECT s.member_id, s.paid_fen, s.last_paid_at, s.last_touch_at, t.tags
    FROM crm_memberstats s
    LEFT JOIN (SELECT member_id, array_agg(tag_id::int) AS tags FROM crm_membertag GROUP BY 1) t USING (member_id);
CREATE INDEX ON hand.narrow USING gin (tags gin__int_ops);
CREATE INDEX ON hand.narrow (last_paid_at);
"""


def _by_hand(tags: tuple[int, int], without: int, spend_fen: int) -> dict[str, Any]:
    from core import clock

    day = clock.day_start(clock.today())
    return {
        "tags": list(tags),
        "without": without,
        "query": f"({tags[0]}|{tags[1]})&!{without}",
        "spend": spend_fen,
        "from": day - timedelta(days=90),
        "until": day - timedelta(days=29),
        "touch": day - timedelta(days=6),
    }


def segment_preview() -> Iterator[Figure]:
    """The count by itself and through the admin's preview, beside the best of SQL."""
    from crm import bitmap_rows, queries

    crowd.seed()
    lab.execute(NARROW)
    lab.execute("VACUUM ANALYZE hand.narrow")
    asks = [((20 + n, 50 + n), 5 + n, 50_000) for n in range(4)] + [((1, 2), 5, 10_000)]
    # A limit in the middle of a band: some members have to be looked at one by one.
    cut = [((20 + n, 50 + n), 5 + n, 51_234) for n in range(4)]
    cold = _timed(lambda: queries.segment_count(asked(*asks[0])))
    counts: dict[Any, int] = {}
    for ask in [*asks, *cut]:
        counts[ask] = queries.segment_count(asked(*ask))
        for name, sql in BY_HAND.items():
            if (found := lab.execute(sql, _by_hand(*ask))[0][0]) != counts[ask]:
                raise RuntimeError(f"{ask}: bitmaps count {counts[ask]}, {name} {found}")
    times: dict[str, list[float]] = {name: [] for name in (*BY_HAND, "bitmaps", "cut", "large")}
    for _round in range(ROUNDS):
        for ask in asks[:4]:
            times["bitmaps"].append(_timed(lambda ask=ask: queries.segment_count(asked(*ask))))
            for name, sql in BY_HAND.items():
                times[name].append(_timed(lambda sql=sql, ask=ask: lab.execute(sql, _by_hand(*ask))))
        times["large"].append(_timed(lambda: queries.segment_count(asked(*asks[4]))))
        times["cut"] += [_timed(lambda ask=ask: queries.segment_count(asked(*ask))) for ask in cut]
    best = min(BY_HAND, key=lambda name: median(times[name]))
    yield figure(
        "segment-count",
        times["bitmaps"],
        "ms",
        limits=times[best],
        limit_is=f"the best hand-written SQL of the same run ({best})",
        members=counts[asks[0]],
        cut_band_ms=round(median(times["cut"]), 2),
        large_ms=round(median(times["large"]), 2),
        large_members=counts[asks[4]],
        first_of_process_ms=round(cold, 1),
        bitmaps_kept=sum(map(len, bitmap_rows._kept.values())),
        sql_ms={name: round(median(times[name]), 1) for name in BY_HAND},
    )
    yield from _through_http([asked(*ask) for ask in asks[:4]], times[best], best)


def _through_http(rules: list[dict[str, Any]], sql_runs: list[float], best: str) -> Iterator[Figure]:
    from django.urls import reverse

    headers = {**operator(), "Content-Type": "application/json"}
    path = reverse("admin:crm_segment_preview")
    requests = [load.request("POST", path, headers=headers, body=json.dumps(one).encode()) for one in rules]
    runs: list[float] = []
    with lab.web(threads=2) as port:
        # Each of the two processes reads its bitmaps first.
        load.closed_loop(port, itertools.islice(itertools.cycle(requests), 40), connections=4)
        for _round in range(ROUNDS):
            asked_again = itertools.islice(itertools.cycle(requests), REQUESTS)
            outcome = load.closed_loop(port, asked_again, connections=1)
            if outcome.statuses != {200: REQUESTS}:
                raise RuntimeError(f"segment-preview: {outcome.statuses}")
            runs.append(outcome.percentile(0.5))
    yield figure(
        "segment-preview",
        runs,
        "ms",
        limits=[HTTP_LIMIT_MS],
        limit_is="the promise for the preview's answer, count and sample",
        best_sql_ms=round(median(sql_runs), 1),
        times_as_fast_as_sql=round(median(sql_runs) / median(runs), 2),
        sql=best,
    )


def operator() -> dict[str, str]:
    """The headers of a logged-in superuser who may post."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    operator = get_user_model().objects.create_superuser("bench", "", "bench")
    client = Client()
    client.force_login(operator, settings.AUTHENTICATION_BACKENDS[-1])
    token = "a" * 32
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    return {"Cookie": f"{cookies}; csrftoken={token}", "X-CSRFToken": token}


def segment_snapshot() -> Iterator[Figure]:
    """Who is in a segment of 57,000, found and kept: as a snapshot by the button of the segment's page, and as the
    stored members of a live segment, a row for each.
    """
    from crm import services
    from crm.models import SegmentMember, SegmentSnapshot

    crowd.seed()
    spend = _spend_of(int(crowd.MEMBERS * SNAPSHOT_SHARE))
    rules = {
        "all": [condition("spend_fen", "between", [spend, None]), condition("untouched_days", "at_least", 7)]
    }
    segment = services.save_segment(name="big spenders", rules=rules)
    pressed, shown = _press_snapshot(segment.pk)
    counts = set(SegmentSnapshot.objects.values_list("members_count", flat=True))
    if counts != {segment.members_count}:
        raise RuntimeError(f"segment-snapshot: {counts} kept of {segment.members_count}")
    yield figure(
        "segment-snapshot",
        pressed,
        "ms",
        limits=[SNAPSHOT_LIMIT_MS],
        limit_is="the promise for 57,000 members, from the press of the button to the answer",
        members=segment.members_count,
        page_after_ms=round(median(shown), 1),
    )
    filled = []
    for number in range(ROUNDS):
        live = services.save_segment(name=f"live {number}", rules={"all": []})
        started = time.perf_counter()
        services.save_segment(name=live.name, rules=rules, segment_id=live.pk, is_live=True)
        filled.append((time.perf_counter() - started) * 1000)
        if SegmentMember.objects.filter(segment=live).count() != segment.members_count:
            raise RuntimeError("segment-snapshot-rows: some are missing")
    yield figure(
        "segment-snapshot-rows",
        filled,
        "ms",
        limits=[SNAPSHOT_LIMIT_MS],
        limit_is="the same promise, of saving a live segment: a row for each member with the moment since when",
        members=segment.members_count,
    )


def _press_snapshot(segment_id: int) -> tuple[list[float], list[float]]:
    """(ms until the snapshot is kept, ms of the page that is shown then), of each round."""
    from django.urls import reverse

    headers = {**operator(), "Content-Type": "application/x-www-form-urlencoded"}
    press, board = (
        reverse(name, args=[segment_id]) for name in ("admin:crm_segment_snapshot", "admin:crm_segment_board")
    )
    pressed, shown = [], []
    with lab.web(threads=2) as port:
        for number in range(-4, ROUNDS):  # each of the two processes reads its bitmaps first
            asks = [
                load.request("POST", press, headers=headers, body=f"name=round{number}".encode()),
                load.request("GET", board, headers=headers),
            ]
            outcome = load.closed_loop(port, iter(asks), connections=1)
            if outcome.statuses != {302: 1, 200: 1}:
                raise RuntimeError(f"segment-snapshot: {outcome.statuses}")
            if number >= 0:
                pressed.append(outcome.latencies[0])
                shown.append(outcome.latencies[1])
    return pressed, shown


def _spend_of(count: int) -> int:
    """The spending above which about so many members stand who were not touched in a week."""
    sql = """
        SELECT paid_fen FROM crm_memberstats WHERE last_touch_at IS NULL OR last_touch_at < now() - interval '7 days'
        ORDER BY paid_fen DESC OFFSET %s LIMIT 1
    """
    return int(lab.execute(sql, [count])[0][0])


def segment_timeline() -> Iterator[Figure]:
    """ "Viewed a product at least three times in 14 days and did not buy": one statement over twenty million facts."""
    from crm import queries

    crowd.seed()
    viewed = {"kind": "viewed_product", "times": 3, "days": 14}
    some = {**viewed, "times": 1, "subjects": [f"product:{number}" for number in range(40)]}
    asks: dict[str, dict[str, Any]] = {
        "viewed anything three times": condition("fact", "at_least", viewed),
        "viewed one of forty": condition("fact", "at_least", some),
        "viewed and did not buy": {
            "all": [
                condition("fact", "at_least", viewed),
                {"not": condition("last_order_days", "between", [None, 13])},
            ]
        },
    }
    times: dict[str, list[float]] = {name: [] for name in asks}
    counts = {name: queries.segment_count(rules) for name, rules in asks.items()}
    for name, rules in asks.items():
        if counts[name] != queries.members_in(rules).count():
            raise RuntimeError(f"{name}: {counts[name]} by bitmaps, SQL says otherwise")
    for _round in range(ROUNDS):
        for name, rules in asks.items():
            times[name].append(_timed(lambda rules=rules: queries.segment_count(rules)))
    slowest = max(asks, key=lambda name: median(times[name]))
    yield figure(
        "segment-timeline",
        times[slowest],
        "ms",
        limits=[TIMELINE_LIMIT_MS],
        limit_is=f"the promise over {crowd.facts_count():,} facts, of the slowest of its kind",
        slowest=slowest,
        kinds_ms={name: round(median(runs), 1) for name, runs in times.items()},
        members=counts,
        window_facts=lab.execute(
            "SELECT count(*) FROM crm_activity WHERE kind = 'viewed_product' AND at >= now() - interval '14 days'"
        )[0][0],
    )


def _timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000
