"""Tags that WeCom and we keep the same: our changes leave as rows, theirs come in with a read of the contact.

A mark is what we want on one guide's contact (`wanted`) and what we last knew of it there (`known`); where they differ
a call is due. The last writer wins: a read is newer than what was asked before the guide's edit, and older than what
was asked after it began.

Locks, everywhere in this order: the member (key share), her tags, the marks by contact and tag.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Case, F, Q, Value, When

from core import clock
from core.events import backoff
from core.locks import advisory_lock
from core.wakeups import wake
from crm.models import Contact, Identity, WorkTag, WorkTagConflict, WorkTagMark
from crm.services.tags import add_tags, locked_tags, remove_tags
from crm.syncs import Known, Verdict, judge
from wechat import services as wechat
from wechat.errors import PlatformError

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=2)
MOST_ATTEMPTS = 8


@dataclass(frozen=True)
class _Call:
    contact: Contact
    marks: list[WorkTagMark]


def push_work_tags(*, limit: int = 100) -> int:
    """Send what is due, one call a contact; returns how many contacts were tried. Outside of a transaction.

    A contact's rows are claimed by moving their due moment (a lease), so several workers share the work; mark_tag
    may run twice (WeCom document 92118). What fails comes back later, and stays with its cause after some attempts.
    """
    tried = 0
    due = WorkTagMark.objects.filter(due_at__lte=clock.now()).order_by("due_at")
    for contact_id in dict.fromkeys(due.values_list("contact_id", flat=True)[: limit * 10]):
        if tried >= limit:
            break
        call = _claim(contact_id)
        if call is not None:
            tried += 1
            try:
                _send(call)
            except Exception:  # one contact must not stand before the others; the lease brings her back
                log.exception("tags not marked", contact=call.contact.pk)
    return tried


@transaction.atomic
def _claim(contact_id: int) -> _Call | None:
    rows = WorkTagMark.objects.filter(contact=contact_id, due_at__lte=clock.now())
    marks = list(rows.select_for_update(skip_locked=True).order_by("pk"))
    if not marks:
        return None
    WorkTagMark.objects.filter(pk__in=[mark.pk for mark in marks]).update(
        due_at=clock.now() + LEASE, attempts=F("attempts") + 1
    )
    return _Call(Contact.objects.select_related("identity").get(pk=contact_id), marks)


def _send(call: _Call) -> None:
    identity = call.contact.identity
    assert identity.account_id is not None
    tag_ids = [mark.tag_id for mark in call.marks]
    work_ids = dict(
        WorkTag.objects.filter(account=identity.account_id, tag__in=tag_ids).values_list("tag_id", "work_id")
    )
    # No such tag there any more: nothing can be sent, and nothing is booked as sent.
    orphans = [mark.pk for mark in call.marks if mark.tag_id not in work_ids]
    WorkTagMark.objects.filter(pk__in=orphans).delete()
    marks = [mark for mark in call.marks if mark.tag_id in work_ids]
    wanted = [work_ids[mark.tag_id] for mark in marks if mark.wanted]
    unwanted = [work_ids[mark.tag_id] for mark in marks if not mark.wanted]
    try:
        wechat.mark_work_tags(
            account_id=identity.account_id,
            userid=call.contact.userid,
            external_userid=identity.value,
            add=wanted,
            remove=unwanted,
        )
    except PlatformError as error:
        log.warning("tags not marked", contact=call.contact.pk, code=error.code)
        for mark in marks:
            attempts = mark.attempts + 1
            again = clock.now() + backoff(attempts) if attempts < MOST_ATTEMPTS else None
            WorkTagMark.objects.filter(pk=mark.pk, changed_at=mark.changed_at).update(
                due_at=again, error=f"{error} ({error.code})"[:300]
            )
        return
    for mark in marks:
        # Wished otherwise meanwhile: then it is due still.
        WorkTagMark.objects.filter(pk=mark.pk).update(
            known=mark.wanted,
            seen_at=clock.now(),
            due_at=Case(When(changed_at=mark.changed_at, then=Value(None)), default=Value(clock.now())),
            error="",
        )


def retry_work_tags(*, account_id: int | None = None) -> int:
    """Send again what was given up; returns how many tags are due then."""
    given_up = WorkTagMark.objects.filter(~Q(error=""), due_at__isnull=True)
    if account_id is not None:
        given_up = given_up.filter(contact__identity__account=account_id)
    count = given_up.update(due_at=clock.now(), attempts=0)
    if count:
        wake("crm.tasks.push_work_tags")
    return count


@transaction.atomic
def note_work_tags(
    *, account_id: int, external_userid: str, userid: str, work_ids: Iterable[str], began_at: datetime
) -> int:
    """A read of a contact, begun at `began_at`, showed these enterprise tags; returns how many tags changed here.

    Locks: advisory on the contact, the member (key share), her tags, then marks. Idempotent: a read that shows what is
    known changes nothing.
    """
    shared = dict(WorkTag.objects.filter(account=account_id).values_list("work_id", "tag_id"))
    if not shared:
        return 0
    advisory_lock("contact", account_id, external_userid)
    contact = Contact.objects.select_related("identity").get(
        identity__kind=Identity.EXTERNAL_USERID,
        identity__account=account_id,
        identity__value=external_userid,
        userid=userid,
    )
    there = {shared[work_id] for work_id in work_ids if work_id in shared}
    here = locked_tags([contact.identity.member_id], shared.values())
    # Read without a lock: who has a mark locked may be waiting for a tag of hers. What we settle is guarded by what
    # we have read.
    marks = {mark.tag_id: mark for mark in WorkTagMark.objects.filter(contact=contact)}
    settled: list[WorkTagMark] = []
    put: list[int] = []
    taken: list[int] = []
    for tag_id in sorted(shared.values()):
        theirs, is_here = tag_id in there, (contact.identity.member_id, tag_id) in here
        mark = marks.get(tag_id)
        verdict = judge(
            Known(mark.wanted, mark.known, mark.changed_at, mark.seen_at) if mark else None,
            theirs=theirs,
            here=is_here,
            began_at=began_at,
            edited_at=contact.edited_at,
        )
        if verdict is None:
            continue
        if mark is not None and verdict.conflict:
            _keep_conflict(contact, mark, theirs, verdict.conflict)
        settled.append(_settled(contact, tag_id, verdict))
        if verdict.follows and theirs != is_here:
            (put if theirs else taken).append(tag_id)
    changed = _change_ours(contact, put, taken)
    _settle(settled, {*put, *taken}, marks)
    return changed


def _keep_conflict(contact: Contact, mark: WorkTagMark, theirs: bool, winner: str) -> None:
    """Both sides changed it since they last agreed; of an edit whose notice was lost we know no moment."""
    edited_at = contact.edited_at
    if edited_at is not None and mark.seen_at is not None and edited_at <= mark.seen_at:
        edited_at = None
    WorkTagConflict.objects.create(
        contact=contact,
        tag_id=mark.tag_id,
        ours=mark.wanted,
        ours_at=mark.changed_at,
        theirs=theirs,
        theirs_at=edited_at,
        winner=winner,
        at=clock.now(),
    )


def _settled(contact: Contact, tag_id: int, verdict: Verdict) -> WorkTagMark:
    """The mark as it shall be: agreed, or due."""
    return WorkTagMark(
        contact=contact,
        tag_id=tag_id,
        wanted=verdict.wanted,
        known=verdict.known,
        changed_at=verdict.at,
        seen_at=None if verdict.is_due else verdict.at,
        due_at=clock.now() if verdict.is_due else None,
    )


def _settle(settled: list[WorkTagMark], changed: set[int], read: dict[int, WorkTagMark]) -> None:
    """Write the marks, in the order of their tags. A mark that somebody changed since we read it stays as he wants it;
    the tags that we have `changed` ourselves have marks of our own making.
    """
    for mark in settled:
        values = {
            "wanted": mark.wanted,
            "known": mark.known,
            "changed_at": mark.changed_at,
            "due_at": mark.due_at,
            "attempts": 0,
            "error": "",
            **({"seen_at": mark.seen_at} if mark.seen_at else {}),
        }
        rows = WorkTagMark.objects.filter(contact=mark.contact, tag_id=mark.tag_id)
        as_read = read.get(mark.tag_id)
        if mark.tag_id in changed:
            WorkTagMark.objects.update_or_create(contact=mark.contact, tag_id=mark.tag_id, defaults=values)
        elif as_read is None:
            WorkTagMark.objects.bulk_create([mark], ignore_conflicts=True)
        else:
            rows.filter(wanted=as_read.wanted, changed_at=as_read.changed_at).update(**values)
    if any(mark.due_at for mark in settled):
        wake("crm.tasks.push_work_tags")


def _change_ours(contact: Contact, put: list[int], taken: list[int]) -> int:
    """Her tags here follow; other guides of hers get the change by the wish that every change of a tag makes."""
    origin, member_id = f"wecom:{contact.userid}", contact.identity.member_id
    changed = add_tags(member_ids=[member_id], tag_ids=put, origin=origin) if put else 0
    return changed + (remove_tags(member_ids=[member_id], tag_ids=taken, origin=origin) if taken else 0)
