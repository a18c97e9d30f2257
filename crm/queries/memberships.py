"""What memberships are for sale, and which a member has."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core import clock
from crm.models import Member, Membership, MembershipPlan, TierRule
from crm.queries.tiers import TierCard, current_plan


@dataclass(frozen=True)
class RunningMembership:
    """Her terms of one tier that count now or later; `until` lies in the last day."""

    name: str
    tier: str
    until: datetime


def plans_for_sale(*, card: TierCard | None = None) -> list[MembershipPlan]:
    """What she may buy now; nothing while tiers are switched off or the plan's level is gone.

    `card`: her tier's, when it is known already; then one statement, else three.
    """
    plan = current_plan() if card is None else None
    names = [level.name for level in (card.rules if card else plan.levels if plan else ())]
    if not names:
        return []
    return list(MembershipPlan.objects.filter(is_active=True, tier__in=names))


def memberships_of(member_id: int) -> list[RunningMembership]:
    """By tier, the one that lasts longest first. One statement."""
    rows = Membership.objects.filter(member_id=member_id, ended_at=None, ends_at__gt=clock.now())
    latest: dict[str, RunningMembership] = {}
    for row in rows.order_by("-ends_at"):
        latest.setdefault(row.tier, RunningMembership(row.name, row.tier, row.ends_at - timedelta(seconds=1)))
    return list(latest.values())


def may_wear(tier: str) -> bool:
    """Whether a bought tier can show at her: not while a hand gave her a tier of another scheme."""
    return not tier or TierRule.objects.filter(name=tier).exists()


def membership_of(cause: str) -> Membership | None:
    return Membership.objects.filter(cause=cause, ended_at=None).first()


def tier_of(member_id: int) -> str:
    """The word that she carries."""
    return Member.objects.values_list("tier", flat=True).get(pk=member_id)
