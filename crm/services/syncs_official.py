"""Reading an official account's tags and who carries them: then each shared tag is one on both sides (A11).

The platform tells of no change, so the account is read a few times a day, and when somebody asks.
"""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils.translation import gettext as _

from core import clock, jobs
from core.locks import advisory_lock
from core.models import Job
from crm.errors import WrongTagLink
from crm.models import MemberTag, OfficialTag, OfficialTagMark, SyncRun, Tag, TagGroup
from crm.services.syncs import AT_ONCE, Brought, queue_sync, run_sync, want_sync
from crm.services.syncs_official_marks import read_carriers
from crm.services.syncs_wishes import wish_tags
from wechat import queries as wechat_queries
from wechat import services as wechat
from wechat.errors import PlatformError

OFFICIAL_TAGS_JOB = "crm.sync_oa_tags"
MOST_TAGS = 100
LONGEST_NAME = 30  # bytes
READ_EVERY = timedelta(hours=6)
KINDS = ("service", "subscription")


def start_official_tags(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=OFFICIAL_TAGS_JOB, account_id=account_id, created_by_id=by_id)


def sync_official_tags(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.OFFICIAL_TAGS, fetch=_tags)


# --- What is shared -----------------------------------------------------------------------------------------------


def check_official_tag(*, account_id: int, tag_id: int) -> None:
    """Raises WrongTagLink for what the platform would refuse."""
    tag = Tag.objects.get(pk=tag_id)
    if wechat_queries.account(account_id).kind not in KINDS:
        raise WrongTagLink(_("Choose an official account."))
    if len(tag.name.encode()) > LONGEST_NAME:
        raise WrongTagLink(
            _("“%(name)s” is too long for WeChat: a tag has up to 10 Chinese characters or 30 letters.")
            % {"name": tag.name}
        )
    links = OfficialTag.objects.filter(account=account_id)
    if links.exclude(tag=tag).filter(is_wanted=True).count() >= MOST_TAGS:
        raise WrongTagLink(_("An official account has at most %(most)d tags.") % {"most": MOST_TAGS})
    if links.exclude(tag=tag).filter(tag__name=tag.name, is_wanted=True).exists():
        raise WrongTagLink(_("The account has a tag “%(name)s” of another group.") % {"name": tag.name})


@transaction.atomic
def share_official_tag(*, account_id: int, tag_id: int) -> OfficialTag:
    """Keep a tag the same in an official account; it is made there by the next reading, which is due at once.

    Raises WrongTagLink. Locks: advisory on the account's tags. Idempotent on: (account, tag).
    """
    advisory_lock("official tags", account_id)
    check_official_tag(account_id=account_id, tag_id=tag_id)
    link, _made = OfficialTag.objects.get_or_create(account_id=account_id, tag_id=tag_id)
    OfficialTag.objects.filter(pk=link.pk).update(is_wanted=True, error="")
    want_sync(kind=SyncRun.OFFICIAL_TAGS, account_id=account_id)
    return link


@transaction.atomic
def unshare_official_tag(*, link_id: int) -> None:
    """The next reading deletes it there; members keep it here. Idempotent."""
    link = OfficialTag.objects.filter(pk=link_id).first()
    if link is None:
        return
    if link.official_id is None:
        link.delete()
        return
    OfficialTag.objects.filter(pk=link.pk).update(is_wanted=False, error="")
    want_sync(kind=SyncRun.OFFICIAL_TAGS, account_id=link.account_id)


def want_official_readings() -> int:
    """Accounts with shared tags that nobody has read for some hours are due; returns how many."""
    latest = SyncRun.objects.filter(kind=SyncRun.OFFICIAL_TAGS).values("account")
    read_at = dict(latest.annotate(at=Max("started_at")).values_list("account", "at"))
    shared = OfficialTag.objects.order_by("account").values_list("account", flat=True).distinct()
    due = [one for one in shared if one not in read_at or read_at[one] < clock.now() - READ_EVERY]
    for account_id in due:
        want_sync(kind=SyncRun.OFFICIAL_TAGS, account_id=account_id)
    return len(due)


# --- The reading --------------------------------------------------------------------------------------------------


def _tags(progress: jobs.Progress, brought: Brought) -> None:
    """Theirs become ours, ours become theirs, and so do their carriers. Idempotent.

    Expected: the tags, and as many carriers as the platform counts.
    """
    account_id = int(progress.params["account_id"])
    theirs = wechat.official_tags(account_id=account_id)
    links = OfficialTag.objects.filter(account=account_id)
    if not theirs and (known := links.filter(official_id__isnull=False).count()):
        brought.expected = known  # an account does not lose all its tags at once: the answer is wrong
        brought.fails("tags/get", _("The account named no tags at all, though we share some with it."))
        return
    brought.expected = len(theirs)
    for one in theirs:
        _share(account_id, one)
        brought.fetched += 1
    _forget(account_id, {one.tag_id for one in theirs})
    _delete_unwanted(account_id, brought)
    _rename_theirs(account_id, {one.tag_id: one.name for one in theirs}, brought)
    _make_ours(account_id, brought)
    _align(account_id)
    for link in links.filter(official_id__isnull=False, is_wanted=True).order_by("pk"):
        read_carriers(link, brought, progress)
    progress.report(done=brought.fetched, total=brought.expected)


