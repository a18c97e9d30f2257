"""What broadcasts and win-back rules brought: counts for the bar, totals for the page, rows for the export."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count

from campaigns import rules
from campaigns.models import Broadcast, WinBackRule
from campaigns.queries.labels import reason_label
from core import clock
from wechat import queries as wechat_queries


@dataclass(frozen=True)
class Slice:
    """A part of the audience: a label, how many, and its share in percent."""

    code: str
    label: str
    count: int
    share: int = 0


@dataclass
class BroadcastFigures:
    """The whole audience, by what became of it. sent + failed + unknown + in_outbox = released."""

    audience: int = 0
    planned: int = 0
    deferred: int = 0
    skipped: int = 0
    cancelled: int = 0
    released: int = 0
    sent: int = 0
    failed: int = 0
    unknown: int = 0
    withdrawn: int = 0  # handed over, then cancelled before it left
    in_outbox: int = 0
    opened: int = 0
    buyers: int = 0
    orders: int = 0
    paid_fen: int = 0
    skip_reasons: list[Slice] = field(default_factory=list)
    defer_reasons: list[Slice] = field(default_factory=list)
    channels: list[Slice] = field(default_factory=list)
    fail_reasons: list[Slice] = field(default_factory=list)

    @property
    def to_send(self) -> int:
        """Everybody who is meant to get it."""
        return self.planned + self.deferred + self.released

    @property
    def finished(self) -> int:
        return self.sent + self.failed + self.unknown + self.withdrawn

    @property
    def percent(self) -> int:
        return rules.percent(self.finished, self.to_send) if self.to_send else 0

    @property
    def open_rate(self) -> int:
        return round(100 * self.opened / self.sent) if self.sent else 0

    @property
    def order_rate(self) -> float:
        return round(100 * self.buyers / self.sent, 1) if self.sent else 0.0


def broadcast_figures(broadcast: Broadcast, *, with_orders: bool = True) -> BroadcastFigures:
    """Two to four queries, whatever the size of the audience."""
    figures = BroadcastFigures()
    skips: dict[str, int] = {}
    defers: dict[str, int] = {}
    channels: dict[str, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT status, reason, channel, not_before IS NOT NULL, count(*), count(opened_at)
            FROM campaigns_broadcastrecipient WHERE broadcast_id = %s GROUP BY 1, 2, 3, 4
            """,
            [broadcast.pk],
        )
        for status, reason, channel, waits, count, opened in cursor.fetchall():
            figures.audience += count
            figures.opened += opened
            if status == "planned" and waits:
                figures.deferred += count
                defers[reason] = defers.get(reason, 0) + count
            elif status == "planned":
                figures.planned += count
            elif status == "skipped":
                figures.skipped += count
                skips[reason] = skips.get(reason, 0) + count
            elif status == "cancelled":
                figures.cancelled += count
            else:
                figures.released += count
            if status in ("planned", "released"):
                channels[channel] = channels.get(channel, 0) + count
    names = dict(Broadcast.CHANNEL_CHOICES)
    figures.skip_reasons = slices(skips, figures.audience, reason_label)
    figures.defer_reasons = slices(defers, figures.audience, reason_label)
    figures.channels = slices(channels, figures.to_send, lambda code: str(names.get(code, code)))
    if figures.released:
        _add_outbox(figures, broadcast.origin)
        if with_orders:
            [row] = conversions([broadcast.pk]).values() or [{}]
            figures.buyers = row.get("buyers", 0)
            figures.orders = row.get("orders", 0)
            figures.paid_fen = row.get("paid_fen", 0)
    return figures


def _add_outbox(figures: BroadcastFigures, origin: str) -> None:
    counts = wechat_queries.outbound_counts(origin)
    figures.sent = counts.get("sent", 0)
    figures.failed = counts.get("failed", 0)
    figures.unknown = counts.get("unknown", 0)
    figures.withdrawn = counts.get("cancelled", 0)
    figures.in_outbox = sum(counts.get(state, 0) for state in ("pending", "held", "sending"))
    if figures.failed or figures.unknown:
        rows = (
            wechat_queries.outbound_for(origin)
            .filter(state__in=["failed", "unknown"])
            .values_list("reason_code", "reason")
            .annotate(messages=Count("pk"))
            .order_by("-messages")[:20]
        )
        merged: dict[str, int] = {}
        for code, reason, count in rows:
            label = reason or code
            merged[label] = merged.get(label, 0) + count
        figures.fail_reasons = slices(merged, figures.released, str)


