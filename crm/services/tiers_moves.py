"""Moving members between tiers by the rules: one at once, those whose protection ended, all after a change of rules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from core import clock, jobs
from core.locks import lock_rows
from core.models import Job
from crm import tiers_rules as rules
from crm.errors import BadPoints
from crm.models import Member, Membership, MemberTier, TierChange, TierPolicy, TierRule
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
        if rules.outcome(standing, plan.levels).changes
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
    rows = MemberTier.objects.in_bulk(list(member_ids))
    ends = _paid_until(member_ids, moment)
    for pk, standing, value in standings(plan, moment, member_ids=member_ids):
        result = rules.outcome(standing, plan.levels)
        if not result.changes:
            continue
        if result.worn != standing.worn:
            by_tier.setdefault(result.worn, []).append(pk)
            by_payment = standing.paid > standing.merit or bool(standing.noted and not result.paid)
            changes.append(
                TierChange(
                    member_id=pk,
                    old=standing.worn or "",
                    new=result.worn,
                    reason=reason or _reason(standing, result, plan, by_payment=by_payment),
                    value=value,
                    at=moment,
                )
            )
        if not result.earned and not result.paid:
            gone.append(pk)
            continue
        paid_until = ends.get((pk, result.paid)) if result.paid else None
        row = rows.get(pk)
        is_same = result.step == rules.STAY and row is not None and row.tier == result.earned
        kept.append(
            MemberTier(
                member_id=pk,
                tier=result.earned,
                since=row.since if is_same and row is not None else moment,
                protected_until=row.protected_until
                if is_same and row is not None
                else until
                if result.earned
                else paid_until or until,
                paid_tier=result.paid,
                paid_until=paid_until,
            )
        )
    for tier, pks in sorted(by_tier.items()):
        Member.objects.filter(pk__in=pks).update(tier=tier)
    TierChange.objects.bulk_create(changes)
    MemberTier.objects.bulk_create(
        kept,
        update_conflicts=True,
        unique_fields=["member"],
        update_fields=["tier", "since", "protected_until", "paid_tier", "paid_until"],
    )
    MemberTier.objects.filter(pk__in=gone).delete()
    return len(changes)


def _reason(standing: rules.Standing, result: rules.Outcome, plan: TierPlan, *, by_payment: bool) -> str:
    ranks = {level.name: number for number, level in enumerate(plan.levels, start=1)}
    is_up = ranks.get(result.worn, 0) > ranks.get(standing.worn or "", 0)
    if by_payment:
        return TierChange.PAID if is_up else TierChange.ENDED
    return TierChange.UP if is_up else TierChange.DOWN


def _paid_until(member_ids: Sequence[int], moment: datetime) -> dict[tuple[int, str], datetime]:
    """(member, tier) → when the term that counts now ends: then she is looked at again."""
    running = Membership.objects.filter(
        member_id__in=member_ids, ended_at=None, begins_at__lte=moment, ends_at__gt=moment
    )
    return {
        (member_id, tier): ends
        for member_id, tier, ends in running.order_by("ends_at").values_list("member_id", "tier", "ends_at")
    }


def review_due_tiers(*, limit: int = 20_000) -> int:
    """Members whose protection or paid membership ended: each keeps her tier anew or falls, by the calendar.
    Returns how many changed.

    Where a hand has put a member outside of the levels meanwhile, her standing is forgotten: nothing is due any more.
    """
    moment = clock.now()
    if current_plan() is None:
        return 0
    is_due = Q(protected_until__lte=moment) | Q(paid_until__lte=moment)
    due = MemberTier.objects.filter(is_due).order_by("protected_until", "pk")
    ids = list(due.values_list("pk", flat=True)[:limit])
    return sum(_review_due(ids[first : first + BATCH], moment) for first in range(0, len(ids), BATCH))


@transaction.atomic
def _review_due(ids: Sequence[int], moment: datetime) -> int:
    moved = review_tiers(member_ids=ids, at=moment)
    ends = _paid_until(ids, moment)
    for row in MemberTier.objects.filter(pk__in=ids, paid_until__lte=moment):  # the next term goes on
        row.paid_until = ends.get((row.pk, row.paid_tier))
        if not row.tier and row.paid_until is not None:
            row.protected_until = row.paid_until
        row.save(update_fields=["paid_until", "protected_until"])
    MemberTier.objects.filter(pk__in=ids, protected_until__lte=moment).delete()  # whom the rules left alone
    return moved


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
                member_id=kept_id,
                tier=row.tier,
                since=row.since,
                protected_until=row.protected_until,
                paid_tier=row.paid_tier,
                paid_until=row.paid_until,
            )
    MemberTier.objects.filter(pk=merged_id).delete()
    _close_history(kept_id)


def _close_history(member_id: int) -> None:
    """Two histories are one now: where it ends with the other's tier, a last line says which one counts."""
    standing = MemberTier.objects.filter(pk=member_id, member__tier=F("tier")).first()
    last = TierChange.objects.filter(member_id=member_id).order_by("-at", "-pk").first()
    if standing is not None and last is not None and last.new != standing.tier:
        TierChange.objects.create(
            member_id=member_id,
            old=last.new,
            new=standing.tier,
            reason=TierChange.MERGED,
            value=0,
            at=max(clock.now(), last.at),
        )


def standing_of(member: Member) -> dict[str, str]:
    """Her tier with its protection as plain values, for `return_standing`."""
    row = MemberTier.objects.filter(pk=member.pk).first()
    kept = {"known": row.tier, "since": row.since, "protected_until": row.protected_until} if row else {}
    return {"tier": member.tier, **{name: str(value) for name, value in kept.items()}}


@transaction.atomic
def return_standing(*, member_id: int, before: dict[str, str], since: datetime) -> bool:
    """Put her back where she stood, when the rules have moved her `since` (by what was not hers); False when they have
    not, or staff gave her another tier after them. What she reaches by herself, `review_tiers` then finds.

    Call under the member's lock.
    """
    tier = Member.objects.values_list("tier", flat=True).get(pk=member_id)
    last = TierChange.objects.filter(member_id=member_id, at__gte=since).order_by("-at", "-pk").first()
    if last is None or last.new != tier:
        return False
    Member.objects.filter(pk=member_id).update(tier=before["tier"])
    MemberTier.objects.filter(pk=member_id).delete()
    if "known" in before:
        MemberTier.objects.create(
            member_id=member_id,
            tier=before["known"],
            since=datetime.fromisoformat(before["since"]),
            protected_until=datetime.fromisoformat(before["protected_until"]),
        )
    if tier != before["tier"]:
        plan, moment = current_plan(), clock.now()
        values = (
            [value for _pk, _where, value in standings(plan, moment, member_ids=[member_id])] if plan else []
        )
        TierChange.objects.create(
            member_id=member_id,
            old=tier,
            new=before["tier"],
            reason=TierChange.DOWN,
            value=sum(values),
            at=moment,
        )
    return True
