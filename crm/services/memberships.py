"""Paid membership: a term is granted once per payment, goes on where the last one ends, and may be given back."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Max, QuerySet

from core import clock
from crm.models import Activity, Membership
from crm.services.living import locked_member
from crm.services.points import living_id
from crm.services.tiers_moves import review_tiers
from crm.services.timeline import record_activity


@transaction.atomic
def grant_membership(
    *, member_id: int, cause: str, name: str, tier: str, days: int, plan_id: int | None = None, at: datetime
) -> Membership:
    """Grant a term from now, or from the end of the running one of the same tier; her tier follows at once.

    The first term lasts to the end of its last day. Locks: member. Idempotent on: cause.
    """
    member_id = locked_member(member_id).pk
    known = Membership.objects.filter(cause=cause).first()
    if known is not None:
        return known
    running = Membership.objects.filter(member_id=member_id, tier=tier, ended_at=None, ends_at__gt=at)
    begins_at = running.aggregate(last=Max("ends_at"))["last"] or at
    made = Membership.objects.create(
        member_id=member_id,
        plan_id=plan_id,
        cause=cause,
        name=name,
        tier=tier,
        begins_at=begins_at,
        ends_at=_end_of(begins_at, days),
    )
    record_activity(
        member_id=member_id,
        kind=Activity.MEMBERSHIP,
        at=at,
        subject=f"membership:{made.pk}",
        data={"name": name},
    )
    review_tiers(member_ids=[member_id])
    return made


@transaction.atomic
def end_membership(*, cause: str) -> Membership | None:
    """The term was given back: it counts no more, what goes on from it begins now, and her tier follows at once.

    Locks: member. Idempotent.
    """
    row = _locked_term(cause)
    if row is None or row.ended_at is not None:
        return row
    row.ended_at = clock.now()
    row.save(update_fields=["ended_at"])
    place, gap = max(row.ended_at, row.begins_at), row.ends_at
    while (after := _others_of(row).filter(begins_at=gap).order_by("pk").first()) is not None:
        gap = after.ends_at
        after.begins_at, after.ends_at = place, _end_of(place, _whole_days(after.begins_at, after.ends_at))
        after.save(update_fields=["begins_at", "ends_at"])
        place = after.ends_at
    review_tiers(member_ids=[living_id(row.member_id)])
    return row


@transaction.atomic
def continue_membership(*, cause: str) -> Membership | None:
    """It was not given back after all; what was left of it follows a term that has taken its days meanwhile.

    Locks: member. Idempotent.
    """
    row = _locked_term(cause)
    if row is None or row.ended_at is None:
        return row
    left_from, row.ended_at = max(row.ended_at, row.begins_at), None
    others = _others_of(row).filter(begins_at__lt=row.ends_at, ends_at__gt=left_from)
    if others.exists():
        days = max(_whole_days(left_from, row.ends_at), 1)
        row.begins_at = _others_of(row).aggregate(last=Max("ends_at"))["last"]
        row.ends_at = _end_of(row.begins_at, days)
    row.save(update_fields=["ended_at", "begins_at", "ends_at"])
    review_tiers(member_ids=[living_id(row.member_id)])
    return row


def _locked_term(cause: str) -> Membership | None:
    """The term, under its member's lock."""
    owner = Membership.objects.filter(cause=cause).values_list("member_id", flat=True).first()
    if owner is None:
        return None
    locked_member(owner)  # of two terms that come at once, the second goes on where the first one ends
    return Membership.objects.get(cause=cause)


def _others_of(row: Membership) -> QuerySet[Membership]:
    """Her other terms of the same tier that count."""
    return Membership.objects.filter(member_id=row.member_id, tier=row.tier, ended_at=None).exclude(pk=row.pk)


def _whole_days(begins_at: datetime, ends_at: datetime) -> int:
    """From the first midnight in it; `ends_at` is a midnight."""
    return (clock.local(ends_at).date() - _first_day(begins_at)).days


def _end_of(begins_at: datetime, days: int) -> datetime:
    return clock.day_start(_first_day(begins_at) + timedelta(days=days))


def _first_day(begins_at: datetime) -> date:
    """The first whole day: that of `begins_at` when it is a midnight, else the next."""
    day = clock.local(begins_at).date()
    return day if clock.day_start(day) == begins_at else day + timedelta(days=1)


@transaction.atomic
def move_memberships(*, kept_id: int, merged_id: int) -> None:
    """Terms of a merged member are the kept one's, one behind the other. Call under both members' locks. Idempotent."""
    loosen_memberships(member_ids=[kept_id, merged_id])
    Membership.objects.filter(member_id=merged_id).update(member_id=kept_id)
    settle_memberships(member_id=kept_id)


@transaction.atomic
def loosen_memberships(*, member_ids: Sequence[int]) -> None:
    """Let terms stand beside each other for a moment, until `settle_memberships`. Call under the members' locks."""
    Membership.objects.filter(member_id__in=member_ids, ended_at=None).update(ran_beside=True)


@transaction.atomic
def settle_memberships(*, member_id: int) -> None:
    """Of terms of one tier that run or come, the later begins when the earlier ends, with all the days that are left of
    it, this one too: the sum of what is left never shrinks. What is over stays where it was. One that was bought behind
    terms that are another's again begins where her own end, or now: nobody pays for a gap.

    Call under the member's lock. Idempotent.
    """
    by_tier: dict[str, list[Membership]] = {}
    for row in Membership.objects.filter(member_id=member_id, ended_at=None).order_by("begins_at", "pk"):
        by_tier.setdefault(row.tier, []).append(row)
    for terms in by_tier.values():
        _put_in_line(terms, clock.now())


def _put_in_line(terms: list[Membership], moment: datetime) -> None:
    over = [row for row in terms if row.ends_at <= moment]
    line: list[Membership] = []
    for row in terms:
        if row.ends_at <= moment:
            continue
        if line and row.begins_at < line[-1].ends_at:
            left_from = clock.local(max(row.begins_at, moment)).date()
            days = (clock.local(row.ends_at).date() - left_from).days
            row.begins_at = line[-1].ends_at
            row.ends_at = _end_of(row.begins_at, days)
        elif row.begins_at > (place := max(line[-1].ends_at, moment) if line else moment):
            days = _whole_days(row.begins_at, row.ends_at)
            row.begins_at, row.ends_at = place, _end_of(place, days)
        line.append(row)
    for row in over:
        row.ran_beside = any(
            row.begins_at < other.ends_at and other.begins_at < row.ends_at for other in line
        )
        if not row.ran_beside:
            line.append(row)
    for row in line:
        row.ran_beside = False
    Membership.objects.bulk_update([row for row in over if row.ran_beside], ["ran_beside"])
    for row in line:  # none is put where another still stands: all are loosened
        row.save(update_fields=["begins_at", "ends_at", "ran_beside"])
