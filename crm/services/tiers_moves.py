"""Moving members between tiers by the rules: one at once, those whose protection ended, all after a change of rules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.locks import lock_rows
from core.models import Job
from crm import tiers_rules as rules
from crm.errors import BadPoints
from crm.models import Member, MemberTier, TierChange, TierPolicy, TierRule
from crm.queries.tiers import TierPlan, current_plan, standings

KIND = "crm.tiers"
BATCH = 2_000


@dataclass(frozen=True)
class LevelInput:
    """One level as an operator writes it; `threshold` in growth value or fen."""

    name: str
    threshold: int
    points_bps: int = 10_000
    benefits: str = ""


@transaction.atomic
def review_tiers(*, member_ids: Iterable[int], reason: str = "", at: datetime | None = None) -> int:
    """Look at these members and move whom the rules move; returns how many changed their tier.

    `reason` "rules": the rules changed. Locks: members, by key. Idempotent: who stands where she belongs stays.
    """
    plan = current_plan()
    if plan is None:
        return 0
    moment = at or clock.now()
    wanted = sorted(set(member_ids))
    steps = [
        pk
        for pk, standing, _value in standings(plan, moment, member_ids=wanted)
        if rules.judge(standing, plan.levels).step != rules.STAY
    ]
    if not steps:
        return 0
    lock_rows(Member.objects.filter(pk__in=steps))
    # Judged again under the lock: another hand may have moved her meanwhile.
    return _move(plan, moment, steps, reason)


def _move(plan: TierPlan, moment: datetime, member_ids: Sequence[int], reason: str) -> int:
    until = clock.day_start(clock.local(moment).date() + timedelta(days=plan.keep_days + 1))
    changes, kept, gone = [], [], []
    by_tier: dict[str, list[int]] = {}
    for pk, standing, value in standings(plan, moment, member_ids=member_ids):
        verdict = rules.judge(standing, plan.levels)
        if verdict.step == rules.STAY:
            continue
        if verdict.step in rules.MOVES:
            by_tier.setdefault(verdict.tier, []).append(pk)
            changes.append(
                TierChange(
                    member_id=pk,
                    old=standing.tier,
                    new=verdict.tier,
                    reason=reason or verdict.step,
                    value=value,
                    at=moment,
                )
            )
        if verdict.tier:
            kept.append(MemberTier(member_id=pk, tier=verdict.tier, since=moment, protected_until=until))
        else:
            gone.append(pk)
    for tier, pks in sorted(by_tier.items()):
        Member.objects.filter(pk__in=pks).update(tier=tier)
    TierChange.objects.bulk_create(changes)
    MemberTier.objects.bulk_create(
        kept,
        update_conflicts=True,
        unique_fields=["member"],
        update_fields=["tier", "since", "protected_until"],
    )
    MemberTier.objects.filter(pk__in=gone).delete()
    return len(changes)


def review_due_tiers(*, limit: int = 20_000) -> int:
    """Members whose protection ended: each keeps her tier anew or falls; returns how many changed. By the calendar."""
    moment = clock.now()
    due = MemberTier.objects.filter(protected_until__lte=moment).order_by("protected_until", "pk")
    ids = list(due.values_list("pk", flat=True)[:limit])
    return sum(
        review_tiers(member_ids=ids[first : first + BATCH], at=moment) for first in range(0, len(ids), BATCH)
    )


@transaction.atomic
def save_tiers(
    *,
    basis: str,
    window_days: int,
    keep_days: int,
    levels: Sequence[LevelInput],
    is_active: bool = True,
    by_id: int | None = None,
) -> Job | None:
    """Set the tiers as a whole and queue the job that moves all members; None while tiers are switched off.

    Raises BadPoints. The last one to save wins; the job reads the rules when it runs.
    """
    check_levels(levels)
    if basis not in dict(TierPolicy.BASES) or not 0 <= window_days <= 3_650 or not 1 <= keep_days <= 3_650:
        raise BadPoints(_("Days are between 1 and 3,650; the window may be 0 for all time."))
    TierPolicy.objects.update_or_create(
        pk=1,
        defaults={
            "basis": basis,
            "window_days": window_days,
            "keep_days": keep_days,
            "is_active": is_active,
        },
    )
    TierRule.objects.exclude(name__in=[level.name for level in levels]).delete()
    # Two levels may exchange their thresholds: first out of each other's way.
    for number, rule in enumerate(TierRule.objects.order_by("pk")):
        TierRule.objects.filter(pk=rule.pk).update(threshold=10**17 + number)
    for level in levels:
        TierRule.objects.update_or_create(
            name=level.name,
            defaults={
                "threshold": level.threshold,
                "points_bps": level.points_bps,
                "benefits": level.benefits,
            },
        )
    return jobs.enqueue(kind=KIND, params={}, created_by_id=by_id) if is_active else None


def check_levels(levels: Sequence[LevelInput]) -> None:
    """Raises BadPoints: names and thresholds are there, sensible and different."""
    for level in levels:
        if not level.name.strip() or len(level.name) > 40 or "\x00" in level.name:
            raise BadPoints(_("A tier needs a name of at most 40 characters."))
        if not 0 <= level.threshold <= 10**14:
            raise BadPoints(
                _("“%(name)s”: the value to reach is too large or negative.") % {"name": level.name}
            )
        if not 0 <= level.points_bps <= 100_000:
            raise BadPoints(_("“%(name)s”: points can be multiplied by at most 10.") % {"name": level.name})
    if len({level.name for level in levels}) < len(levels):
        raise BadPoints(_("Two tiers have the same name."))
    if len({level.threshold for level in levels}) < len(levels):
        raise BadPoints(_("Two tiers begin at the same value."))


def work(progress: jobs.Progress) -> dict[str, Any]:
    """The job after a change of rules: all living members by key, resumed from the last one seen."""
    last, done = int(progress.checkpoint.get("last", 0)), int(progress.checkpoint.get("done", 0))
    moved = int(progress.checkpoint.get("moved", 0))
    total = Member.objects.living().count()
    while True:
        members = Member.objects.living().filter(pk__gt=last).order_by("pk")
        ids = list(members.values_list("pk", flat=True)[:BATCH])
        if not ids:
            return {"members": done, "moved": moved}
        with transaction.atomic():
            moved += review_tiers(member_ids=ids, reason=TierChange.RULES)
            last, done = ids[-1], done + len(ids)
            progress.report(
                done=done, total=max(total, done), checkpoint={"last": last, "done": done, "moved": moved}
            )


@transaction.atomic
def move_standing(*, kept_id: int, merged_id: int) -> None:
    """History and standing of a merged member; the kept one's own standing counts. Call under the members' locks."""
    TierChange.objects.filter(member_id=merged_id).update(member_id=kept_id)
    if not MemberTier.objects.filter(pk=kept_id).exists():
        for row in MemberTier.objects.filter(pk=merged_id):
            MemberTier.objects.create(
                member_id=kept_id, tier=row.tier, since=row.since, protected_until=row.protected_until
            )
    MemberTier.objects.filter(pk=merged_id).delete()
