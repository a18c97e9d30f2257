"""Reading a corp's tags, and making there those of ours that are shared: then each shared tag is one on both sides."""

from django.db import transaction
from django.utils.translation import gettext as _

from core import jobs
from core.models import Job
from crm.models import MemberTag, SyncRun, Tag, TagGroup, WorkTag, WorkTagMark
from crm.services.syncs import Brought, queue_sync, run_sync
from crm.services.syncs_wishes import wish_work_tags
from wechat import services as wechat
from wechat.errors import PlatformError

TAGS_JOB = "crm.sync_tags"
AT_ONCE = 5_000


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
        for work_id, name in group.tags:
            _share(account_id, group.name, work_id, name)
            brought.fetched += 1
    _forget(account_id, named)
    _make_ours(account_id, brought)
    progress.report(done=brought.fetched, total=brought.expected)


@transaction.atomic
def _share(account_id: int, group_name: str, work_id: str, name: str) -> None:
    """One of theirs: the tag of ours that it is already (renamed with it), that is called so, or a new one."""
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
    WorkTag.objects.update_or_create(account_id=account_id, work_id=work_id, defaults={"tag": tag})
    _wish_for_all(tag.pk)


def _wish_for_all(tag_id: int) -> None:
    """Who carries it already shall carry it there."""
    ids = list(MemberTag.objects.filter(tag=tag_id).order_by("member").values_list("member_id", flat=True))
    for start in range(0, len(ids), AT_ONCE):
        wish_work_tags(pairs=[(one, tag_id) for one in ids[start : start + AT_ONCE]], wanted=True)


@transaction.atomic
def _forget(account_id: int, named: set[str]) -> None:
    """Deleted in WeCom: our tag stays with who carries it, for itself."""
    gone = list(
        WorkTag.objects.filter(account=account_id).exclude(work_id__in=named).values_list("pk", "tag_id")
    )
    tag_ids = [tag_id for _pk, tag_id in gone]
    WorkTag.objects.filter(pk__in=[pk for pk, _tag in gone]).delete()
    WorkTagMark.objects.filter(contact__identity__account=account_id, tag__in=tag_ids).delete()
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
                WorkTag.objects.update_or_create(
                    account_id=account_id, work_id=work_id, defaults={"tag_id": tags[name]}
                )
                brought.fetched += 1
                _wish_for_all(tags[name])