def slices(counts: dict[str, int], whole: int, label: Any) -> list[Slice]:
    """Biggest first, each with its share of the whole."""
    return [
        Slice(code, label(code), count, round(100 * count / whole) if whole else 0)
        for code, count in sorted(counts.items(), key=lambda entry: -entry[1])
    ]


def conversions(broadcast_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Broadcast id → buyers, orders and paid_fen within three days after the touch."""
    wanted = list(broadcast_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r.broadcast_id, count(DISTINCT r.member_id), count(a.id), coalesce(sum(a.amount_fen), 0)
            FROM campaigns_broadcastrecipient r
            JOIN crm_activity a ON a.member_id = r.member_id AND a.kind = 'paid'
                AND a.at > r.released_at AND a.at <= r.released_at + make_interval(days => %s::int)
                AND a.at > (SELECT min(started_at) FROM campaigns_broadcast WHERE id = ANY(%s))
            WHERE r.broadcast_id = ANY(%s) AND r.status = 'released'
            GROUP BY 1
            """,
            [str(rules.ATTRIBUTION.days), wanted, wanted],
        )
        return {
            broadcast_id: {"buyers": buyers, "orders": orders, "paid_fen": int(paid_fen)}
            for broadcast_id, buyers, orders, paid_fen in cursor.fetchall()
        }


def reach_by_broadcast(broadcast_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Broadcast id → audience, planned, skipped, released, opened: one query for a list of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT broadcast_id, count(*),
                count(*) FILTER (WHERE status = 'planned'), count(*) FILTER (WHERE status = 'skipped'),
                count(*) FILTER (WHERE status = 'released'), count(opened_at)
            FROM campaigns_broadcastrecipient WHERE broadcast_id = ANY(%s) GROUP BY 1
            """,
            [list(broadcast_ids)],
        )
        names = ("audience", "planned", "skipped", "released", "opened")
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def last_broadcasts(limit: int = 5) -> list[dict[str, Any]]:
    """The last started broadcasts with reach, opens and orders within three days: three queries."""
    rows = list(
        Broadcast.objects.filter(started_at__isnull=False)
        .order_by("-started_at")
        .only("pk", "name", "status", "started_at")[:limit]
    )
    ids = [row.pk for row in rows]
    reach = reach_by_broadcast(ids) if ids else {}
    sold = conversions(ids) if ids else {}
    nothing = {"audience": 0, "planned": 0, "skipped": 0, "released": 0, "opened": 0}
    return [
        {
            "broadcast": row,
            **reach.get(row.pk, nothing),
            **sold.get(row.pk, {"buyers": 0, "orders": 0, "paid_fen": 0}),
        }
        for row in rows
    ]


def export_rows(broadcast: Broadcast, *, batch: int = 2_000) -> Iterator[dict[str, Any]]:
    """Every recipient with her outcome, in order, read by key in batches: memory does not grow with the audience."""
    last = 0
    statuses = dict(broadcast.recipients.model.STATUSES)
    channels = dict(Broadcast.CHANNEL_CHOICES)
    while rows := list(
        broadcast.recipients.filter(pk__gt=last).select_related("member").order_by("pk")[:batch]
    ):
        last = rows[-1].pk
        messages = {
            message.origin_id: message
            for message in wechat_queries.outbound_for(broadcast.origin, [row.pk for row in rows])
        }
        for row in rows:
            message = messages.get(row.pk)
            yield {
                "member_id": row.member_id,
                "name": str(row.member),
                "status": str(statuses[row.status]),
                "channel": str(channels.get(row.channel, "")),
                "reason": reason_label(row.reason),
                "outcome": str(message.get_state_display()) if message else "",
                "failure": (message.reason or message.reason_code) if message else "",
                "released_at": row.released_at,
                "sent_at": message.sent_at if message else None,
                "opened_at": row.opened_at,
            }


@dataclass
class WinBackFigures:
    """One rule so far. `came_back`: bought within the rule's days after the message.

    `waits_until`: when the first of those who wait is looked at again.
    """

    found: int = 0
    waiting: int = 0
    sent: int = 0
    opened: int = 0
    came_back: int = 0
    paid_fen: int = 0
    ended: int = 0
    gave_up: int = 0
    waits_until: datetime | None = None
    waiting_reasons: list[Slice] = field(default_factory=list)
    gave_up_reasons: list[Slice] = field(default_factory=list)
    channels: list[Slice] = field(default_factory=list)

    @property
    def open_rate(self) -> int:
        return round(100 * self.opened / self.sent) if self.sent else 0

    @property
    def return_rate(self) -> float:
        return round(100 * self.came_back / self.sent, 1) if self.sent else 0.0


def win_back_figures(rule: WinBackRule) -> WinBackFigures:
    """Two queries."""
    figures = WinBackFigures()
    by_reason: dict[str, dict[str, int]] = {"waiting": {}, "gave_up": {}}
    channels: dict[str, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT status, reason, channel, count(*), count(opened_at), min(next_try_at)
            FROM campaigns_winbackspell WHERE rule_id = %s GROUP BY 1, 2, 3
            """,
            [rule.pk],
        )
        for status, reason, channel, count, opened, next_try_at in cursor.fetchall():
            figures.found += count
            if status == "waiting" and next_try_at:
                figures.waits_until = min(figures.waits_until or next_try_at, next_try_at)
            figures.opened += opened
            setattr(figures, status, getattr(figures, status) + count)
            if status in by_reason:
                by_reason[status][reason] = by_reason[status].get(reason, 0) + count
            if status == "sent":
                channels[channel] = channels.get(channel, 0) + count
    names = dict(Broadcast.CHANNEL_CHOICES)
    figures.waiting_reasons = slices(by_reason["waiting"], figures.waiting, reason_label)
    figures.gave_up_reasons = slices(by_reason["gave_up"], figures.gave_up, reason_label)
    figures.channels = slices(channels, figures.sent, lambda code: str(names.get(code, code)))
    if figures.sent:
        returned = returns_by_rule([rule.pk]).get(rule.pk, (0, 0))
        figures.came_back, figures.paid_fen = returned
    return figures


