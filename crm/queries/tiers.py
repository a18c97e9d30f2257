"""Tiers: the rules in force, what members have reached, how many a change of rules would move."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from core import clock
from crm import tiers_rules as rules
from crm.models import Member, MemberTier, TierPolicy, TierRule


@dataclass(frozen=True)
class TierPlan:
    """A policy with its levels, sorted; thresholds and values are growth, or fen when `basis` is spend.

    Spend is what was paid in the window, less what of these payments went back.
    """

    basis: str
    window_days: int
    keep_days: int
    levels: tuple[rules.Level, ...]


@dataclass(frozen=True)
class TierMove:
    """So many members go from one tier to another: now, or (`waits`) when their protection has ended, and (`paid`)
    their paid membership too.
    """

    old: str
    new: str
    count: int
    waits: bool
    paid: bool = False


@dataclass(frozen=True)
class TierCard:
    """What a member sees of her tier. `rule` None: she has none; `missing`: what the next level still needs;
    `kept_until`: a moment of the last day on which it is hers in any case.
    """

    basis: str
    value: int
    rule: TierRule | None
    following: TierRule | None
    missing: int
    percent: int
    kept_until: datetime | None
    rules: tuple[TierRule, ...]


def current_plan() -> TierPlan | None:
    """The rules in force; None while tiers are given by hand only. Two statements."""
    policy = TierPolicy.objects.filter(pk=1, is_active=True).first()
    if policy is None:
        return None
    found = TierRule.objects.order_by("threshold").values_list("name", "threshold")
    levels = tuple(rules.Level(name, threshold) for name, threshold in found)
    return TierPlan(policy.basis, policy.window_days, policy.keep_days, levels)


# What each member has reached, by what she earned or paid and did not give back. A refund lowers the window only when
# its payment lies in it: money of an older order never raised this window, so its return must not lower it.
_VALUES = {
    TierPolicy.GROWTH: """
        SELECT member_id, sum(given - taken)::bigint AS value FROM crm_earning
        WHERE kind = 'growth' AND earned_at >= %s AND (%s::bigint[] IS NULL OR member_id = ANY(%s)) GROUP BY 1
    """,
    TierPolicy.SPEND: """
        SELECT member_id, sum(fen)::bigint AS value FROM (
            SELECT member_id, sum(CASE kind WHEN 'paid' THEN amount_fen ELSE -amount_fen END) AS fen
            FROM crm_activity
            WHERE kind IN ('paid', 'refunded') AND at >= %s AND (%s::bigint[] IS NULL OR member_id = ANY(%s))
            GROUP BY member_id, subject HAVING bool_or(kind = 'paid')
        ) orders GROUP BY 1
    """,
}
# With a paid membership she carries the higher one of what she earned and what she bought.
_STANDINGS = """
SELECT m.id, CASE WHEN m.tier IN (s.tier, nullif(s.paid_tier, '')) THEN s.tier ELSE m.tier END AS tier,
       coalesce(m.tier IN (s.tier, nullif(s.paid_tier, '')), false) AS known,
       s.protected_until IS NOT NULL AND s.protected_until <= %s AS is_over,
       width_bucket(coalesce(v.value, 0), %s::bigint[]) AS merit, coalesce(v.value, 0) AS value,
       m.tier AS worn, coalesce(p.paid, 0) AS paid, coalesce(s.paid_tier, '') AS noted
