"""What the lists of this room share: a paginator that never counts a whole table, and ways to show things."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core import clock
from core.money import yuan

MOST_ROWS = 10_000


class CappedPaginator(Paginator):
    """Counts to ten thousand and stops: who needs page 201 narrows the list by a filter instead."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[:MOST_ROWS].count()


def money(fen: int) -> str:
    return f"¥{yuan(fen)}"


def ago(moment: Any) -> SafeString | str:
    """The day, with the minute on hover."""
    if moment is None:
        return "–"
    local = clock.local(moment)
    return format_html('<span title="{}">{}</span>', f"{local:%Y-%m-%d %H:%M}", f"{local:%Y-%m-%d}")


def chips(names: list[str], most: int = 3) -> SafeString:
    """A few names as small labels, the rest as a number."""
    shown = [format_html('<span class="crm-chip">{}</span>', name) for name in names[:most]]
    more = format_html('<span class="crm-more">+{}</span>', len(names) - most) if len(names) > most else ""
    return format_html('<span class="crm-chips">{}{}</span>', SafeString("".join(shown)), more)