def returns_by_rule(rule_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Rule id → members who bought within the rule's days after its message, and what they paid in fen."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT w.rule_id, count(DISTINCT w.id), coalesce(sum(a.amount_fen), 0)
            FROM campaigns_winbackspell w
            JOIN campaigns_winbackrule k ON k.id = w.rule_id
            JOIN crm_activity a ON a.member_id = w.member_id AND a.kind = 'paid'
                AND a.at > w.released_at AND a.at <= w.released_at + make_interval(days => k.return_days::int)
            WHERE w.rule_id = ANY(%s) AND w.status = 'sent' GROUP BY 1
            """,
            [list(rule_ids)],
        )
        return {rule_id: (members, int(paid_fen)) for rule_id, members, paid_fen in cursor.fetchall()}


def days_of_rule(rule: WinBackRule, *, days: int = 30) -> list[dict[str, Any]]:
    """Messages and opens of the last days, every day named."""
    first = clock.today() - timedelta(days=days - 1)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (released_at AT TIME ZONE %s)::date, count(*), count(opened_at) FROM campaigns_winbackspell
            WHERE rule_id = %s AND released_at >= %s GROUP BY 1
            """,
            [str(clock.zone()), rule.pk, clock.day_start(first)],
        )
        counted = {day: (sent, opened) for day, sent, opened in cursor.fetchall()}
    return [
        {
            "day": (day := first + timedelta(days=number)),
            "sent": counted.get(day, (0, 0))[0],
            "opened": counted.get(day, (0, 0))[1],
        }
        for number in range(days)
    ]


def spells_by_rule(rule_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Rule id → sent, opened, waiting: one query for a list of rules."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT rule_id, count(*) FILTER (WHERE status = 'sent'), count(opened_at),
                count(*) FILTER (WHERE status = 'waiting')
            FROM campaigns_winbackspell WHERE rule_id = ANY(%s) GROUP BY 1
            """,
            [list(rule_ids)],
        )
        return {
            rule_id: {"sent": sent, "opened": opened, "waiting": waiting}
            for rule_id, sent, opened, waiting in cursor.fetchall()
        }


def channel_names(channels: Iterable[str]) -> list[str]:
    names = dict(Broadcast.CHANNEL_CHOICES)
    return [str(names[channel]) for channel in channels if channel in names]
