"""Reading groups from WeCom: one at a time after a notice, or all of them as a job with an honest report."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from community import rules
from community.errors import NoWorkAccount, SyncRunning
from community.models import Group, GroupMember
from core import clock, jobs
from core.errors import Refusal
from core.locks import advisory_lock
from core.models import Job
from crm import queries as crm_queries
from crm import services as crm_services
from wechat import queries as wechat_queries
from wechat import services as wechat_services
from wechat.errors import PlatformError
from wechat.services import WorkGroup

log = structlog.get_logger(__name__)

SYNC_KIND = "community.sync_groups"
DAYS_KEPT = 400


# --- Notices ----------------------------------------------------------------------------------------------------


@transaction.atomic
def note_change(*, account_id: int, chat_id: str, at: datetime) -> None:
    """A group changed: it is read again in about two seconds; notices until then share that read.

    Idempotent: the earliest due moment stands. A dismissed group stays dismissed.
    """
    due_at = clock.now() + rules.SETTLE
    Group.objects.bulk_create([Group(account_id=account_id, chat_id=chat_id)], ignore_conflicts=True)
    Group.objects.filter(
        Q(due_at__isnull=True) | Q(due_at__gt=due_at),
        account_id=account_id,
        chat_id=chat_id,
        status=Group.ACTIVE,
    ).update(due_at=due_at, attempts=0)
    # A read that is on its way now may have begun before this change: make it look again.
    Group.objects.filter(
        account_id=account_id, chat_id=chat_id, status=Group.ACTIVE, due_at__lt=due_at
    ).update(due_at=due_at)


@transaction.atomic
def dismiss_group(*, account_id: int, chat_id: str, at: datetime) -> None:
    """The owner dissolved the group: everybody has left. Locks: group. Idempotent: it stays dissolved."""
    Group.objects.bulk_create([Group(account_id=account_id, chat_id=chat_id)], ignore_conflicts=True)
    group = Group.objects.select_for_update().get(account_id=account_id, chat_id=chat_id)
    if group.status == Group.DISMISSED:
        return
    stays = list(group.stays.filter(left_at__isnull=True))
    _close_stays(stays, at)
    group.status, group.due_at = Group.DISMISSED, None
    group.customers_count = group.staff_count = 0
    group.save(update_fields=["status", "due_at", "customers_count", "staff_count"])
    crm_services.set_group_members(group_id=group.pk, member_ids=[])
    _record_facts(group, left=stays, arrived=[], at=at)
    _count_days(group)


def read_due_groups(*, limit: int = 20) -> int:
    """Read the groups whose notice has settled; returns how many were tried.

    Claimed by moving the due moment (a conditional update), so several workers may run; a worker that dies leaves
    the claim to expire.
    """
    tried = 0
    moment = clock.now()
    due = Group.objects.filter(due_at__lte=moment).order_by("due_at").values_list("pk", "due_at")[:limit]
    for group_id, due_at in list(due):
        lease = clock.now() + rules.LEASE
        if Group.objects.filter(pk=group_id, due_at=due_at).update(due_at=lease):
            tried += 1
            _read_claimed(group_id, lease)
    return tried


def _read_claimed(group_id: int, lease: datetime) -> None:
    group = Group.objects.get(pk=group_id)
    try:
        read_group(account_id=group.account_id, chat_id=group.chat_id)
    except PlatformError as error:
        attempts = group.attempts + 1
        pause = rules.pause_after(attempts)
        Group.objects.filter(pk=group_id, due_at=lease).update(
            attempts=attempts,
            last_error=str(error)[:300],
            due_at=clock.now() + pause if pause is not None else None,
        )
        log.warning("group could not be read", group=group_id, attempts=attempts, error=type(error).__name__)
        return
    # Another notice during the read has set a new due moment: that one stays.
    Group.objects.filter(pk=group_id, due_at=lease).update(due_at=None)


# --- Reading ----------------------------------------------------------------------------------------------------


def read_group(*, account_id: int, chat_id: str) -> Group:
    """Fetch one group and store it. Raises PlatformError; then nothing was written."""
    began_at = clock.now()
    fetched = wechat_services.work_group(account_id=account_id, chat_id=chat_id)
    return store_group(account_id=account_id, fetched=fetched, began_at=began_at)


@transaction.atomic
def store_group(*, account_id: int, fetched: WorkGroup, began_at: datetime) -> Group:
    """Make our rows equal to a read of the group; facts for those who came and went.

    Locks: group. Idempotent: a read that began before the stored one is dropped, so answers may arrive in any order.
    """
    advisory_lock("community.group", account_id, fetched.chat_id)
    group, _ = Group.objects.select_for_update(of=("self",)).get_or_create(
        account_id=account_id, chat_id=fetched.chat_id
    )
    if group.status == Group.DISMISSED or (group.read_at is not None and group.read_at > began_at):
        return group
    group.name, group.owner_userid, group.notice = fetched.name, fetched.owner, fetched.notice
    group.created_at = fetched.created_at
    group.owner_id = crm_queries.staff_ids([fetched.owner]).get(fetched.owner)
    group.read_at, group.attempts, group.last_error = began_at, 0, ""

    open_stays = {stay.platform_id: stay for stay in group.stays.filter(left_at__isnull=True)}
    present = {person.id: person for person in fetched.members}
    # The platform leaves the time out for some members: then the time we know stands, else the time of reading.
    joined_at = {
        person.id: person.joined_at
        or (open_stays[person.id].joined_at if person.id in open_stays else began_at)
        for person in fetched.members
    }
    changed = rules.difference(
        {platform_id: stay.joined_at for platform_id, stay in open_stays.items()},
        [rules.Presence(platform_id, at) for platform_id, at in joined_at.items()],
    )
    left = [open_stays[platform_id] for platform_id in changed.left]
    _close_stays(left, began_at)
    returned = [open_stays[platform_id] for platform_id in changed.came_back]
    for stay in returned:
        stay.left_at = joined_at[stay.platform_id]
    GroupMember.objects.bulk_update(returned, ["left_at"])

    new_ids = [*changed.arrived, *changed.came_back]
    linked = _linked_members(account_id, [present[platform_id] for platform_id in new_ids])
    arrived = [
        GroupMember(
            group=group,
            kind=person.kind,
            platform_id=person.id,
            unionid=person.unionid,
            member_id=linked.get(person.id),
            name=person.name[:80],
            join_scene=person.join_scene if person.join_scene in (1, 2, 3) else 0,
            state=person.state[:64],
            joined_at=joined_at[person.id],
        )
        for person in (present[platform_id] for platform_id in new_ids)
    ]
    # A stay that the platform shows again with the same joining time was closed by a read that missed her.
    GroupMember.objects.bulk_create(
        arrived,
        update_conflicts=True,
        unique_fields=["group", "platform_id", "joined_at"],
        update_fields=["left_at", "name", "member"],
    )
    _link_later(group, account_id)
    group.customers_count = sum(person.kind == "customer" for person in present.values())
    group.staff_count = len(present) - group.customers_count
    group.save()
    _tell_members(group)
    _record_facts(group, left=left, arrived=arrived, at=began_at)
    _count_days(group)
    return group


def _tell_members(group: Group) -> None:
    """Segments ask the member centre who is in which group."""
    present = group.stays.filter(left_at__isnull=True, member__isnull=False)
    crm_services.set_group_members(
        group_id=group.pk, member_ids=present.order_by().values_list("member_id", flat=True)
    )


def _close_stays(stays: list[GroupMember], at: datetime) -> None:
    for stay in stays:
        stay.left_at = max(at, stay.joined_at)
    GroupMember.objects.bulk_update(stays, ["left_at"])


def _linked_members(account_id: int, people: list[Any]) -> dict[str, int]:
    """Platform id → member id of the customers whom we know, by external_userid, else by unionid."""
    customers = [person for person in people if person.kind == "customer"]
    by_contact = crm_queries.members_by_identity(
        kind="external_userid", account_id=account_id, values=[person.id for person in customers]
    )
    by_union = crm_queries.members_by_identity(
        kind="unionid", account_id=None, values=[person.unionid for person in customers if person.unionid]
    )
    found = {person.id: by_contact.get(person.id) or by_union.get(person.unionid) for person in customers}
    return {platform_id: member_id for platform_id, member_id in found.items() if member_id}


def _link_later(group: Group, account_id: int) -> None:
    """Customers who were strangers when they joined may have become members since."""
    strangers = list(
        group.stays.filter(left_at__isnull=True, kind=GroupMember.CUSTOMER, member__isnull=True)[:500]
    )
    if not strangers:
        return
    by_contact = crm_queries.members_by_identity(
        kind="external_userid", account_id=account_id, values=[stay.platform_id for stay in strangers]
    )
    by_union = crm_queries.members_by_identity(
        kind="unionid", account_id=None, values=[stay.unionid for stay in strangers if stay.unionid]
    )
    known = []
    for stay in strangers:
        stay.member_id = by_contact.get(stay.platform_id) or by_union.get(stay.unionid)
        if stay.member_id:
            known.append(stay)
    GroupMember.objects.bulk_update(known, ["member"])


def _record_facts(group: Group, *, left: list[GroupMember], arrived: list[GroupMember], at: datetime) -> None:
    facts = [
        {
            "member_id": stay.member_id,
            "kind": "joined_group",
            "at": stay.joined_at,
            "subject": f"group:{group.pk}",
        }
        for stay in arrived
        if stay.member_id
    ] + [
        {
            "member_id": stay.member_id,
            "kind": "left_group",
            "at": stay.left_at or at,
            "subject": f"group:{group.pk}",
        }
        for stay in left
        if stay.member_id
    ]
    if facts:
        crm_services.record_activities(facts)
    came = [(stay.member_id, f"group:{group.pk}", stay.joined_at) for stay in arrived if stay.member_id]
    crm_services.advance_tasks_of_many(came, kind="group")


def _count_days(group: Group) -> None:
    """Count the group's days again from its stays: only days on which something happened, and today."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH stay AS (
                SELECT (joined_at AT TIME ZONE %(zone)s)::date AS came, (left_at AT TIME ZONE %(zone)s)::date AS went
                FROM community_groupmember WHERE group_id = %(group)s AND kind = 'customer'
            ), days AS (
                SELECT came AS day FROM stay UNION SELECT went FROM stay WHERE went IS NOT NULL UNION SELECT %(today)s
            )
            INSERT INTO community_groupday (group_id, day, joined, "left", customers)
            SELECT %(group)s, day,
                (SELECT count(*) FROM stay WHERE came = day),
                (SELECT count(*) FROM stay WHERE went = day),
                (SELECT count(*) FROM stay WHERE came <= day AND (went IS NULL OR went > day))
            FROM days WHERE day > %(today)s - %(kept)s
            ON CONFLICT (group_id, day) DO UPDATE
            SET joined = excluded.joined, "left" = excluded."left", customers = excluded.customers
            """,
            {
                "zone": str(clock.zone()),
                "group": group.pk,
                "today": clock.today(),
                "kept": DAYS_KEPT,
            },
        )


# --- Sync of all --------------------------------------------------------------------------------------------------


@transaction.atomic
def start_sync(*, created_by_id: int | None = None, account_id: int | None = None) -> Job:
    """Queue a read of all groups of the WeCom account (the first one). Refuses while one of it is queued or running."""
    account = wechat_queries.account(account_id) if account_id else wechat_queries.find_account("work")
    if account is None:
        raise NoWorkAccount()
    advisory_lock("community.sync", account.pk)
    waiting = Job.objects.filter(kind=SYNC_KIND, status__in=[Job.QUEUED, Job.RUNNING])
    if waiting.filter(params__account_id=account.pk).exists():
        raise SyncRunning()
    return jobs.enqueue(kind=SYNC_KIND, params={"account_id": account.pk}, created_by_id=created_by_id)


def sync_groups(progress: jobs.Progress) -> dict[str, Any]:
    """The work of a sync job; raises when nothing was fetched: such a sync is not done."""
    return crm_services.run_sync(progress, kind="groups", fetch=_groups)


def _groups(progress: jobs.Progress, brought: crm_services.Brought) -> None:
    """List, then read each group; goes on from its checkpoint. One that cannot be read does not stop the others."""
    account_id, after = int(progress.params["account_id"]), str(progress.checkpoint.get("after", ""))
    chat_ids = sorted(row.chat_id for row in wechat_services.work_groups(account_id=account_id))
    if not chat_ids:
        brought.expected = Group.objects.filter(account=account_id, status=Group.ACTIVE).count()
        return
    brought.expected = len(chat_ids)
    brought.adds(progress.checkpoint)
    for chat_id in (chat_id for chat_id in chat_ids if chat_id > after):
        try:
            read_group(account_id=account_id, chat_id=chat_id)
            brought.fetched += 1
        except Refusal as refusal:
            brought.fails(chat_id, refusal)
            Group.objects.filter(account_id=account_id, chat_id=chat_id).update(
                last_error=crm_services.said(refusal)
            )
        progress.report(
            done=brought.fetched + brought.failed,
            total=brought.expected,
            checkpoint={"after": chat_id, **brought.kept()},
        )
    if not brought.failed:
        _dismiss_missing(account_id, chat_ids, brought)


def _dismiss_missing(account_id: int, listed: list[str], brought: crm_services.Brought) -> None:
    """Groups that the platform no longer names. Only after a full list, never those just announced, and very many only
    after a person's word: a group that was dismissed stays so.
    """
    moment = clock.now()
    active = Group.objects.filter(account_id=account_id, status=Group.ACTIVE)
    missing = active.filter(read_at__lt=moment - timedelta(minutes=5)).exclude(chat_id__in=listed)
    if brought.may_it_end(missing.count(), active.count()):
        for chat_id in list(missing.values_list("chat_id", flat=True)):
            dismiss_group(account_id=account_id, chat_id=chat_id, at=moment)


# --- Merges ---------------------------------------------------------------------------------------------------


@transaction.atomic
def repoint_member(*, kept_id: int, merged_id: int) -> None:
    """Two members became one: her stays follow her. Idempotent."""
    GroupMember.objects.filter(member_id=merged_id).update(member_id=kept_id)


def rows_of_member(member_id: int) -> list[QuerySet[Any]]:
    """What a reading of her groups may hold while it writes of her."""
    stays = GroupMember.objects.filter(member_id=member_id)
    return [Group.objects.filter(pk__in=stays.values("group")), stays]


@transaction.atomic
def forget_member(member_id: int) -> int:
    """Her stays in groups name nobody; returns how many."""
    groups = list(Group.objects.filter(stays__member=member_id).distinct())
    forgotten = GroupMember.objects.filter(member_id=member_id).update(member=None, name="", unionid="")
    for group in groups:
        _tell_members(group)
    return forgotten
