"""Segments as files: rules with the names of what they mention, so that another shop can read them.

Ids of tags, channel codes, accounts, products and the like are a house's own. A file carries each id's name; reading
looks the names up and refuses a file that names what is not there, with a list of it.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext as _

from core.errors import Refusal
from crm import segments, segments_values
from crm.errors import WrongSegmentFile
from crm.models import ChannelCode, MemberField, Segment, Staff, Store, Tag
from crm.subjects import group_choices, number_of, travel_of
from crm.tiers_words import tier_words

FORMAT, VERSION = "pond.segment", 1
LARGEST = 256 * 1024
LONGEST_NAME = 200
MOST_MISSING = 12
LASTING_NUMBERS = {"staff"}
"""Kinds of subjects whose numbers are the platform's, not a house's: WeCom userids."""
MENTIONS = {
    "tags": "tags",
    "source": "codes",
    "following": "accounts",
    "segment": "segments",
    "guide": "guides",
    "store": "stores",
    "group": "groups",
    "custom": "fields",
    "anniversary": "fields",
}
"""Field → the list of the file in which its ids have their names."""
Name = str | tuple[str, str]  # of a tag its group and its own


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
            **{kind: _by_id(*NAMED_BY[kind], wanted[kind]) for kind in NAMED_BY},
            "groups": {str(pk): name for pk, name in group_choices() if pk in wanted["groups"]},
            "subjects": _subject_names(segments.conditions(segment.rules)),
        },
    }


def _subjects(leaves: Iterable[dict[str, Any]]) -> list[str]:
    return [one for leaf in leaves if leaf["field"] == "fact" for one in leaf["value"].get("subjects", ())]


def _subject_names(leaves: Iterable[dict[str, Any]]) -> dict[str, str]:
    """ "product:12" → its code, "category:3" → its path: what a fact is about, as another house may know it."""
    by_kind: dict[str, set[int]] = {}
    for subject in _subjects(leaves):
        if found := number_of(subject):
            by_kind.setdefault(found[0], set()).add(found[1])
    return {
        f"{kind}:{pk}": name
        for kind, ids in by_kind.items()
        if (travel := travel_of(kind)) is not None
        for pk, name in travel.names(ids).items()
    }


def read_segment_file(data: bytes) -> SegmentFile:
    """A file's segment with the ids of this house. Raises WrongSegmentFile with words that say what is wrong."""
    content = _parsed(data)
    if content.get("format") != FORMAT:
        raise WrongSegmentFile(_("This file is not a segment that Pond exported."))
    if content.get("version") != VERSION:
        raise WrongSegmentFile(_("This file was written by another version of Pond."))
    name, note, names = content.get("name"), content.get("note", ""), content.get("names", {})
    if not isinstance(name, str) or not name.strip() or not segments_values.is_text(name, most=60):
        raise WrongSegmentFile(_("The file gives its segment no usable name."))
    if not segments_values.is_text(note, most=200):
        raise WrongSegmentFile(_("The note of the segment is too long."))
    try:
        rules = segments.check_shape(content.get("rules"))
        here = _Here(names, list(segments.conditions(rules)))
        translated = _translated(rules, here)
        here.refuse_missing()
        return SegmentFile(name.strip(), note, segments.check(translated))
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


def _by_id(model: type[Model], column: str, ids: set[int]) -> dict[str, str]:
    rows: Any = model._default_manager.filter(pk__in=ids).values_list("pk", column)
    return {str(pk): name for pk, name in rows}


def _ids(value: Any) -> list[int]:
    """The ids in a condition's value: a list of them, one, or that of a custom field."""
    if isinstance(value, dict):
        return _ids([value.get("field")])
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]


