"""Tags that WeCom and we keep the same: our changes leave as rows, theirs come in with a read of the contact.

A mark is what we want on one guide's contact (`wanted`) and what we last knew of it there (`known`); where they differ
a call is due. The last writer wins: a read is newer than what was asked before the guide's edit, and older than what
was asked after it began.
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
from crm.models import Contact, Identity, MemberTag, WorkTag, WorkTagConflict, WorkTagMark
from crm.services.tags import add_tags, remove_tags
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
            _send(call)
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
    wanted = [work_ids[mark.tag_id] for mark in call.marks if mark.wanted and mark.tag_id in work_ids]
    unwanted = [work_ids[mark.tag_id] for mark in call.marks if not mark.wanted and mark.tag_id in work_ids]
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
        for mark in call.marks:
            attempts = mark.attempts + 1
            again = clock.now() + backoff(attempts) if attempts < MOST_ATTEMPTS else None
            WorkTagMark.objects.filter(pk=mark.pk, changed_at=mark.changed_at).update(
                due_at=again, error=f"{error} ({error.code})"[:300]
            )
        return
    for mark in call.marks:
        # Wished otherwise meanwhile: then it is due still.
        WorkTagMark.objects.filter(pk=mark.pk).update(
            known=mark.wanted,
            seen_at=clock.now(),
            due_at=Case(When(changed_at=mark.changed_at, then=Value(None)), default=F("due_at")),
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

    Locks: advisory on the contact. Idempotent: a read that shows what is known changes nothing.
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
    marks = {mark.tag_id: mark for mark in WorkTagMark.objects.select_for_update().filter(contact=contact)}
    here = set(
        MemberTag.objects.filter(member=contact.identity.member_id, tag__in=shared.values()).values_list(
            "tag_id", flat=True
        )
    )
    put: list[int] = []
    taken: list[int] = []
    for tag_id in sorted(shared.values()):
        theirs = tag_id in there
        mark = marks.get(tag_id)
        if mark is None:
            if theirs or tag_id in here:  # the first meeting: who has it gives it to the other
                _settle(contact, tag_id, wanted=True, known=theirs, at=began_at)
                put += [tag_id] if tag_id not in here else []
            continue
        if mark.changed_at > began_at:
            continue  # asked after this read began: its call is on the way
        if theirs == mark.wanted:
            _settle(contact, tag_id, wanted=theirs, known=theirs, at=began_at)
        elif theirs == mark.known:
            continue  # only we changed it: the call is on its way
        elif _theirs_stand(contact, mark, theirs):
            _settle(contact, tag_id, wanted=theirs, known=theirs, at=began_at)
            if theirs != (tag_id in here):
                (put if theirs else taken).append(tag_id)
        else:
            _settle(contact, tag_id, wanted=mark.wanted, known=theirs, at=mark.changed_at)
    return _change_ours(contact, put, taken)


def _theirs_stand(contact: Contact, mark: WorkTagMark, theirs: bool) -> bool:
    """They have it otherwise than we want it. Did only they change it, theirs stands; did both since they last agreed,
    the later one's does, and the conflict is kept. Of an edit whose event was lost we know no time: ours stands then.
    """
    if mark.seen_at is not None and mark.changed_at <= mark.seen_at:
        return True
    edited_at = contact.edited_at
    if edited_at is not None and mark.seen_at is not None and edited_at <= mark.seen_at:
        edited_at = None
    if mark.known is None and edited_at is None:
        return False  # nobody there said anything yet
    stands = edited_at is not None and edited_at > mark.changed_at
    WorkTagConflict.objects.create(
        contact=contact,
        tag_id=mark.tag_id,
        ours=mark.wanted,
        ours_at=mark.changed_at,
        theirs=theirs,
        theirs_at=edited_at,
        winner=WorkTagConflict.THEIRS if stands else WorkTagConflict.OURS,
        at=clock.now(),
    )
    return stands


def _settle(contact: Contact, tag_id: int, *, wanted: bool, known: bool, at: datetime) -> None:
    due = None if wanted == known else clock.now()
    agreed = {} if due else {"seen_at": at}
    WorkTagMark.objects.update_or_create(
        contact=contact,
        tag_id=tag_id,
        defaults={
            "wanted": wanted,
            "known": known,
            "changed_at": at,
            "due_at": due,
            "attempts": 0,
            "error": "",
            **agreed,
        },
    )
    if due:
        wake("crm.tasks.push_work_tags")


def _change_ours(contact: Contact, put: list[int], taken: list[int]) -> int:
    """Her tags here follow; other guides of hers get the change by the wish that every change of a tag makes."""
    origin, member_id = f"wecom:{contact.userid}", contact.identity.member_id
    changed = add_tags(member_ids=[member_id], tag_ids=put, origin=origin) if put else 0
    return changed + (remove_tags(member_ids=[member_id], tag_ids=taken, origin=origin) if taken else 0)
