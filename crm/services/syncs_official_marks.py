"""Who carries which tag of an official account: our changes leave as rows, 50 followers a call; theirs come in by
readings, page by page.

Locks, everywhere in this order: the members (key share), their tags, the marks by follower and tag.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from core import clock, jobs
from core.events import backoff
from core.wakeups import wake
from crm.models import Identity, MemberTag, OfficialTag, OfficialTagMark, SyncSeen, WorkTagConflict
from crm.services.following import note_unfollow
from crm.services.syncs import Brought, know_seen, note_seen
from crm.services.syncs_people import follow_missed
from crm.services.syncs_wishes import begin_anew
from crm.services.tags import add_tags, locked_tags, remove_tags
from crm.syncs import Known, Verdict, judge
from wechat import services as wechat
from wechat.errors import PersonUnreachable, PlatformError

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=2)
MOST_ATTEMPTS = 8
A_CALL = 50  # followers in one call
MOST_ON_A_FOLLOWER = 20
A_PAGE = 1_000
# What is wrong with one follower fails the call of fifty: then each is asked for herself.
HER_OWN = ("40003", "40031", "43004", "45059", "46004", "49003", "50005")


# --- Ours go out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    link: OfficialTag
    wanted: bool
    marks: list[OfficialTagMark]


def push_official_tags(*, limit: int = 100) -> int:
    """Send what is due, up to 50 followers a call; returns how many calls. Outside of a transaction.

    Rows are claimed by moving their due moment (a lease), so several workers share the work; a call may run twice.
    Who cannot have the tag does not keep the others from it, and says why.
    """
    calls = 0
    while calls < limit and (call := _claim()) is not None:
        if call.marks:
            calls += 1
            try:
                _send(call.link, call.wanted, call.marks)
            except Exception:  # one call must not stand before the others; the lease brings it back
                log.exception("followers not tagged", tag=call.link.tag_id)
    return calls


@transaction.atomic
def _claim() -> _Call | None:
    """The mark that is due first and up to 49 that want the same; no marks when they are not to be sent any more."""
    due = OfficialTagMark.objects.filter(due_at__lte=clock.now()).select_for_update(
        skip_locked=True, of=("self",)
    )
    first = due.select_related("identity").order_by("due_at").first()
    if first is None:
        return None
    same = due.filter(
        tag=first.tag_id, wanted=first.wanted, identity__account=first.identity.account_id
    ).select_related("identity")
    # By due_at, as the indexes are: a million of the same moment are not sorted for fifty.
    marks = list(same.order_by("due_at")[:A_CALL])
    rows = OfficialTagMark.objects.filter(pk__in=[mark.pk for mark in marks])
    link = OfficialTag.objects.filter(
        account=first.identity.account_id, tag=first.tag_id, official_id__isnull=False, is_wanted=True
    ).first()
    if link is None:  # shared no more, or not yet: nothing can be sent, and nothing is booked as sent
        rows.delete()
        return _Call(OfficialTag(), first.wanted, [])
    # Who has left is asked for nothing; when she comes back, she begins anew.
    rows.filter(identity__is_following=False).delete()
    marks = [mark for mark in marks if mark.identity.is_following]
    rows.update(due_at=clock.now() + LEASE, attempts=F("attempts") + 1)
    return _Call(link, first.wanted, marks)


def _send(link: OfficialTag, wanted: bool, marks: list[OfficialTagMark]) -> None:
    if wanted:
        marks = _with_room(marks)
    if not marks:
        return
    try:
        wechat.mark_official_tag(
            account_id=link.account_id,
            tag_id=int(link.official_id or 0),
            openids=[mark.identity.value for mark in marks],
            remove=not wanted,
        )
    except PlatformError as error:
        is_hers = isinstance(error, PersonUnreachable) or error.code in HER_OWN
        if is_hers and len(marks) > 1:
            half = len(marks) // 2
            _send(link, wanted, marks[:half])
            _send(link, wanted, marks[half:])
            return
        log.warning("followers not tagged", tag=link.tag_id, account=link.account_id, code=error.code)
        _put_off(marks, f"{error} ({error.code})", for_good=is_hers)
        return
    _book(marks, wanted)


def _with_room(marks: list[OfficialTagMark]) -> list[OfficialTagMark]:
    """Without those who carry 20 tags of the account already; these say so."""
    theirs = OfficialTagMark.objects.filter(known=True, identity__in=[mark.identity_id for mark in marks])
    counted = theirs.exclude(tag=marks[0].tag_id).values("identity").annotate(n=Count("pk"))
    full = set(counted.filter(n__gte=MOST_ON_A_FOLLOWER).values_list("identity", flat=True))
    words = _("She carries %(most)d tags of this account already; WeChat allows no more.")
    refused = [mark for mark in marks if mark.identity_id in full]
    _put_off(refused, words % {"most": MOST_ON_A_FOLLOWER}, for_good=True)
    return [mark for mark in marks if mark.identity_id not in full]


def _put_off(marks: list[OfficialTagMark], words: str, *, for_good: bool) -> None:
    for mark in marks:
        attempts = mark.attempts + 1
        again = None if for_good or attempts >= MOST_ATTEMPTS else clock.now() + backoff(attempts)
        OfficialTagMark.objects.filter(pk=mark.pk, changed_at=mark.changed_at).update(
            due_at=again, error=words[:300]
        )


BOOK = """
UPDATE crm_officialtagmark mark SET known = %s, seen_at = %s, error = '',
    due_at = CASE WHEN mark.changed_at = sent.changed_at THEN NULL ELSE %s END
