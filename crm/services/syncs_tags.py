"""Reading a corp's tags, and making there those of ours that are shared: then each shared tag is one on both sides."""

from django.db import connection, transaction
from django.utils.translation import gettext as _

from core import clock, jobs
from core.models import Job
from crm.models import MemberTag, SyncRun, Tag, TagGroup, WorkTag
from crm.services.syncs import AT_ONCE, Brought, queue_sync, run_sync
from crm.services.syncs_names import agree_on_names, keep_names
from crm.services.syncs_wishes import wish_tags
from wechat import services as wechat
from wechat.errors import PlatformError

TAGS_JOB = "crm.sync_tags"


def start_tags(account_id: int, by_id: int | None) -> Job:
    return queue_sync(job_kind=TAGS_JOB, account_id=account_id, created_by_id=by_id)


def sync_tags(progress: jobs.Progress) -> dict[str, object]:
    return run_sync(progress, kind=SyncRun.TAGS, fetch=_tags)


def _tags(progress: jobs.Progress, brought: Brought) -> None:
    """Theirs become ours, ours become theirs, and what they deleted is shared no more. Idempotent."""
    account_id = int(progress.params["account_id"])
    groups = wechat.work_tag_groups(account_id=account_id)
    named = {work_id for group in groups for work_id, _name in group.tags}
    if not named and (known := WorkTag.objects.filter(account=account_id).count()):
        brought.expected = known  # a corp does not lose all its tags at once: the answer is wrong
        brought.fails("get_corp_tag_list", _("WeCom named no tags at all, though we share some with it."))
        return
    brought.expected = len(named)
    for group in groups:
        called = agree_on_names(account_id, group, brought)
        for work_id, name in called.tags.items():
            _share(account_id, called.group.text, work_id, name.text)
            keep_names(
                account_id=account_id, work_id=work_id, group_id=group.id, group=called.group, tag=name
            )
            brought.fetched += 1
    _forget(account_id, named)
    _make_ours(account_id, brought)
    _align(account_id)
    progress.report(done=brought.fetched, total=brought.expected)


@transaction.atomic
def _share(account_id: int, group_name: str, work_id: str, name: str) -> None:
    """One of theirs: the tag of ours that it is already (renamed with it), that is called so, or a new one.

    A tag made anew there, or named as another of ours now, begins anew: nobody carries it there yet, and what we knew
    of the old one says nothing. Who carries it here keeps it, and is given it there.
    """
    known = WorkTag.objects.select_related("tag__group").filter(account=account_id, work_id=work_id).first()
    if known is not None and (known.tag.name, known.tag.group.name) == (name[:30], group_name[:30]):
        return
    group, _made = TagGroup.objects.get_or_create(name=group_name[:30])
    twin = Tag.objects.filter(group=group, name=name[:30]).first()
    if known is not None and twin is None:
        Tag.objects.filter(pk=known.tag_id).update(name=name[:30], group=group)
        return
    tag = twin or Tag.objects.create(group=group, name=name[:30], is_shared=True)
    Tag.objects.filter(pk=tag.pk, is_shared=False).update(is_shared=True)
    WorkTag.objects.filter(account=account_id, tag=tag).exclude(work_id=work_id).delete()
    _drop_marks(account_id, [tag.pk] if known is None else [tag.pk, known.tag_id])
    WorkTag.objects.update_or_create(
        account_id=account_id, work_id=work_id, defaults={"tag": tag, "aligned_at": None}
    )


def _drop_marks(account_id: int, tag_ids: list[int]) -> None:
    """Forget what we wanted and knew of these tags in this corp; the tags of members stay. Locks: marks, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM crm_worktagmark WHERE id IN (
                SELECT mark.id FROM crm_worktagmark mark
                JOIN crm_contact contact ON contact.id = mark.contact_id
                JOIN crm_identity address ON address.id = contact.identity_id AND address.account_id = %s
                WHERE mark.tag_id = ANY(%s) ORDER BY mark.contact_id, mark.tag_id FOR UPDATE OF mark)
            """,
            [account_id, tag_ids],
        )


def _align(account_id: int) -> None:
    """Who carries a newly shared tag already shall carry it there; some thousand members at a time."""
    for link in WorkTag.objects.filter(account=account_id, aligned_at__isnull=True).order_by("pk"):
        carried, after = MemberTag.objects.filter(tag=link.tag_id).order_by("member"), 0
        while ids := list(carried.filter(member__gt=after).values_list("member_id", flat=True)[:AT_ONCE]):
            wish_tags(pairs=[(one, link.tag_id) for one in ids], wanted=True)
            after = ids[-1]
        WorkTag.objects.filter(pk=link.pk, work_id=link.work_id).update(aligned_at=clock.now())


@transaction.atomic
def _forget(account_id: int, named: set[str]) -> None:
    """Deleted in WeCom: our tag stays with who carries it, for itself."""
    gone = list(
        WorkTag.objects.filter(account=account_id).exclude(work_id__in=named).values_list("pk", "tag_id")
    )
    tag_ids = [tag_id for _pk, tag_id in gone]
    WorkTag.objects.filter(pk__in=[pk for pk, _tag in gone]).delete()
    _drop_marks(account_id, tag_ids)
    Tag.objects.filter(pk__in=tag_ids).exclude(work_tags__isnull=False).update(is_shared=False)


def _make_ours(account_id: int, brought: Brought) -> None:
    """Shared tags of ours that the corp has not: one call for a group."""
    there = WorkTag.objects.filter(account=account_id).values("tag")
    missing: dict[str, dict[str, int]] = {}
    for tag in Tag.objects.filter(is_shared=True).exclude(pk__in=there).select_related("group"):
        missing.setdefault(tag.group.name, {})[tag.name] = tag.pk
    for group_name, tags in missing.items():
        brought.expected += len(tags)
        try:
            made = wechat.add_work_tags(account_id=account_id, group_name=group_name, names=list(tags))
        except PlatformError as error:
            for name in tags:
                brought.fails(f"{group_name} · {name}", error)
            continue
        for name, work_id in made.items():
            if name in tags:
                _made_there(account_id, tags[name], work_id, name=name, group_name=group_name)
                brought.fetched += 1


@transaction.atomic
def _made_there(account_id: int, tag_id: int, work_id: str, **names: str) -> None:
    _drop_marks(account_id, [tag_id])
    WorkTag.objects.update_or_create(
        account_id=account_id, work_id=work_id, defaults={"tag_id": tag_id, "aligned_at": None, **names}
    )
