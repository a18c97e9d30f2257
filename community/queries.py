"""What the group pages show: growth by day, for one group and for a list of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import F

from community.models import Group, GroupDay, GroupMember
from core import clock
from core.models import Job

SPARK_DAYS = 30


@dataclass(frozen=True)
class GrowthDay:
    """Customers at the end of a day, and who came and went on it."""

    day: date
    joined: int
    left: int
    customers: int


def group_names() -> list[tuple[int, str]]:
    """(id, name) of the groups there are now, by name."""
    there = Group.objects.filter(status=Group.ACTIVE).order_by("name", "pk")
    return [(group.pk, str(group)) for group in there.only("pk", "name", "chat_id")]


def growth(group_ids: Iterable[int], *, days: int = SPARK_DAYS) -> dict[int, list[GrowthDay]]:
    """Group id → the last so many days, oldest first, every day filled. Two queries for any number of groups."""
    wanted = list(group_ids)
    last = clock.today()
    first = last - timedelta(days=days - 1)
    rows: dict[int, dict[date, GroupDay]] = {group_id: {} for group_id in wanted}
    for row in GroupDay.objects.filter(group_id__in=wanted, day__gte=first):
        rows[row.group_id][row.day] = row
    before = dict(
        GroupDay.objects.filter(group_id__in=wanted, day__lt=first)
        .order_by("group_id", "-day")
        .distinct("group_id")
        .values_list("group_id", "customers")
    )
    return {group_id: _filled(rows[group_id], before.get(group_id, 0), first, days) for group_id in wanted}


def _filled(rows: dict[date, GroupDay], customers: int, first: date, days: int) -> list[GrowthDay]:
    filled = []
    for day in (first + timedelta(days=number) for number in range(days)):
        row = rows.get(day)
        customers = row.customers if row else customers
        filled.append(GrowthDay(day, row.joined if row else 0, row.left if row else 0, customers))
    return filled


def growth_of_all(*, days: int = SPARK_DAYS) -> list[GrowthDay]:
    """All active groups together, by day."""
    ids = list(Group.objects.filter(status=Group.ACTIVE).values_list("pk", flat=True))
    if not ids:
        return []
    per_group = growth(ids, days=days).values()
    return [
        GrowthDay(
            together[0].day,
            sum(one.joined for one in together),
            sum(one.left for one in together),
            sum(one.customers for one in together),
        )
        for together in zip(*per_group, strict=True)
    ]


def last_sync() -> Job | None:
    return Job.objects.filter(kind="community.sync_groups").order_by("-pk").first()


def sync_report(job: Job) -> dict[str, Any]:
    """What the sync brought, also while it runs (from its checkpoint) and when it failed."""
    found = job.result or {}
    checkpoint = job.checkpoint or {}
    return {
        "expected": found.get("expected", job.total),
        "fetched": found.get("fetched", checkpoint.get("fetched", 0)),
        "failed": found.get("failed", checkpoint.get("failed", 0)),
        "failures": checkpoint.get("failures", []),
        "cause": found.get("cause", ""),
        "error": job.error,
    }


def stays_of(member_id: int, *, limit: int = 10) -> list[GroupMember]:
    """Her stays in groups, those that go on first. One statement."""
    stays = GroupMember.objects.filter(member=member_id).select_related("group")
    return list(stays.order_by(F("left_at").desc(nulls_first=True), "-joined_at", "pk")[:limit])


def stays_to_take_along(member_id: int) -> list[dict[str, Any]]:
    """The groups a member was in, for her export."""
    stays = GroupMember.objects.filter(member=member_id).order_by("pk")
    return [
        {"group": name, "joined_at": joined.isoformat(), "left_at": left.isoformat() if left else None}
        for name, joined, left in stays.values_list("group__name", "joined_at", "left_at")
    ]