FROM unnest(%s::bigint[], %s::timestamptz[]) AS sent(id, changed_at) WHERE mark.id = sent.id
"""


def _book(marks: list[OfficialTagMark], wanted: bool) -> None:
    """Wished otherwise meanwhile: then it is due still."""
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            BOOK,
            [wanted, moment, moment, [mark.pk for mark in marks], [mark.changed_at for mark in marks]],
        )


def retry_official_tags(*, account_id: int | None = None) -> int:
    """Send again what was given up; returns how many tags are due then."""
    given_up = OfficialTagMark.objects.filter(~Q(error=""), due_at__isnull=True)
    if account_id is not None:
        given_up = given_up.filter(identity__account=account_id)
    count = given_up.update(due_at=clock.now(), attempts=0)
    if count:
        wake("crm.tasks.push_official_tags")
    return count


# --- Theirs come in -----------------------------------------------------------------------------------------------


def read_carriers(link: OfficialTag, brought: Brought, progress: jobs.Progress) -> None:
    """Who carries it there, against what we want and know. A list that is shorter than the platform's own count takes
    the tag from nobody. Idempotent.
    """
    tag_id, began_at, after, owner = int(link.official_id or 0), clock.now(), "", f"tag:{link.official_id}"
    named = SyncSeen.objects.filter(run=brought.run_id, owner=owner)
    named.delete()  # of a worker that died
    brought.expected += int(link.count or 0)
    try:
        while True:
            page = wechat.tagged_page(account_id=link.account_id, tag_id=tag_id, after=after)
            note_seen(brought.run_id, [(openid, owner) for openid in page.openids])
            after = page.after
            progress.report(done=brought.fetched, total=brought.expected)
            if not after:
                break
    except PlatformError as error:
        brought.fails(link.name, error)
        brought.failed += max(int(link.count or 0) - 1, 0)
        return
    know_seen()
    count = named.count()
    brought.fetched += count
    is_whole = count >= int(link.count or 0)
    brought.expected += max(count - int(link.count or 0), 0)  # more since it was counted
    if not is_whole:
        words = _(
            "The account counts %(total)d followers with it and named %(named)d. It was taken from nobody."
        )
        brought.fails(link.name, words % {"total": int(link.count or 0), "named": count})
        brought.failed += int(link.count or 0) - count - 1
    for openids in _pages(named.order_by("value").values_list("value", flat=True)):
        follow_missed(link.account_id, openids, began_at)
        theirs = Identity.objects.filter(
            kind=Identity.OPENID, account=link.account_id, value__in=openids, is_following=True
        )
        _meet(link, brought, dict(theirs.values_list("pk", "member")), True, began_at)
    if is_whole:
        _meet_the_others(link, brought, owner, began_at)
    named.delete()


def _pages(values: QuerySet[SyncSeen, str]) -> Iterator[list[str]]:
    after = ""
    while page := list(values.filter(value__gt=after)[:A_PAGE]):
        yield page
        after = page[-1]


def _meet_the_others(link: OfficialTag, brought: Brought, owner: str, began_at: datetime) -> None:
    """Followers whom we think to carry it, or who carry it here, and whom the account did not name."""
    marks = OfficialTagMark.objects.filter(identity=OuterRef("pk"), tag=link.tag_id)
    carried = MemberTag.objects.filter(member=OuterRef("member"), tag=link.tag_id)
    seen = SyncSeen.objects.filter(run=brought.run_id, owner=owner, value=OuterRef("value"))
    others = Identity.objects.filter(
        Exists(marks) | Exists(carried), kind=Identity.OPENID, account=link.account_id, is_following=True
    ).filter(~Exists(seen))
    after = 0
    while page := list(others.filter(pk__gt=after).order_by("pk").values_list("pk", "member")[:A_PAGE]):
        _meet(link, brought, dict(page), False, began_at)
        after = page[-1][0]


def _meet(
    link: OfficialTag, brought: Brought, people: dict[int, int], theirs: bool, began_at: datetime
) -> None:
    """Some followers (identity → member) of whom a reading says the same."""
    if not theirs:
        try:
            spared = _not_really(link, people, began_at)
        except PlatformError as error:
            brought.fails(link.name, error)
            return
        for identity_id in spared:
            people.pop(identity_id, None)
    if people:
        _agree(link, people, theirs, began_at)


def _not_really(link: OfficialTag, people: dict[int, int], began_at: datetime) -> set[int]:
    """Before a tag is taken from a member, she is asked for herself: one who has left, perhaps to come back, lost all
    tags there, and that says nothing of what she likes.
    """
    marks = _marks(link, people)
    doubtful = [
        identity_id
        for identity_id, mark in marks.items()
        if (verdict := judge(_known(mark), theirs=False, here=True, began_at=began_at)) and verdict.follows
    ]
    if not doubtful:
        return set()
    openids = dict(Identity.objects.filter(pk__in=doubtful).values_list("value", "pk"))
    spared: set[int] = set(doubtful)
    for one in wechat.followers(account_id=link.account_id, openids=sorted(openids)):
        identity_id = openids[one.openid]
        agreed_at = marks[identity_id].seen_at
        if not one.is_following:
            note_unfollow(identity_id=identity_id, at=began_at)
        elif one.subscribed_at and agreed_at and one.subscribed_at > agreed_at:
            begin_anew(identity_id=identity_id, member_id=people[identity_id])
        elif link.official_id not in one.tag_ids:
            spared.discard(identity_id)
    return spared


def _marks(link: OfficialTag, people: dict[int, int]) -> dict[int, OfficialTagMark]:
    rows = OfficialTagMark.objects.filter(tag=link.tag_id, identity__in=list(people))
    return {mark.identity_id: mark for mark in rows}


def _known(mark: OfficialTagMark | None) -> Known | None:
    return Known(mark.wanted, mark.known, mark.changed_at, mark.seen_at) if mark else None


@transaction.atomic
def _agree(link: OfficialTag, people: dict[int, int], theirs: bool, began_at: datetime) -> None:
    """Judge each, change our tags, and write the marks. A mark that somebody changed meanwhile stays as he wants it."""
    here = locked_tags(sorted(set(people.values())), [link.tag_id])
    marks, read_at = _marks(link, people), clock.now()
    verdicts: dict[int, Verdict] = {}
    changed: dict[int, int] = {}
    for identity_id, member_id in sorted(people.items()):
        mark, is_here = marks.get(identity_id), (member_id, link.tag_id) in here
        verdict = judge(_known(mark), theirs=theirs, here=is_here, began_at=began_at)
        if verdict is None or (mark is not None and _says_so(mark, verdict)):
            continue
        verdicts[identity_id] = verdict
        if mark is not None and verdict.conflict:
            _keep_conflict(mark, theirs, verdict.conflict)
        if verdict.follows and theirs != is_here:
            changed[identity_id] = member_id
    origin = f"official:{link.account_id}"
    if changed and theirs:
        add_tags(member_ids=sorted(set(changed.values())), tag_ids=[link.tag_id], origin=origin)
    elif changed:
        remove_tags(member_ids=sorted(set(changed.values())), tag_ids=[link.tag_id], origin=origin)
    _settle(link, verdicts, set(changed), read_at)


def _says_so(mark: OfficialTagMark, verdict: Verdict) -> bool:
    """Agreed before, and nothing is due: of a million marks most are not written again."""
    return (
        not mark.error
        and mark.due_at is None
        and (mark.wanted, mark.known) == (verdict.wanted, verdict.known)
    )


def _keep_conflict(mark: OfficialTagMark, theirs: bool, winner: str) -> None:
    """Both sides changed it since they last agreed; when they did, the platform does not tell."""
    WorkTagConflict.objects.create(
        identity_id=mark.identity_id,
        tag_id=mark.tag_id,
        ours=mark.wanted,
        ours_at=mark.changed_at,
        theirs=theirs,
        winner=winner,
        at=clock.now(),
    )


SETTLE = """
INSERT INTO crm_officialtagmark AS mark
    (identity_id, tag_id, wanted, known, changed_at, seen_at, due_at, attempts, error)
SELECT identity_id, %s, wanted, known, at, CASE WHEN wanted = known THEN at END,
    CASE WHEN wanted <> known THEN %s::timestamptz END, 0, ''
FROM unnest(%s::bigint[], %s::boolean[], %s::boolean[], %s::timestamptz[]) AS given(identity_id, wanted, known, at)
ORDER BY 1
ON CONFLICT (identity_id, tag_id) DO UPDATE SET wanted = excluded.wanted, known = excluded.known,
    changed_at = excluded.changed_at, seen_at = COALESCE(excluded.seen_at, mark.seen_at),
    due_at = excluded.due_at, attempts = 0, error = ''
WHERE mark.changed_at <= %s OR mark.identity_id = ANY(%s)
"""


def _settle(link: OfficialTag, verdicts: dict[int, Verdict], changed: set[int], read_at: datetime) -> None:
    if not verdicts:
        return
    ids, said = list(verdicts), list(verdicts.values())
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            SETTLE,
            [
                *(link.tag_id, moment, ids),
                *([one.wanted for one in said], [one.known for one in said], [one.at for one in said]),
                *(read_at, list(changed)),
            ],
        )
    if any(one.is_due for one in said):
        wake("crm.tasks.push_official_tags")
