"""The words of member tiers: apps that give a tier its meaning say which words they use."""

from collections.abc import Callable, Iterable

from crm.models import Member, TierRule

_sources: list[Callable[[], Iterable[str]]] = []


def name_tiers(source: Callable[[], Iterable[str]]) -> None:
    """Register a query of tier words; called once when an app starts."""
    if source not in _sources:
        _sources.append(source)


def tier_words() -> list[str]:
    """Every word in use, by a level, an app or a member, sorted."""
    carried = Member.objects.exclude(tier="").order_by().values_list("tier", flat=True)
    words = carried.union(TierRule.objects.order_by().values_list("name", flat=True))
    return sorted({*words, *(word for source in _sources for word in source())})
