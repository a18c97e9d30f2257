"""The lifecycle on the pages of members: two filters of the list, cards of one member's page."""

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter

from crm import queries
from crm.admin.lists import money
from crm.models import Member
from crm.models.aipl import STEPS
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


class StepFilter(DropdownFilter):
    title, parameter_name = _("AIPL"), "aipl"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str | Promise]]:
        return STEPS

    def queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> QuerySet[Member]:
        value = self.value()
        return queryset.filter(pk__in=queries.members_in_step(value)) if value in dict(STEPS) else queryset


def life_cards(standing: queries.Standing) -> list[tuple[Any, str]]:
    """(label, value): how near she is, and since her first purchase was counted her stage, chance, value and groups."""
    cards: list[tuple[Any, str]] = []
    if standing.step:
        label = format_lazy("{name} · {since:%Y-%m-%d}", name=_("AIPL"), since=standing.step_since)
        cards.append((label, standing.step_label))
    life = standing.life
    if life is None:
        return cards
    expected = "–" if life.value_fen is None else money(life.value_fen)
    cards += [
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
    before = next(((month, cell) for month, cell in standing.months if cell != life.cell), None)
    if before is not None:
        label = format_lazy("{words} {month:%Y-%m}", words=_("RFM group at the end of"), month=before[0])
        cards.append((label, str(CELLS[before[1]][1])))
    return cards
