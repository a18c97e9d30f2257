"""Reading all followers of an official account, and all customers of a corp's guides."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from django.db import transaction

from core import clock, jobs
from core.models import Job
from crm.models import Contact, Identity, Member, SyncRun
from crm.services.following import OPEN, note_contact_removed, note_follow, note_unfollow
from crm.services.lookups import store_contact
from crm.services.people import member_for_openid
from crm.services.syncs import Brought, queue_sync, run_sync
from wechat import services as wechat
from wechat.errors import PlatformError

FOLLOWERS_JOB, CONTACTS_JOB = "crm.sync_followers", "crm.sync_contacts"
AT_ONCE = 500


def start_followers(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=FOLLOWERS_JOB, account_id=account_id, created_by_id=by_id)


def start_contacts(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=CONTACTS_JOB, account_id=account_id, created_by_id=by_id)


def sync_followers(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.FOLLOWERS, fetch=_followers)


def sync_contacts(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.CONTACTS, fetch=_contacts)


def _followers(progress: jobs.Progress, brought: Brought) -> None:
    """Everybody whom the platform names follows; whom it does not name any more does not. Idempotent."""
    account_id, began_at = int(progress.params["account_id"]), clock.now()
    hers = Identity.objects.filter(account=account_id, kind=Identity.OPENID)
    named: set[str] = set()
    for openids in _batches(wechat.follower_openids(account_id=account_id)):
        known = set(hers.filter(value__in=openids, is_following=True).values_list("value", flat=True))
        for openid in openids:
            if openid not in known:
                _follows(account_id, openid, began_at)
        named.update(openids)
        brought.expected = brought.fetched = len(named)
        progress.report(done=len(named))
    following = hers.filter(is_following=True, followed_at__lt=began_at)
    if not named:  # though we know of followers: then the answer is wrong, not they
        brought.expected = following.count()
        return
    for pk, openid in following.values_list("pk", "value").iterator(chunk_size=5_000):
        if openid not in named:
            note_unfollow(identity_id=pk, at=began_at)


def _batches(openids: Iterator[str]) -> Iterable[list[str]]:
    while batch := list(islice(openids, AT_ONCE)):
        yield batch


@transaction.atomic
def _follows(account_id: int, openid: str, at: datetime) -> None:
    """Somebody whose follow we missed: a member now; who she is, is asked for like after a follow."""
    member_for_openid(account_id=account_id, openid=openid, via=Member.FOLLOW, at=at)
    identity = Identity.objects.get(kind=Identity.OPENID, account_id=account_id, value=openid)
    note_follow(identity_id=identity.pk, at=at)
    Identity.objects.filter(pk=identity.pk).update(lookup_due_at=at, lookup_attempts=0)


def _contacts(progress: jobs.Progress, brought: Brought) -> None:
    """Every guide's customers, each with remark and tags. Goes on from its checkpoint; one that cannot be read does
    not stop the others. Idempotent.
    """
    account_id, began_at = int(progress.params["account_id"]), clock.now()
    pairs: dict[str, set[str]] = {}
    unread: set[str] = set()
    for userid in wechat.work_follow_users(account_id=account_id):
        try:
            for external_userid in wechat.work_contacts(account_id=account_id, userid=userid):
                pairs.setdefault(external_userid, set()).add(userid)
        except PlatformError as error:
            unread.add(userid)
            brought.expected += 1
            brought.fails(userid, error)
    known = Contact.objects.filter(OPEN, identity__account=account_id)
    brought.expected += len(pairs)
    if not brought.expected:
        brought.expected = known.values("identity").distinct().count()
        return
    after = str(progress.checkpoint.get("after", ""))
    brought.fetched = int(progress.checkpoint.get("fetched", 0))
    for number, external_userid in enumerate(sorted(pairs), 1):
        if external_userid <= after:
            continue
        try:
            began = clock.now()
            contact = wechat.work_contact(account_id=account_id, external_userid=external_userid)
            store_contact(account_id=account_id, contact=contact, began_at=began)
            brought.fetched += 1
        except PlatformError as error:
            brought.fails(external_userid, error)
        progress.report(
            done=number,
            total=len(pairs),
            checkpoint={"after": external_userid, "fetched": brought.fetched},
        )
    _end_unnamed(account_id, pairs, unread, began_at)


def _end_unnamed(account_id: int, pairs: dict[str, set[str]], unread: set[str], began_at: datetime) -> None:
    """Contacts that no guide's list has any more are over; of guides whose list could not be read nothing is known."""
    rows = Contact.objects.filter(OPEN, identity__account=account_id, added_at__lt=began_at)
    for value, userid in list(rows.values_list("identity__value", "userid")):
        if userid not in unread and userid not in pairs.get(value, ()):
            note_contact_removed(
                account_id=account_id, external_userid=value, userid=userid, by="", at=began_at
            )
