"""What facts are about, when one word stands for many: "category:3" is every product on that shelf.

The rooms above know what their words stand for and say so when Pond starts.
"""

from collections.abc import Callable, Iterable

_spelled: dict[str, Callable[[int], list[str]]] = {}


def name_subjects(kind: str, subjects: Callable[[int], list[str]]) -> None:
    """From now on the subject "kind:12" of a segment's rule stands for `subjects(12)`."""
    _spelled[kind] = subjects


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
