"""Segments as files: rules with the names of what they mention, so that another shop can read them.

Ids of tags, channel codes and accounts are a house's own. A file carries each id's name; reading looks the names up
and refuses a file that names what is not there.
"""

import json
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.utils.translation import gettext as _

from core.errors import Refusal
from crm import segments
from crm.errors import WrongSegmentFile
from crm.models import ChannelCode, Segment, Tag

FORMAT, VERSION = "pond.segment", 1
LARGEST = 256 * 1024
MENTIONS = {"tags": "tags", "source": "codes", "following": "accounts", "segment": "segments"}
"""Field → the list of the file in which its ids have their names."""


@dataclass(frozen=True)
class SegmentFile:
    name: str
    note: str
    rules: dict[str, Any]


def segment_file(segment: Segment) -> dict[str, Any]:
    """A segment as JSON: format, version, name, note, rules, and names {"tags": {"12": ["group", "name"]},
    "codes": {"3": "scene"}, "accounts": {"1": "service:key"}, "segments": {"9": "name"}}.
    """
    wanted: dict[str, set[int]] = {kind: set() for kind in MENTIONS.values()}
    for leaf in segments.conditions(segment.rules):
        if leaf["field"] in MENTIONS:
            wanted[MENTIONS[leaf["field"]]].update(_ids(leaf["value"]))
    account = apps.get_model("wechat", "Account")
    tags = Tag.objects.filter(pk__in=wanted["tags"]).values_list("pk", "group__name", "name")
    codes = ChannelCode.objects.filter(pk__in=wanted["codes"]).values_list("pk", "scene")
    accounts = account.objects.filter(pk__in=wanted["accounts"]).values_list("pk", "kind", "key")
    others = Segment.objects.filter(pk__in=wanted["segments"]).values_list("pk", "name")
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": segment.name,
        "note": segment.note,
        "rules": segment.rules,
        "names": {
            "tags": {str(pk): [group, name] for pk, group, name in tags},
            "codes": {str(pk): scene for pk, scene in codes},
            "accounts": {str(pk): f"{kind}:{key}" for pk, kind, key in accounts},
            "segments": {str(pk): name for pk, name in others},
        },
    }


def read_segment_file(data: bytes) -> SegmentFile:
    """A file's segment with the ids of this house. Raises WrongSegmentFile with words that say what is wrong."""
    content = _parsed(data)
    if content.get("format") != FORMAT:
        raise WrongSegmentFile(_("This file is not a segment that Pond exported."))
    if content.get("version") != VERSION:
        raise WrongSegmentFile(_("This file was written by another version of Pond."))
    name, note, names = content.get("name"), content.get("note", ""), content.get("names", {})
    if not isinstance(name, str) or not name.strip() or len(name) > 60 or "\x00" in name:
        raise WrongSegmentFile(_("The file gives its segment no usable name."))
    if not isinstance(note, str) or len(note) > 200 or "\x00" in note:
        raise WrongSegmentFile(_("The note of the segment is too long."))
    try:
        rules = segments.check(content.get("rules"))
        return SegmentFile(name.strip(), note, segments.check(_translated(rules, _Names(names))))
    except WrongSegmentFile:
        raise
    except Refusal as refusal:
        raise WrongSegmentFile(
            _("The rules in the file cannot be used. %(why)s") % {"why": refusal.message}
        ) from refusal


def _parsed(data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise WrongSegmentFile(_("The file is too large to be a segment."))
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise WrongSegmentFile(_("This file is not JSON.")) from None
    if not isinstance(content, dict):
        raise WrongSegmentFile(_("This file is not a segment that Pond exported."))
    return content


def _ids(value: Any) -> list[int]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]


class _Names:
    """The file's names, and what they are called here."""

    def __init__(self, names: Any) -> None:
        self._names: dict[str, Any] = names if isinstance(names, dict) else {}

    def here(self, kind: str, file_id: int) -> int:
        named = self._names.get(kind)
        said = named.get(str(file_id)) if isinstance(named, dict) else None
        found = self._find(kind, said)
        if found is None:
            words = " · ".join(said or ()) if _is_pair(said) else str(said or f"#{file_id}")[:80]
            sorts = {"tags": _("tag"), "codes": _("channel code"), "accounts": _("account")}
            sort = sorts.get(kind, _("segment"))
            raise WrongSegmentFile(
                _("This shop has no %(sort)s “%(name)s”. Make it first, then bring the file in again.")
                % {"sort": sort, "name": words}
            )
        return found

    def _find(self, kind: str, said: Any) -> int | None:
        if kind == "tags":
            if not _is_pair(said):
                return None
            rows: Any = Tag.objects.filter(group__name=said[0], name=said[1])
        elif not isinstance(said, str) or "\x00" in said:
            return None
        elif kind == "codes":
            rows = ChannelCode.objects.filter(scene=said)
        elif kind == "segments":
            rows = Segment.objects.filter(name=said)
        else:
            kind, _colon, key = said.partition(":")
            rows = apps.get_model("wechat", "Account").objects.filter(kind=kind, key=key)
        found: int | None = rows.order_by("pk").values_list("pk", flat=True).first()
        return found


def _is_pair(said: Any) -> bool:
    return (
        isinstance(said, list)
        and len(said) == 2
        and all(isinstance(word, str) and "\x00" not in word for word in said)
    )


def _translated(node: dict[str, Any], names: _Names) -> dict[str, Any]:
    """Checked rules with the ids of this house."""
    if "field" in node:
        kind, value = MENTIONS.get(node["field"]), node["value"]
        if kind is None or value is None:
            return node
        ids = [names.here(kind, one) for one in _ids(value)]
        return {**node, "value": ids if isinstance(value, list) else ids[0]}
    if "not" in node:
        return {"not": _translated(node["not"], names)}
    return {join: [_translated(child, names) for child in children] for join, children in node.items()}