@transaction.atomic
def _share(account_id: int, theirs: wechat.OfficialTagRow) -> None:
    """One of theirs: the tag of ours that it is already, that waits to be it, that is called so, or a new one."""
    links = OfficialTag.objects.select_related("tag").filter(account=account_id)
    known = links.filter(official_id=theirs.tag_id).first()
    if known is not None:
        # Renamed by both sides: nobody knows who was later, and ours stands.
        if theirs.name != known.name and known.tag.name == known.name:
            _call(known.tag, theirs.name)
            OfficialTag.objects.filter(pk=known.pk).update(name=theirs.name[:30])
        OfficialTag.objects.filter(pk=known.pk).update(count=theirs.count)
        return
    values = {"official_id": theirs.tag_id, "name": theirs.name[:30], "count": theirs.count}
    waiting = links.filter(official_id__isnull=True, tag__name=theirs.name).first()
    if waiting is not None:
        OfficialTag.objects.filter(pk=waiting.pk).update(**values, aligned_at=None, error="")
        return
    group, _made = TagGroup.objects.get_or_create(name=wechat_queries.account(account_id).name[:30])
    tag, _made = Tag.objects.get_or_create(group=group, name=theirs.name[:30])
    _drop_marks(account_id, [tag.pk])
    OfficialTag.objects.update_or_create(
        account_id=account_id,
        tag=tag,
        defaults={**values, "aligned_at": None, "error": "", "is_wanted": True},
    )


def _call(tag: Tag, name: str) -> None:
    """Ours follows theirs, unless its group has one of that name: then theirs gets its old name back."""
    try:
        with transaction.atomic():
            Tag.objects.filter(pk=tag.pk).update(name=name[:30])
    except IntegrityError:
        pass


@transaction.atomic
def _forget(account_id: int, named: set[int]) -> None:
    """Deleted there: our tag stays with who carries it, for itself."""
    gone = OfficialTag.objects.filter(account=account_id, official_id__isnull=False).exclude(
        official_id__in=named
    )
    tag_ids = list(gone.values_list("tag", flat=True))
    gone.delete()
    _drop_marks(account_id, tag_ids)


def _drop_marks(account_id: int, tag_ids: list[int]) -> None:
    marks = OfficialTagMark.objects.filter(identity__account=account_id, tag__in=tag_ids)
    rows = marks.select_for_update(of=("self",)).order_by("identity", "tag").values_list("pk", flat=True)
    while ids := list(rows[:AT_ONCE]):
        OfficialTagMark.objects.filter(pk__in=ids).delete()


def _delete_unwanted(account_id: int, brought: Brought) -> None:
    """What is shared no more is deleted there first."""
    for link in OfficialTag.objects.filter(account=account_id, is_wanted=False).select_related("tag"):
        try:
            if link.official_id is not None:
                wechat.delete_official_tag(account_id=account_id, tag_id=link.official_id)
        except PlatformError as error:
            _fails(link, brought, error)
            continue
        with transaction.atomic():
            OfficialTag.objects.filter(pk=link.pk).delete()
            _drop_marks(account_id, [link.tag_id])


def _rename_theirs(account_id: int, names: dict[int, str], brought: Brought) -> None:
    """Tags that we call otherwise now."""
    links = OfficialTag.objects.filter(account=account_id, official_id__in=names, is_wanted=True)
    for link in links.select_related("tag"):
        if link.tag.name == names[int(link.official_id or 0)]:
            continue
        try:
            wechat.rename_official_tag(
                account_id=account_id, tag_id=int(link.official_id or 0), name=link.tag.name
            )
        except PlatformError as error:
            _fails(link, brought, error)
        else:
            OfficialTag.objects.filter(pk=link.pk).update(name=link.tag.name, error="")


def _make_ours(account_id: int, brought: Brought) -> None:
    """Shared tags of ours that the account has not."""
    waiting = OfficialTag.objects.filter(account=account_id, official_id__isnull=True, is_wanted=True)
    for link in waiting.select_related("tag").order_by("pk"):
        brought.expected += 1
        try:
            made = wechat.make_official_tag(account_id=account_id, name=link.tag.name)
        except PlatformError as error:
            _fails(link, brought, error)
            continue
        OfficialTag.objects.filter(pk=link.pk).update(
            official_id=made, name=link.tag.name, count=0, aligned_at=None, error=""
        )
        brought.fetched += 1


def _fails(link: OfficialTag, brought: Brought, error: PlatformError) -> None:
    brought.fails(link.tag.name, error)
    OfficialTag.objects.filter(pk=link.pk).update(error=f"{error} ({error.code})"[:300])


def _align(account_id: int) -> None:
    """Who carries a newly shared tag already shall carry it there; some thousand members at a time."""
    links = OfficialTag.objects.filter(account=account_id, is_wanted=True, aligned_at__isnull=True)
    for link in links.exclude(Q(official_id__isnull=True)).order_by("pk"):
        carried, after = MemberTag.objects.filter(tag=link.tag_id).order_by("member"), 0
        while ids := list(carried.filter(member__gt=after).values_list("member_id", flat=True)[:AT_ONCE]):
            wish_tags(pairs=[(one, link.tag_id) for one in ids], wanted=True)
            after = ids[-1]
        OfficialTag.objects.filter(pk=link.pk).update(aligned_at=clock.now())
