"""The page that shows one member from all sides."""

import itertools
from collections.abc import Iterator

from bench import crowd, lab, load
from bench.report import Figure, figure
from bench.segments import operator

ROUNDS, PAGES = 5, 40
LIMIT_MS, MOST_QUERIES = 150.0, 15


def member_page() -> Iterator[Figure]:
    """Members with many facts among them, one page after the other; the queries are counted in this process."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    crowd.seed()
    headers = operator()
    members = [
        row[0]
        for row in lab.execute(
            "SELECT member_id FROM crm_memberstats WHERE orders_count > 10 ORDER BY member_id LIMIT %s",
            [PAGES],
        )
    ]
    paths = [reverse("admin:crm_member_change", args=[member]) for member in members]
    client = Client()
    client.force_login(get_user_model().objects.get(username="bench"), settings.AUTHENTICATION_BACKENDS[-1])
    client.get(paths[0])  # what a process asks once
    counts = []
    for path in paths[:10]:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"member-page: {answer.status_code} {answer.get('Location', '')}")
        counts.append(len(asked))
    requests = [load.request("GET", path, headers=headers) for path in paths]
    runs: list[float] = []
    with lab.web(threads=2) as port:
        load.closed_loop(port, itertools.islice(itertools.cycle(requests), 8), connections=4)
        for _round in range(ROUNDS):
            outcome = load.closed_loop(port, iter(requests), connections=1)
            if outcome.statuses != {200: len(requests)}:
                raise RuntimeError(f"member-page: {outcome.statuses}")
            runs.append(outcome.percentile(0.5))
    yield figure(
        "member-page",
        runs,
        "ms",
        limits=[LIMIT_MS],
        limit_is="the promise for the page of one member",
        members=crowd.MEMBERS,
        queries=max(counts),
        mark_queries=MOST_QUERIES,
    )