class _Here:
    """What the file's ids are called in it, and the ids of these names here: one statement for each sort of thing."""

    def __init__(self, names: Any, leaves: list[dict[str, Any]]) -> None:
        self._names: dict[str, Any] = names if isinstance(names, dict) else {}
        wanted: dict[str, dict[Name, None]] = {}
        for leaf in leaves:
            kind = MENTIONS.get(leaf["field"])
            for file_id in _ids(leaf["value"]) if kind else ():
                if kind and (name := self._name(kind, file_id)) is not None:
                    wanted.setdefault(kind, {})[name] = None
        self._ids = {
            (kind, name): pk for kind, all_of_it in wanted.items() for pk, name in _found(kind, all_of_it)
        }
        self._subjects = self._subjects_here(leaves)
        asks_tiers = any(leaf["field"] == "tier" for leaf in leaves)
        self._tiers = {"", *tier_words()} if asks_tiers else set()
        self._missing: dict[str, None] = {}

    def _subjects_here(self, leaves: list[dict[str, Any]]) -> dict[str, str]:
        """Subjects of the file that are there, as they are called here."""
        told = self._names.get("subjects")
        named: dict[str, dict[str, str]] = {}
        for subject in _subjects(leaves):
            name = told.get(subject) if isinstance(told, dict) else None
            if (found := number_of(subject)) and segments_values.is_text(name, most=LONGEST_NAME):
                named.setdefault(found[0], {})[subject] = str(name)
        here: dict[str, str] = {}
        for kind, names in named.items():
            if travel := travel_of(kind):
                ids = travel.ids(set(names.values()))
                here |= {subject: f"{kind}:{ids[name]}" for subject, name in names.items() if name in ids}
        return here

    def subject_of(self, subject: str) -> str:
        """The same subject here. What is no number of the other house stays as it is."""
        found = number_of(subject)
        if found is None or found[0] in LASTING_NUMBERS or subject in self._subjects:
            return self._subjects.get(subject, subject)
        told, travel = self._names.get("subjects"), travel_of(found[0])
        name = told.get(subject) if isinstance(told, dict) else None
        words = str(name)[:80] if segments_values.is_text(name, most=LONGEST_NAME) else subject
        self._miss(str(travel.label) if travel else _("thing"), words)
        return subject

    def tier(self, word: str) -> str:
        if word not in self._tiers:
            self._miss(_("member tier"), word)
        return word

    def _miss(self, sort: str, name: str) -> None:
        self._missing[_("%(sort)s “%(name)s”") % {"sort": sort, "name": name}] = None

    def refuse_missing(self) -> None:
        """Raises WrongSegmentFile that names everything which is not there."""
        if self._missing:
            listed = list(self._missing)
            words = "、".join(listed[:MOST_MISSING])
            if len(listed) > MOST_MISSING:
                words += f" +{len(listed) - MOST_MISSING}"
            raise WrongSegmentFile(
                _("This shop has no %(what)s. Make it first, then bring the file in again.") % {"what": words}
            )

    def id_of(self, kind: str, file_id: int) -> int:
        name = self._name(kind, file_id)
        found = None if name is None else self._ids.get((kind, name))
        if found is None:
            words = " · ".join(name) if isinstance(name, tuple) else str(name or f"#{file_id}")[:80]
            sorts = {
                "tags": _("tag"),
                "codes": _("channel code"),
                "accounts": _("account"),
                "guides": _("guide"),
                "stores": _("store"),
                "groups": _("customer group"),
                "fields": _("member field"),
            }
            sort = sorts.get(kind, _("segment"))
            self._miss(sort, words)
        return found or 1

    def _name(self, kind: str, file_id: int) -> Name | None:
        named = self._names.get(kind)
        said = named.get(str(file_id)) if isinstance(named, dict) else None
        if kind == "tags":
            return (said[0], said[1]) if isinstance(said, list) and _is_pair(said) else None
        return said if segments_values.is_text(said, most=LONGEST_NAME) else None


NAMED_BY: dict[str, tuple[type[Model], str]] = {
    "guides": (Staff, "name"),
    "stores": (Store, "code"),
    "fields": (MemberField, "name"),
}


def _found(kind: str, names: Iterable[Name]) -> list[tuple[int, Name]]:
    """(id, name) of what is there, the oldest of a name last so that it is the one that counts."""
    wanted = list(names)
    if kind == "tags":
        in_groups = Tag.objects.filter(name__in=[name[1] for name in wanted]).order_by("-pk")
        rows = in_groups.values_list("pk", "group__name", "name")
        return [(pk, (group, name)) for pk, group, name in rows]
    if kind == "codes":
        return list(ChannelCode.objects.filter(scene__in=wanted).values_list("pk", "scene"))
    if kind == "segments":
        return list(Segment.objects.filter(name__in=wanted).values_list("pk", "name"))
    if kind == "groups":
        return [(pk, name) for pk, name in group_choices() if name in wanted]
    if kind in NAMED_BY:
        model, column = NAMED_BY[kind]
        same: Any = model._default_manager.filter(**{f"{column}__in": wanted}).order_by("-pk")
        return list(same.values_list("pk", column))
    keys = [str(name).partition(":")[2] for name in wanted]
    accounts = apps.get_model("wechat", "Account").objects.filter(key__in=keys).order_by("-pk")
    return [(pk, f"{sort}:{key}") for pk, sort, key in accounts.values_list("pk", "kind", "key")]


def code_scenes(ids: Collection[int]) -> dict[int, str]:
    return dict(ChannelCode.objects.filter(pk__in=ids).values_list("pk", "scene"))


def codes_by_scene(scenes: Collection[str]) -> dict[str, int]:
    return dict(ChannelCode.objects.filter(scene__in=scenes).values_list("scene", "pk"))


def account_keys(ids: Collection[int]) -> dict[int, str]:
    accounts = apps.get_model("wechat", "Account").objects.filter(pk__in=ids)
    return {pk: f"{kind}:{key}" for pk, kind, key in accounts.values_list("pk", "kind", "key")}


def accounts_by_key(keys: Collection[str]) -> dict[str, int]:
    return {str(name): pk for pk, name in _found("accounts", keys)}


def group_names(ids: Collection[int]) -> dict[int, str]:
    return {pk: name for pk, name in group_choices() if pk in ids}


def groups_by_name(names: Collection[str]) -> dict[str, int]:
    return {name: pk for pk, name in group_choices() if name in names}


def _is_pair(said: list[Any]) -> bool:
    return len(said) == 2 and all(segments_values.is_text(word, most=LONGEST_NAME) for word in said)


def _translated(node: dict[str, Any], here: _Here) -> dict[str, Any]:
    """Checked rules with the ids of this house."""
    if "field" in node:
        kind, value = MENTIONS.get(node["field"]), node["value"]
        if node["field"] == "tier":
            return {**node, "value": [here.tier(word) for word in value]}
        if node["field"] == "fact" and value.get("subjects"):
            return {
                **node,
                "value": {**value, "subjects": [here.subject_of(one) for one in value["subjects"]]},
            }
        if kind is None or value is None:
            return node
        ids = [here.id_of(kind, one) for one in _ids(value)]
        if isinstance(value, dict):
            return {**node, "value": {**value, "field": ids[0]}} if ids else node
        return {**node, "value": ids if isinstance(value, list) else ids[0]}
    if "not" in node:
        return {"not": _translated(node["not"], here)}
    return {join: [_translated(child, here) for child in children] for join, children in node.items()}
