"""The words of member tiers: apps that give a tier its meaning say which words they use."""

from collections.abc import Callable, Iterable

from crm.models import Member

_sources: list[Callable[[], Iterable[str]]] = []


def name_tiers(source: Callable[[], Iterable[str]]) -> None:
    """Register a query of tier words; called once when an app starts."""
    if source not in _sources:
        _sources.append(source)


def tier_words() -> list[str]:
    """Every word in use, by an app or by a member, sorted."""
    carried = Member.objects.exclude(tier="").order_by("tier").values_list("tier", flat=True).distinct()
    return sorted({*carried, *(word for source in _sources for word in source())})
