"""What the home page shows: days, sums, the funnel, sleepers; customer lifetimes. Each of them one query."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta

from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils.translation import gettext, gettext_lazy

from analytics import services
from analytics.models import DayFigures, LifetimeCount, LifetimeRow
from core import clock
from crm import queries as crm_queries

DORMANT_DAYS = (30, 60, 90)
SUMMED = (
    "followed", "unfollowed", "members", "visitors", "visits", "orders", "paid_orders", "paid_fen", "refunded_fen",
    "touched", "opened",
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """Figures of a stretch of days. Money in fen; visitors are summed by day."""

    followed: int = 0
    unfollowed: int = 0
    members: int = 0
    visitors: int = 0
    visits: int = 0
    orders: int = 0
    paid_orders: int = 0
    paid_fen: int = 0
    refunded_fen: int = 0
    touched: int = 0
    opened: int = 0


def sums(days: Sequence[DayFigures]) -> Sums:
    return Sums(**{field.name: sum(getattr(day, field.name) for day in days) for field in fields(Sums)})


def last_days(days: int) -> list[DayFigures]:
    """The last so many days, oldest first, each with a row; today is counted live. Two queries."""
    today = clock.today()
    first = today - timedelta(days=days - 1)
    stored = {row.day: row for row in DayFigures.objects.filter(day__gte=first, day__lt=today)}
    live = services.count_days([today])
    by_day = {**stored, **{row.day: row for row in live}}
    return [
        by_day.get(day) or DayFigures(day=day)
        for day in (first + timedelta(days=number) for number in range(days))
    ]


@dataclass(frozen=True)
class Funnel:
    """Members who began to follow in a stretch of days, and how far they have come since."""

    followed: int
    visited: int
    ordered: int
    paid: int


def funnel(first: date, last: date) -> Funnel:
    """One query. Whoever followed in the stretch counts once, and what she did since then counts."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH cohort AS (
                SELECT member_id, min(at) AS at FROM crm_activity
                WHERE kind = 'followed' AND at >= %(since)s AND at < %(until)s GROUP BY member_id
            ), seen AS (
                SELECT c.member_id,
                    bool_or(a.kind IN ('visited', 'viewed_product', 'added_to_cart', 'ordered', 'paid')) AS visited,
                    bool_or(a.kind IN ('ordered', 'paid')) AS ordered, bool_or(a.kind = 'paid') AS paid
                FROM cohort c JOIN crm_activity a ON a.member_id = c.member_id AND a.at >= c.at
                    AND a.kind IN ('visited', 'viewed_product', 'added_to_cart', 'ordered', 'paid')
                WHERE a.at >= %(since)s
                GROUP BY c.member_id
            )
            SELECT (SELECT count(*) FROM cohort), count(*) FILTER (WHERE visited), count(*) FILTER (WHERE ordered),
                count(*) FILTER (WHERE paid) FROM seen
            """,
            {"since": clock.day_start(first), "until": clock.day_start(last + timedelta(days=1))},
        )
        return Funnel(*cursor.fetchone())


@dataclass(frozen=True)
class Members:
    """The reservoir at this moment."""

    total: int
    following: int
    buyers: int
    dormant: dict[int, int]  # silent for so many days → members who bought and then fell silent


def members_now() -> Members:
    """One query over the narrow table of figures."""
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*), count(first_paid_at), %s,
                (SELECT count(DISTINCT member_id) FROM crm_identity WHERE is_following AND kind = 'openid')
            FROM crm_memberstats
            """.replace(
                "%s",
                ", ".join(
                    "count(*) FILTER (WHERE last_paid_at < %s AND (last_active_at IS NULL OR last_active_at < %s))"
                    for _ in DORMANT_DAYS
                ),
            ),
            [moment - timedelta(days=days) for days in DORMANT_DAYS for _ in range(2)],
        )
        total, buyers, *dormant, following = cursor.fetchone()
    return Members(total, following, buyers, dict(zip(DORMANT_DAYS, dormant, strict=True)))


def top_sources(first: date, limit: int = 5) -> list[tuple[str, int]]:
    """Channel codes by members that they brought since a day."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.name, count(*) FROM crm_member m JOIN crm_channelcode c ON c.id = m.source_id
            WHERE m.created_at >= %s AND m.merged_into_id IS NULL GROUP BY c.id, c.name ORDER BY 2 DESC, 1 LIMIT %s
            """,
            [clock.day_start(first), limit],
        )
        return cursor.fetchall()


@dataclass(frozen=True)
class FirstSteps:
    """What is there already: the empty page says what to do first."""

    has_account: bool
    has_product: bool
    has_member: bool
    has_order: bool
    has_broadcast: bool

    @property
    def done(self) -> int:
        return sum([self.has_account, self.has_product, self.has_member, self.has_order, self.has_broadcast])


def first_steps() -> FirstSteps:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (SELECT 1 FROM wechat_account WHERE is_active AND kind = 'service'),
                EXISTS (SELECT 1 FROM shop_product WHERE status = 'on_sale'),
                EXISTS (SELECT 1 FROM crm_member), EXISTS (SELECT 1 FROM shop_order),
                EXISTS (SELECT 1 FROM campaigns_broadcast)
            """
        )
        return FirstSteps(*cursor.fetchone())


# --- Customer lifetimes --------------------------------------------------------------------------------------------
LIFETIME_SORTS = [
    ("kept_fen", gettext_lazy("paid and kept")),
    ("members", gettext_lazy("members")),
    ("orders", gettext_lazy("orders")),
    ("expected_fen", gettext_lazy("expected in 90 days")),
]


LIFETIME_FIGURES = (
    *("members", "buyers", "orders", "kept_fen", "alive"),
    *("expected_orders_milli", "expected_fen"),
)


def lifetimes(*, dimension: str, sort: str, store_id: int | None = None) -> QuerySet[LifetimeRow]:
    """One table, the largest first; who is bound to a store sees its row, and no others' guides or channels."""
    rows = LifetimeRow.objects.filter(dimension=dimension).order_by(f"-{sort}", "key")
    if store_id is None:
        return rows
    return rows.filter(key=f"store:{store_id}") if dimension == LifetimeRow.STORE else rows.none()


def lifetimes_in_all(rows: QuerySet[LifetimeRow]) -> LifetimeRow:
    """The rows of one table together, as a row that is not kept. One statement."""
    sums = rows.order_by().aggregate(**{name: Sum(name, default=0) for name in LIFETIME_FIGURES})
    return LifetimeRow(label=gettext("in all"), **sums)


def lifetimes_counted() -> LifetimeCount | None:
    return LifetimeCount.objects.order_by("-day").first()


def lifetime_name(row: LifetimeRow) -> str:
    """What stands in the table for it, in the reader's language where it has no name of its own."""
    if row.label:
        return row.label
    kind, _colon, word = row.key.partition(":")
    if kind == "via":
        return str(crm_queries.way_in(word))
    return gettext("none known") if not row.key else row.key
