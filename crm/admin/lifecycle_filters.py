"""The lifecycle on the pages of members: two filters of the list, cards of one member's page."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from crm import queries
from crm.admin.lists import money
from crm.models import Member
from crm.models.lifecycle import CELLS, STAGES


def percent(bps: int | None) -> str:
    return "–" if bps is None else f"{bps / 100:.0f}%"


class StageFilter(DropdownFilter):
    title, parameter_name = _("lifecycle stage"), "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return STAGES

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value()
        return queryset.filter(pk__in=queries.members_in_stage(value)) if value in dict(STAGES) else queryset


class CellFilter(DropdownFilter):
    """A named cell; the grid's squares are led to by links only ("54")."""

    title, parameter_name = _("RFM group"), "rfm"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return [(word, label) for word, (_highs, label) in CELLS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value() or ""
        square = len(value) == 2 and set(value) <= set("12345")
        if value in CELLS or square:
            return queryset.filter(pk__in=queries.members_in_cell(value))
        return queryset


def life_cards(member_id: int) -> list[tuple[Any, str]]:
    """(label, value) of her stage, chance and expected value; none before her first purchase was counted."""
    life = queries.lifecycle_of(member_id)
    if life is None:
        return []
    expected = "–" if life.value_fen is None else money(life.value_fen)
    return [
        (_("lifecycle stage"), life.stage_label),
        (_("in this stage since"), f"{life.since:%Y-%m-%d}"),
        (
            (_("chance alive"), percent(life.chance_bps))
            if life.frequency
            else (_("vigour after one purchase"), percent(life.vigour_bps))
        ),
        (_("purchases expected in 90 days"), f"{life.orders_milli / 1000:.2f}"),
        (_("value expected in 90 days"), expected),
        (_("RFM group"), life.cell_label),
    ]
