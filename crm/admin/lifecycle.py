"""The lifecycle as a page: who stands where, who moved, RFM, how well the model foretold, what the stages mean."""

import datetime as dt
import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.wakeups import wake
from crm import queries, services
from crm.admin.definitions import OUTSIDE, DefinitionAdmin, balance, beside, heat, matrix, move_lines
from crm.admin.lifecycle_forms import DefinitionForm, initial_of
from crm.admin.lists import money
from crm.lifecycle import FEWEST_REPEATERS
from crm.models import LifeDefinition, LifeFit
from crm.models.aipl import STEPS
from crm.models.lifecycle import CELLS, STAGES, rfm_cell

FUNNEL_WIDTH = 1_000


@admin.register(LifeDefinition)
class LifecycleAdmin(DefinitionAdmin):
    noun = "lifecycle"
    define_title = gettext_lazy("What the stages mean")
    define_success = gettext_lazy("The definition is in force.")

    def get_urls(self) -> list[Any]:
        return [self.page("refresh", self.refresh), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        shared = self.overview(request)
        fit, definition = queries.newest_fit(), queries.definition_in_force()
        context = {
            **shared,
            "title": _("Lifecycle"),
            "tab": "life",
            "fit": fit,
            "needed": FEWEST_REPEATERS,
            "definition": definition,
            "words": dict(STAGES),
            "levels": initial_of(definition),
        }
        if fit is not None:
            context |= self._figures(shared["since"], shared["until"]) | self._model(fit)
        return TemplateResponse(request, "crm/admin/lifecycle.html", context)

    def _figures(self, since: dt.date, until: dt.date) -> dict[str, Any]:
        counts = queries.stage_counts()
        moves = queries.stage_moves(since=since, until=until)
        squares, totals = queries.rfm_squares(), queries.life_totals()
        nearness = queries.aipl_moves(since=since, until=until)
        return {
            "aipl": funnel(queries.aipl_counts(), nearness),
            "stages": stage_cards(counts, moves),
            "matrix": matrix(moves, STAGES),
            "balance": balance(STAGES, counts, moves=moves, **beside(queries.stage_moves, since, until)),
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
        return HttpResponseRedirect(self.home)

    def form_for(self, data: Any) -> DefinitionForm:
        return DefinitionForm(data, initial=initial_of(queries.definition_in_force()))

    def put_in_force(self, form: DefinitionForm, by_id: int | None) -> None:
        services.define_stages(**form.values(), by_id=by_id)

    def preview(self, form: DefinitionForm) -> dict[str, Any]:
        draft = {name: value for name, value in form.values().items() if value is not None}
        moves = queries.moves_of_definition(LifeDefinition(**draft))
        return {"moves": move_lines(moves, STAGES), "moved": sum(moves.values())}


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


def funnel(counts: dict[str, int], moves: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    """A bar a step, as wide as those who came at least so far; who came and went meanwhile."""
    steps = [step for step, _label in STEPS]
    reached = [sum(counts[step] for step in steps[rank:]) for rank in range(len(steps))]
    everybody = reached[0]
    members = reverse("admin:crm_member_changelist")
    return [
        {
            "step": step,
            "label": label,
            "letter": letter,
            "count": counts[step],
            "reached": reached[rank],
            "width": round(FUNNEL_WIDTH * reached[rank] / everybody) if everybody else 0,
            "own": round(FUNNEL_WIDTH * counts[step] / everybody) if everybody else 0,
            "share": round(100 * reached[rank] / everybody) if everybody else 0,
            "of_before": round(100 * reached[rank] / reached[rank - 1])
            if rank and reached[rank - 1]
            else None,
            "came": sum(count for (_from, to), count in moves.items() if to == step),
            "went": sum(count for (before, _to), count in moves.items() if before == step),
            "address": f"{members}?aipl={step}",
        }
        for rank, ((step, label), letter) in enumerate(zip(STEPS, "AIPL", strict=True))
    ]


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