FROM crm_member m LEFT JOIN ({values}) v ON v.member_id = m.id LEFT JOIN crm_membertier s ON s.member_id = m.id
LEFT JOIN (
    SELECT member_id, max(array_position(%s::text[], tier::text)) AS paid FROM crm_membership
    WHERE ended_at IS NULL AND begins_at <= %s AND ends_at > %s GROUP BY 1
) p ON p.member_id = m.id
WHERE m.merged_into_id IS NULL AND m.erased_at IS NULL AND (%s::bigint[] IS NULL OR m.id = ANY(%s))
"""


def standings(
    plan: TierPlan, at: datetime, *, member_ids: Sequence[int] | None = None
) -> Iterator[tuple[int, rules.Standing, int]]:
    """(member, standing, value) of living members: these, or everybody. One statement."""
    sql, params = _standings_sql(plan, at, member_ids)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({sql}) AS found ORDER BY id", params)  # noqa: S608  our own text
        found = cursor.fetchall()
    for pk, tier, known, is_over, merit, value, worn, paid, noted in found:
        yield int(pk), rules.Standing(tier, known, is_over, merit, worn, int(paid), noted), int(value)


def preview_tiers(plan: TierPlan, at: datetime | None = None) -> tuple[int, list[TierMove]]:
    """How many living members there are, and how many of them these rules would move from where to where.

    One statement over all members, grouped by the database; nothing is written.
    """
    sql, params = _standings_sql(plan, at or clock.now(), None)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT tier, known, is_over, merit, worn, paid, noted, count(*) FROM ({sql}) AS found"  # noqa: S608
            " GROUP BY 1, 2, 3, 4, 5, 6, 7",
            params,
        )
        found = cursor.fetchall()
    counts: Counter[tuple[str, str, bool, bool]] = Counter()
    members = 0
    for tier, known, is_over, merit, worn, paid, noted, count in found:
        members += count
        standing = rules.Standing(tier, known, is_over, merit, worn, int(paid), noted)
        result = rules.outcome(standing, plan.levels)
        if result.worn != worn:
            counts[worn, result.worn, False, False] += count
        elif (fall := rules.waits(standing, plan.levels)) is not None:
            counts[worn, fall.tier, True, fall.paid] += count
    moves = [TierMove(old, new, count, waits, paid) for (old, new, waits, paid), count in counts.items()]
    return members, sorted(moves, key=lambda move: (move.waits, move.paid, -move.count, move.old, move.new))


def tier_card(member: Member) -> TierCard | None:
    """A member's tier, what she has reached and what the next one needs; None while there are no rules."""
    plan = current_plan()
    if plan is None or not plan.levels:
        return None
    found = list(standings(plan, clock.now(), member_ids=[member.pk]))
    value = found[0][2] if found else 0
    levels = tuple(TierRule.objects.order_by("threshold"))
    place = next((number for number, one in enumerate(levels, start=1) if one.name == member.tier), 0)
    following = levels[place] if place < len(levels) else None
    standing = MemberTier.objects.filter(pk=member.pk, tier=member.tier).first() if member.tier else None
    return TierCard(
        basis=plan.basis,
        value=value,
        rule=levels[place - 1] if place else None,
        following=following,
        missing=max(following.threshold - value, 0) if following else 0,
        percent=min(100, max(value, 0) * 100 // following.threshold)
        if following and following.threshold
        else 100,
        kept_until=standing.protected_until - timedelta(seconds=1) if standing else None,
        rules=levels,
    )


def tier_points_bps(tier: str) -> int:
    """How points are multiplied for a tier."""
    found = TierRule.objects.filter(name=tier).values_list("points_bps", flat=True).first() if tier else None
    return 10_000 if found is None else found


def _standings_sql(plan: TierPlan, at: datetime, member_ids: Sequence[int] | None) -> tuple[str, list[Any]]:
    """The statement of standings with its parameters. The window begins with a day of the shop's calendar."""
    since = (
        clock.day_start(clock.local(at).date() - timedelta(days=plan.window_days - 1))
        if plan.window_days
        else datetime(1970, 1, 2, tzinfo=clock.zone())
    )
    ids = None if member_ids is None else list(member_ids)
    thresholds = [level.threshold for level in plan.levels]
    sql = _STANDINGS.format(values=_VALUES[plan.basis])
    names = [level.name for level in plan.levels]
    return sql, [at, thresholds, since, ids, ids, names, at, at, ids, ids]
