"""What facts are about, when one word stands for many: "category:3" is every product on that shelf; and customer
groups.

The rooms above know what their words stand for, and their groups, and say so when Pond starts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

Choices = Callable[[], Sequence[tuple[int, str]]]

_spelled: dict[str, Callable[[int], list[str]]] = {}
_offered: dict[str, tuple[object, Choices]] = {}
_groups: list[Choices] = []
_travels: dict[str, "Travel"] = {}


@dataclass(frozen=True)
class Travel:
    """How subjects of a kind are called in files that go to another house: id → name there, and name → id here."""

    label: object
    names: Callable[[Collection[int]], Mapping[int, str]]
    ids: Callable[[Collection[str]], Mapping[str, int]]


def name_subjects(
    kind: str,
    subjects: Callable[[int], list[str]],
    *,
    label: object = "",
    choices: Choices | None = None,
) -> None:
    """From now on the subject "kind:12" of a segment's rule stands for `subjects(12)`. `choices` gives (id, name) of
    what operators may choose from, under the heading `label`.
    """
    _spelled[kind] = subjects
    if choices is not None:
        _offered[kind] = (label, choices)


def name_in_files(
    kind: str,
    names: Callable[[Collection[int]], Mapping[int, str]],
    ids: Callable[[Collection[str]], Mapping[str, int]],
    *,
    label: object,
) -> None:
    """From now on the subjects "kind:12" of a segment's file are told by their names."""
    _travels[kind] = Travel(label, names, ids)


def travel_of(kind: str) -> Travel | None:
    return _travels.get(kind)


def number_of(subject: str) -> tuple[str, int] | None:
    """ "product:12" → ("product", 12); None when no number stands there."""
    kind, _colon, number = subject.partition(":")
    return (kind, int(number)) if _is_number(number) else None


def name_groups(choices: Choices) -> None:
    """From now on segments may ask for the members of these customer groups: (id, name)."""
    _groups.append(choices)


def subject_choices(kinds: Collection[str] | None = None) -> list[tuple[str, str, str]]:
    """(subject, name, heading) of everything that operators may choose, of these kinds or all. One statement a kind."""
    return [
        (f"{kind}:{pk}", name, str(label))
        for kind, (label, choices) in _offered.items()
        if kinds is None or kind in kinds
        for pk, name in choices()
    ]


def group_choices() -> list[tuple[int, str]]:
    return [one for choices in _groups for one in choices()]


def spelled_out(subjects: Iterable[str]) -> list[str]:
    """The subjects with all that they stand for; each once. One that stands for nothing remains, so that it finds
    nobody.
    """
    out: dict[str, None] = {}
    for subject in subjects:
        kind, _colon, number = subject.partition(":")
        stands_for = _spelled[kind](int(number)) if kind in _spelled and _is_number(number) else []
        out |= dict.fromkeys(stands_for or [subject])
    return list(out)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18
