"""Reading all followers of an official account, and all customers of a corp's guides.

What the platform names is put aside in rows (SyncSeen), so that a million followers need no memory, and a reading
that died goes on where it was. A reading that is not whole ends nobody's following; one that would end very many is
held until a person has confirmed it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from core import clock, events, jobs
from core.errors import Refusal
from core.models import Job
from crm.events import MemberJoined
from crm.models import Activity, Contact, Identity, Member, MemberStats, OfficialTagMark, SyncRun, SyncSeen
from crm.services.erased import erased_among
from crm.services.following import OPEN, note_contact_removed
from crm.services.lookups import store_contact
from crm.services.syncs import AT_ONCE, Brought, know_seen, note_seen, queue_sync, run_sync
from wechat import services as wechat
from wechat.errors import PlatformError, RateLimited

FOLLOWERS_JOB, CONTACTS_JOB = "crm.sync_followers", "crm.sync_contacts"
NEW_AT_ONCE = 500
REFUSALS = 5
"""So often in a row the platform may say that it is asked too often."""

log = structlog.get_logger(__name__)


def start_followers(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=FOLLOWERS_JOB, account_id=account_id, created_by_id=by_id)


def start_contacts(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=CONTACTS_JOB, account_id=account_id, created_by_id=by_id)


def sync_followers(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.FOLLOWERS, fetch=_followers)


def sync_contacts(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.CONTACTS, fetch=_contacts)


# --- Followers ----------------------------------------------------------------------------------------------------


def _followers(progress: jobs.Progress, brought: Brought) -> None:
    """Everybody whom the platform names follows; whom it does not name any more does not, if it named as many as it
    counts. Idempotent.
    """
    account_id = int(progress.params["account_id"])
    began_at = _begun(progress)
    low, high = _read_followers(progress, brought, account_id, began_at)
    know_seen()
    brought.fetched = SyncSeen.objects.filter(run=brought.run_id).count()
    # Followers come and go while we read: any number that it counted meanwhile is right.
    brought.expected = min(max(brought.fetched, low), high)
    hers = Identity.objects.filter(account=account_id, kind=Identity.OPENID, is_following=True)
    before = hers.filter(followed_at__lt=began_at)
    if not brought.fetched:  # though we know of followers: then the answer is wrong, not they
        brought.expected = max(brought.expected, before.count())
        return
    if brought.fetched != brought.expected:
        words = _(
            "The platform counts %(total)d followers and named %(named)d. Nobody's following was ended."
        )
        brought.fails("user/get", words % {"total": brought.expected, "named": brought.fetched})
        brought.failed = abs(brought.expected - brought.fetched)
        return
    gone = before.filter(~_named(brought.run_id))
    if brought.may_it_end(gone.count(), before.count()):
        while _unfollow(gone, began_at):
            pass


def _begun(progress: jobs.Progress) -> datetime:
    """When this reading began, whichever worker has it now."""
    if "began_at" in progress.checkpoint:
        return datetime.fromisoformat(progress.checkpoint["began_at"])
    return clock.now()


def _read_followers(
    progress: jobs.Progress, brought: Brought, account_id: int, began_at: datetime
) -> tuple[int, int]:
    """Page by page, from where a worker that died was; returns the least and the most that the platform counted."""
    kept = progress.checkpoint
    done = SyncSeen.objects.filter(run=brought.run_id).count()
    after, low, high = "", 2**31, 0
    if kept and done >= int(kept["done"]):
        after, low, high = str(kept["after"]), int(kept["low"]), int(kept["high"])
    while True:
        page = wechat.follower_page(account_id=account_id, after=after)
        low, high = min(low, page.total), max(high, page.total)
        note_seen(brought.run_id, [(openid, "") for openid in page.openids])
        for start in range(0, len(page.openids), NEW_AT_ONCE):
            follow_missed(account_id, page.openids[start : start + NEW_AT_ONCE], began_at)
        after = page.after
        done += len(page.openids)
        progress.report(
            done=done,
            total=page.total,
            checkpoint={
                "after": after,
                "low": low,
                "high": high,
                "done": min(done, SyncSeen.objects.filter(run=brought.run_id).count()),
                "began_at": began_at.isoformat(),
            },
        )
        if not after:
            return low, high


def _named(run_id: int) -> Exists:
    return Exists(SyncSeen.objects.filter(run=run_id, value=OuterRef("value")))


@transaction.atomic
def follow_missed(account_id: int, openids: list[str], at: datetime) -> None:
    """Those whose follow we missed: members now; who they are, is asked for like after a follow. Who was erased and
    has not come back by herself is passed by.

    Locks: advisory on the openids, in their order. Publishes: MemberJoined.
    """
    theirs = Identity.objects.filter(account=account_id, kind=Identity.OPENID)
    known = set(theirs.filter(value__in=openids, is_following=True).values_list("value", flat=True))
    missed = sorted(set(openids) - known)
    if not missed:
        return
    names = [f"identity:{Identity.OPENID}:{account_id}:{openid}" for openid in missed]
    with connection.cursor() as cursor:  # as core.locks.advisory_lock of each, in one statement
        cursor.execute(
            "SELECT count(pg_advisory_xact_lock(hashtextextended(name, 0)))"
            " FROM (SELECT name FROM unnest(%s::text[]) name ORDER BY name) named",
            [names],
        )
    there = set(theirs.filter(value__in=missed).values_list("value", flat=True))
    unknown = [openid for openid in missed if openid not in there]
    # Asked after `there`: an erasure takes the address away and remembers it in one transaction.
    erased = erased_among(account_id, unknown)
    _bear(account_id, [openid for openid in unknown if openid not in erased], at)
    # The platform names them now, so they followed before `at`, and after any unfollowing that we know of.
    theirs.filter(value__in=missed, is_following=False).exclude(unfollowed_at__gte=at).update(
        followed_at=at, is_following=True, lookup_due_at=at, lookup_attempts=0
    )


def _bear(account_id: int, openids: list[str], at: datetime) -> None:
    """Members for openids that nobody has, a few statements for all of them."""
    members = Member.objects.bulk_create(
        Member(joined_via=Member.FOLLOW, created_at=at) for _openid in openids
    )
    MemberStats.objects.bulk_create(MemberStats(member=member) for member in members)
    Identity.objects.bulk_create(
        Identity(member=member, kind=Identity.OPENID, account_id=account_id, value=openid, created_at=at)
        for openid, member in zip(openids, members, strict=True)
    )
    Activity.objects.bulk_create(
        Activity(member=member, kind=Activity.JOINED, at=at, subject=Member.FOLLOW) for member in members
    )
    events.publish_many([MemberJoined(member_id=member.pk, via=Member.FOLLOW, at=at) for member in members])


def _unfollow(gone: QuerySet[Identity], at: datetime) -> int:
    """End some thousand followings; returns how many. They followed before `at`, so they do not follow now."""
    ids = list(gone.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
    ended = Identity.objects.filter(pk__in=ids, is_following=True, followed_at__lt=at).update(
        is_following=False, unfollowed_at=at
    )
    OfficialTagMark.objects.filter(identity__in=ids, identity__is_following=False).delete()
    return ended


# --- WeCom contacts -----------------------------------------------------------------------------------------------


def _contacts(progress: jobs.Progress, brought: Brought) -> None:
    """Every guide's customers, each with remark and tags. Goes on from its checkpoint; one that cannot be read does
    not stop the others. Idempotent.
    """
    account_id, began_at, kept = int(progress.params["account_id"]), clock.now(), dict(progress.checkpoint)
    unread = _read_lists(progress, brought, account_id)
    know_seen()
    people = SyncSeen.objects.filter(run=brought.run_id).order_by("value").values("value").distinct()
    total = people.count()
    known = Contact.objects.filter(OPEN, identity__account=account_id)
    brought.expected += total
    if not brought.expected:
        brought.expected = known.values("identity").distinct().count()
        return
    of_lists = brought.failed
    brought.adds(kept)
    number = people.filter(value__lte=(after := str(kept.get("after", "")))).count()
    refusals = 0
    for external_userid in _after(people, after):
        number += 1
        try:
            began = clock.now()
            contact = wechat.work_contact(account_id=account_id, external_userid=external_userid)
            store_contact(account_id=account_id, contact=contact, began_at=began)
            brought.fetched += 1
            refusals = 0
        except PlatformError as error:
            brought.fails(_short(external_userid), error)
            refusals = refusals + 1 if isinstance(error, RateLimited) else 0
            if refusals >= REFUSALS:  # the next ten thousand would only make it worse
                raise
        except Refusal as refusal:
            log.warning("contact not stored", account=account_id, code=refusal.code)
            brought.fails(_short(external_userid), refusal)
        progress.report(
            done=number, total=total, checkpoint={"after": external_userid, **brought.kept(of_lists)}
        )
    _end_unnamed(account_id, brought, unread, began_at)


def _read_lists(progress: jobs.Progress, brought: Brought, account_id: int) -> set[str]:
    """Put aside each guide's customers; the guides whose list could not be read. A corp may have thousands of guides:
    each report keeps the job ours.
    """
    unread: set[str] = set()
    for userid in wechat.work_follow_users(account_id=account_id):
        try:
            named = wechat.work_contacts(account_id=account_id, userid=userid)
            note_seen(brought.run_id, [(external_userid, userid) for external_userid in named])
        except PlatformError as error:
            unread.add(userid)
            brought.expected += 1
            brought.fails(userid, error)
        progress.report(done=0)
    return unread


def _short(external_userid: str) -> str:
    """Enough to find her by; the row of a reading is kept longer than she may want to be."""
    return f"{external_userid[:6]}…{external_userid[-4:]}"


def _after(people: QuerySet[SyncSeen, Any], after: str) -> Iterator[str]:
    """One after the other, some hundred at a time."""
    while page := [row["value"] for row in people.filter(value__gt=after)[:NEW_AT_ONCE]]:
        yield from page
        after = page[-1]


def _end_unnamed(account_id: int, brought: Brought, unread: set[str], began_at: datetime) -> None:
    """Contacts that no guide's list has any more are over; of guides whose list could not be read nothing is known."""
    rows = Contact.objects.filter(OPEN, identity__account=account_id, added_at__lt=began_at)
    seen = SyncSeen.objects.filter(
        run=brought.run_id, value=OuterRef("identity__value"), owner=OuterRef("userid")
    )
    gone = rows.filter(~Exists(seen)).exclude(userid__in=unread)
    if not brought.may_it_end(gone.count(), rows.count()):
        return
    while page := list(gone.order_by("pk").values_list("identity__value", "userid")[:NEW_AT_ONCE]):
        for value, userid in page:
            note_contact_removed(
                account_id=account_id, external_userid=value, userid=userid, by="", at=began_at
            )
