"""The lifecycle as a page: who stands where, who moved, RFM, how well the model foretold, what the stages mean."""

import datetime as dt
import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.admin import BaseAdmin
from core.errors import Refusal
from core.wakeups import wake
from crm import queries, services
from crm.admin.lifecycle_forms import DefinitionForm, initial_of
from crm.admin.lists import money
from crm.lifecycle import FEWEST_REPEATERS
from crm.models import LifeDefinition, LifeFit
from crm.models.lifecycle import CELLS, STAGES, rfm_cell

PERIODS = (1, 7, 30)
OUTSIDE = gettext_lazy("outside")
HEATS = 8
VERSIONS_SHOWN = 6


@admin.register(LifeDefinition)
class LifecycleAdmin(BaseAdmin):
    """The list is the overview; a definition is made on a page of its own, never changed."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        def page(address: str, view: Any, name: str) -> Any:
            return path(address, self.admin_site.admin_view(view), name=name)

        return [
            page("define/", self.define, "crm_lifecycle_define"),
            page("refresh/", self.refresh, "crm_lifecycle_refresh"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:crm_lifecycle_define"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("days", "30")
        days = int(asked) if asked in {str(period) for period in PERIODS} else 30
        fit, definition = queries.newest_fit(), queries.definition_in_force()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Lifecycle"),
            "opts": self.opts,
            "fit": fit,
            "needed": FEWEST_REPEATERS,
            "definition": definition,
            "words": dict(STAGES),
            "levels": initial_of(definition),
            "versions": LifeDefinition.objects.select_related("created_by").order_by("-pk")[:VERSIONS_SHOWN],
            "may_define": self.has_add_permission(request),
            "days": days,
            "periods": PERIODS,
        }
        if fit is not None:
            context |= self._figures(days) | self._model(fit)
        return TemplateResponse(request, "crm/admin/lifecycle.html", context)

    def _figures(self, days: int) -> dict[str, Any]:
        today = clock.today()
        counts = queries.stage_counts()
        moves = queries.stage_moves(since=today - dt.timedelta(days=days - 1), until=today)
        squares, totals = queries.rfm_squares(), queries.life_totals()
        return {
            "stages": stage_cards(counts, moves),
            "matrix": matrix(moves),
            "stage_words": [*STAGES, ("", OUTSIDE)],
            "grid": rfm_grid(squares),
            "cells": rfm_cells(squares),
            "totals": totals,
            "expected_orders": (totals["orders_milli"] or 0) // 1_000,
            "expected_value": "–" if totals["value_fen"] is None else money(totals["value_fen"]),
        }

    def _model(self, fit: LifeFit) -> dict[str, Any]:
        parameters = [(name, getattr(fit, name)) for name in ("r", "alpha", "a", "b", "p", "q", "v")]
        return {
            "parameters": [(name, f"{value:.4g}") for name, value in parameters if value is not None],
            "log_likelihood": f"{fit.log_likelihood:,.1f}",
            "calibration_chart": calibration_chart(fit),
            "calibration": [
                {
                    **row,
                    "label": frequency_label(row["frequency"]),
                    "predicted": f"{row['predicted']:.2f}",
                    "actual": f"{row['actual']:.2f}",
                }
                for row in fit.calibration
            ],
            "chart_options": CHART_OPTIONS,
        }

    def refresh(self, request: HttpRequest) -> HttpResponse:
        """POST: ask a worker for a run now."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            wake("crm.tasks.refresh_lifecycle_now", queue="bulk")
            self.message_user(request, _("The count has begun. Look again in a minute."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:crm_lifedefinition_changelist"))

    def define(self, request: HttpRequest) -> HttpResponse:
        """GET the form; POST looks at how many members would move, POST with `save` moves them."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        current = queries.definition_in_force()
        form = DefinitionForm(request.POST or None, initial=initial_of(current))
        moves: dict[tuple[str, str], int] | None = None
        if request.method == "POST" and form.is_valid():
            given = form.values()
            try:
                if "save" in request.POST:
                    services.define_stages(**given, by_id=request.user.pk)
                    self.message_user(request, _("The definition is in force."), messages.SUCCESS)
                    return HttpResponseRedirect(reverse("admin:crm_lifedefinition_changelist"))
                draft = {name: value for name, value in given.items() if value is not None}
                moves = queries.moves_of_definition(LifeDefinition(**draft))
            except Refusal as refusal:
                form.add_error(None, refusal.message)
        context = {
            **self.admin_site.each_context(request),
            "title": _("What the stages mean"),
            "opts": self.opts,
            "form": form,
            "moves": None if moves is None else move_lines(moves),
            "moved": sum((moves or {}).values()),
        }
        status = 400 if form.errors else 200
        return TemplateResponse(request, "crm/admin/lifecycle_define.html", context, status=status)


# --- What the page shows -------------------------------------------------------------------------------------------
def stage_cards(counts: dict[str, int], moves: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    everybody = sum(counts.values())
    members = reverse("admin:crm_member_changelist")
    return [
        {
            "stage": stage,
            "label": label,
            "count": counts[stage],
            "share": round(100 * counts[stage] / everybody) if everybody else 0,
            "came": sum(count for (_from, to), count in moves.items() if to == stage),
            "went": sum(count for (before, _to), count in moves.items() if before == stage),
            "address": f"{members}?stage={stage}",
        }
        for stage, label in STAGES
    ]


def matrix(moves: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    """A line for each stage that was left (the last: from outside), a cell for each that was entered."""
    words = [stage for stage, _label in STAGES]
    most = max(moves.values(), default=0)
    return [
        {
            "label": label,
            "cells": [
                {
                    "count": moves.get((before, after), 0),
                    "same": before == after,
                    "heat": heat(moves.get((before, after), 0), most),
                }
                for after in [*words, ""]
            ],
        }
        for before, label in [*STAGES, ("", OUTSIDE)]
    ]


def heat(count: int, most: int) -> int:
    """0 (nothing) to HEATS, by the square root, so that small squares still differ."""
    return 0 if not count else max(1, round(HEATS * (count / most) ** 0.5))


def rfm_grid(squares: list[queries.RfmSquare]) -> list[dict[str, Any]]:
    """Lines by recency (5, who bought last, above), squares by frequency 1 to 5."""
    counts: dict[str, int] = {}
    for square in squares:
        place = f"{square.rfm}"[:2]
        counts[place] = counts.get(place, 0) + square.members
    most = max(counts.values(), default=0)
    members = reverse("admin:crm_member_changelist")
    return [
        {
            "recency": recency,
            "squares": [
                {
                    "count": counts.get(f"{recency}{frequency}", 0),
                    "heat": heat(counts.get(f"{recency}{frequency}", 0), most),
                    "address": f"{members}?rfm={recency}{frequency}",
                }
                for frequency in range(1, 6)
            ],
        }
        for recency in range(5, 0, -1)
    ]


def rfm_cells(squares: list[queries.RfmSquare]) -> list[dict[str, Any]]:
    members = reverse("admin:crm_member_changelist")
    everybody = sum(square.members for square in squares)
    lines = []
    for word, (_highs, label) in CELLS.items():
        inside = [square for square in squares if rfm_cell(square.rfm) == word]
        count, spent = sum(one.members for one in inside), sum(one.spent_fen for one in inside)
        lines.append(
            {
                "label": label,
                "count": count,
                "share": round(100 * count / everybody) if everybody else 0,
                "mean": money(spent // count) if count else "–",
                "address": f"{members}?rfm={word}",
            }
        )
    return lines


def move_lines(moves: dict[tuple[str, str], int]) -> list[tuple[Any, Any, int]]:
    labels = dict(STAGES)
    ranks = {stage: rank for rank, (stage, _label) in enumerate(STAGES)}
    ordered = sorted(moves.items(), key=lambda move: (ranks[move[0][0]], ranks[move[0][1]]))
    return [(labels[before], labels[after], count) for (before, after), count in ordered]


def frequency_label(frequency: int) -> str:
    return "7+" if frequency >= 7 else str(frequency)


def calibration_chart(fit: LifeFit) -> str:
    def bars(label: str, key: str, colour: str) -> dict[str, Any]:
        values = [round(row[key], 3) for row in fit.calibration]
        return {"label": label, "data": values, "backgroundColor": colour, "borderRadius": 3}

    return json.dumps(
        {
            "labels": [frequency_label(row["frequency"]) for row in fit.calibration],
            "datasets": [
                bars(_("predicted"), "predicted", "rgba(99,102,241,0.45)"),
                bars(_("actual"), "actual", "#10b981"),
            ],
        }
    )


CHART_OPTIONS = json.dumps(
    {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "display": True,
                "align": "end",
                "labels": {"boxWidth": 10, "boxHeight": 10, "color": "#9ca3af"},
            }
        },
        "scales": {
            "x": {"grid": {"display": False}, "ticks": {"color": "#9ca3af"}},
            "y": {"beginAtZero": True, "ticks": {"color": "#9ca3af"}},
        },
    }
)
