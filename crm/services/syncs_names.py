"""How a tag and its group are called in WeCom and here: the later name stands on both sides; renamings are kept.

WeCom tells by a notice when somebody has renamed there; of a renaming whose notice was lost nobody knows the moment,
and ours stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, Q, Value
from django.db.models.functions import Greatest

from core import clock
from crm.models import OfficialTag, SyncRun, Tag, TagGroup, WorkTag, WorkTagRename
from crm.services.syncs import Brought, want_sync
from crm.syncs import OURS, Names, later_name
from wechat import services as wechat
from wechat.errors import PlatformError


@transaction.atomic
def note_tags_renamed(*, tag_ids: Sequence[int] = (), group_ids: Sequence[int] = ()) -> None:
    """Somebody renamed these here: the platforms that share them are read and told soon."""
    moment = clock.now()
    Tag.objects.filter(pk__in=tag_ids).update(renamed_at=moment)
    TagGroup.objects.filter(pk__in=group_ids).update(renamed_at=moment)
    told = Q(tag__in=tag_ids) | Q(tag__group__in=group_ids)
    for kind, links in ((SyncRun.TAGS, WorkTag), (SyncRun.OFFICIAL_TAGS, OfficialTag)):
        rows = links._default_manager.filter(told).order_by("account")
        for account_id in rows.values_list("account", flat=True).distinct():
            want_sync(kind=kind, account_id=account_id)


@transaction.atomic
def note_work_tag_edited(*, account_id: int, work_id: str, at: datetime) -> None:
    """Somebody changed a tag, or a group of them, in WeCom at `at`; what it is called there the next reading tells."""
    links = WorkTag.objects.filter(account=account_id)
    moment = Value(at, output_field=DateTimeField())
    links.filter(work_id=work_id).update(edited_at=Greatest("edited_at", moment))
    links.filter(group_id=work_id).exclude(group_id="").update(
        group_edited_at=Greatest("group_edited_at", moment)
    )


@dataclass(frozen=True)
class Name:
    """What it is called here from now on, and whether WeCom calls it so too."""

    text: str
    is_agreed: bool


@dataclass(frozen=True)
class Called:
    """A group of WeCom, and each of its tags by id."""

    group: Name
    tags: dict[str, Name]


def agree_on_names(account_id: int, theirs: wechat.WorkTagGroup, brought: Brought) -> Called:
    """Tell WeCom the names that were changed here last, and take over those that were changed there last.

    What WeCom refuses keeps its name on either side, is a failure of this reading, and is tried again by the next.
    Outside of a transaction.
    """
    links = WorkTag.objects.filter(
        account=account_id, work_id__in=[work_id for work_id, _name in theirs.tags]
    )
    known = {link.work_id: link for link in links.select_related("tag__group")}
    group = _group_name(account_id, theirs, list(known.values()), brought)
    return Called(
        group,
        {work_id: _tag_name(account_id, known.get(work_id), name, brought) for work_id, name in theirs.tags},
    )


@transaction.atomic
def keep_names(*, account_id: int, work_id: str, group_id: str, group: Name, tag: Name) -> None:
    """Remember what both sides call it now; of what WeCom refused, the old name stays what both had called it."""
    kept = {"group_id": group_id}
    if group.is_agreed:
        kept["group_name"] = group.text
    if tag.is_agreed:
        kept["name"] = tag.text
    WorkTag.objects.filter(account=account_id, work_id=work_id).update(**kept)


def _group_name(account_id: int, theirs: wechat.WorkTagGroup, links: list[WorkTag], brought: Brought) -> Name:
    """A tag that was moved to another group here goes back: WeCom moves none."""
    ours = {link.tag.group_id: link.tag.group for link in links}
    named = next((link.group_name for link in links if link.group_name), "")
    if len(ours) != 1 or not theirs.id:
        return Name(theirs.name[:30], is_agreed=True)
    (group,) = ours.values()
    names = Names(
        was=named,
        ours=group.name,
        theirs=theirs.name[:30],
        ours_at=group.renamed_at,
        theirs_at=max((link.group_edited_at for link in links if link.group_edited_at), default=None),
    )
    return _settle(account_id, theirs.id, names, brought, is_group=True)


def _tag_name(account_id: int, link: WorkTag | None, name: str, brought: Brought) -> Name:
    if link is None:
        return Name(name[:30], is_agreed=True)
    names = Names(link.name, link.tag.name, name[:30], link.tag.renamed_at, link.edited_at)
    return _settle(account_id, link.work_id, names, brought, is_group=False)


def _settle(account_id: int, work_id: str, names: Names, brought: Brought, *, is_group: bool) -> Name:
    winner = later_name(names)
    if not winner:
        return Name(names.theirs, is_agreed=True)
    error = ""
    if winner == OURS:
        try:
            wechat.rename_work_tag(account_id=account_id, work_id=work_id, name=names.ours)
        except PlatformError as refused:
            brought.fails(names.ours, refused)
            error = f"{refused} ({refused.code})"[:300]
    told: dict[str, Any] = {
        "account_id": account_id,
        "is_group": is_group,
        "was": names.was,
        "ours": names.ours,
        "theirs": names.theirs,
        "winner": winner,
        "error": error,
    }
    if not (error and WorkTagRename.objects.filter(**told).exists()):  # one refusal is told once
        WorkTagRename.objects.create(**told, at=clock.now())
    return Name(names.ours if winner == OURS else names.theirs, is_agreed=not error)
