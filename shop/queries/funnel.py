"""The funnel from the cart to the money, for a range of the shop's days: one statement each."""

import datetime as dt
from dataclasses import dataclass

from django.db import connection

from core import clock

# The stages in order; whoever reached a later one counts in the earlier ones too, as "buy now" skips the cart.
CART, CHECKOUT, ADDRESS, PLACED, SHEET, PAID = range(1, 7)

_REACHED = """
WITH facts AS (
    SELECT member_id, CASE step WHEN 'cart' THEN 1 WHEN 'address' THEN 3 WHEN 'left' THEN 4 WHEN 'sheet' THEN 5
                                ELSE 2 END AS stage
    FROM shop_funnelstep WHERE day BETWEEN %(first)s AND %(last)s
    UNION ALL
    SELECT member_id, CASE WHEN paid_at IS NOT NULL THEN 6 ELSE 4 END FROM shop_order
    WHERE channel = 'mall' AND member_id IS NOT NULL AND placed_at >= %(since)s AND placed_at < %(until)s
), furthest AS (
    SELECT member_id, max(stage) AS stage FROM facts GROUP BY member_id
)
SELECT stage, count(*) FROM furthest GROUP BY stage
"""

_WHY = """
WITH steps AS (
    SELECT member_id, step, reason, order_id FROM shop_funnelstep WHERE day BETWEEN %(first)s AND %(last)s
), orders AS (
    SELECT id, member_id, status, cancel_reason, paid_at, expires_at FROM shop_order
    WHERE channel = 'mall' AND member_id IS NOT NULL AND placed_at >= %(since)s AND placed_at < %(until)s
)
SELECT 'no_address', '', count(DISTINCT member_id) FROM steps s WHERE step = 'no_address'
    AND NOT EXISTS (SELECT 1 FROM steps a WHERE a.member_id = s.member_id AND a.step = 'address')
UNION ALL SELECT 'refused', reason, count(DISTINCT member_id) FROM steps WHERE step = 'refused' GROUP BY reason
UNION ALL SELECT 'left', l.reason, count(DISTINCT l.order_id) FROM steps l JOIN orders o ON o.id = l.order_id
    WHERE l.step = 'left' AND o.paid_at IS NULL GROUP BY l.reason
UNION ALL SELECT 'never_opened', '', count(*) FROM orders o WHERE paid_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM shop_payment p WHERE p.order_id = o.id)
    AND NOT EXISTS (SELECT 1 FROM steps s WHERE s.order_id = o.id AND s.step = 'sheet')
UNION ALL SELECT 'cancelled', cancel_reason, count(*) FROM orders
    WHERE status = 'cancelled' AND paid_at IS NULL GROUP BY cancel_reason
"""

_REMINDED = """
SELECT count(*) FILTER (WHERE r.state = 'sent'), count(*) FILTER (WHERE r.state = 'sent' AND o.paid_at > r.at),
       coalesce(sum(o.paid_fen) FILTER (WHERE r.state = 'sent' AND o.paid_at > r.at), 0)::bigint,
       count(*) FILTER (WHERE r.state = 'skipped')
FROM shop_paymentreminder r JOIN shop_order o ON o.id = r.order_id WHERE r.at >= %(since)s AND r.at < %(until)s
"""


@dataclass(frozen=True)
class Why:
    """How many stopped for one reason: members before the order, orders after it."""

    kind: str  # no_address, refused, left, never_opened, cancelled
    reason: str
    count: int


@dataclass(frozen=True)
class Reminded:
    sent: int
    paid_after: int
    paid_fen: int
    skipped: int


def _range(first: dt.date, last: dt.date) -> dict[str, dt.date | dt.datetime]:
    return {
        "first": first,
        "last": last,
        "since": clock.day_start(first),
        "until": clock.day_start(last + dt.timedelta(days=1)),
    }


def funnel_counts(first: dt.date, last: dt.date) -> list[int]:
    """Members who reached at least each of the six stages, both days included; never growing."""
    with connection.cursor() as cursor:
        cursor.execute(_REACHED, _range(first, last))
        furthest = dict(cursor.fetchall())
    counts, sum_so_far = [], 0
    for stage in range(PAID, CART - 1, -1):
        sum_so_far += furthest.get(stage, 0)
        counts.append(sum_so_far)
    return counts[::-1]


def funnel_reasons(first: dt.date, last: dt.date) -> list[Why]:
    """Why people stopped, the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(_WHY, _range(first, last))
        rows = [Why(kind, reason, count) for kind, reason, count in cursor.fetchall() if count]
    return sorted(rows, key=lambda row: -row.count)


def reminders_between(first: dt.date, last: dt.date) -> Reminded:
    with connection.cursor() as cursor:
        cursor.execute(_REMINDED, _range(first, last))
        return Reminded(*cursor.fetchone())
