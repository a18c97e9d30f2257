"""RFM by month as a page: how the groups flowed from one month's end to the next, and how large they were."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from core.admin import ReadOnlyAdmin
from crm import queries
from crm.admin.definitions import OUTSIDE, matrix
from crm.admin.lifecycle import CHART_OPTIONS
from crm.admin.lifecycle_forms import initial_of
from crm.flows import flow_picture
from crm.models import LifeDefinition, RfmMonth
from crm.models.lifecycle import CELLS

CELL_WORDS = [(word, label) for word, (_highs, label) in CELLS.items()]
COLOURS = dict(
    zip(
        CELLS,
        ("#047857", "#10b981", "#f59e0b", "#dc2626", "#6366f1", "#38bdf8", "#a78bfa", "#9ca3af"),
        strict=True,
    )
)


@admin.register(RfmMonth)
class RfmMonthAdmin(ReadOnlyAdmin):
    """The list is the picture; a month is chosen in it."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        months = queries.rfm_months()
        asked = request.GET.get("month", "")
        chosen = next(
            (month for month in months if f"{month.month:%Y-%m}" == asked), months[0] if months else None
        )
        flows = queries.rfm_flows([month.month for month in months])
        context = {
            **self.admin_site.each_context(request),
            "title": _("RFM by month"),
            "opts": self.opts,
            "tab": "rfm",
            "months": months,
            "chosen": chosen,
        }
        if chosen is not None:
            moves = flows[chosen.month]
            context |= {
                "picture": drawn(moves),
                "lines": group_lines(moves),
                "matrix": matrix(moves, CELL_WORDS),
                "cell_words": [*CELL_WORDS, ("", OUTSIDE)],
                "chart": history_chart(months, flows),
                "chart_options": STACKED,
                "ends": ends_of(chosen),
            }
        return TemplateResponse(request, "crm/admin/rfm.html", context)


def label_of(cell: str) -> str:
    return str(CELLS[cell][1]) if cell else str(OUTSIDE)


def drawn(moves: dict[tuple[str, str], int]) -> dict[str, Any]:
    """The flow picture with words and colours; a ribbon has the colour of where it came from."""
    picture = flow_picture(moves, [*CELLS, ""])

    def boxes(side: Any) -> list[dict[str, Any]]:
        return [
            {"box": box, "label": label_of(box.key), "colour": COLOURS.get(box.key, "#d1d5db")}
            for box in side
        ]

    return {
        "size": picture,
        "left": boxes(picture.left),
        "right": boxes(picture.right),
        "ribbons": [
            {
                "ribbon": ribbon,
                "colour": COLOURS.get(ribbon.before, "#d1d5db"),
                "words": f"{label_of(ribbon.before)} → {label_of(ribbon.after)}: {ribbon.count:,}",
            }
            for ribbon in picture.ribbons
        ],
    }


def group_lines(moves: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    """A line a group: members a month before and now, who stayed, came and went."""
    lines = []
    for word in CELLS:
        before = sum(count for (cell, _to), count in moves.items() if cell == word)
        now = sum(count for (_from, cell), count in moves.items() if cell == word)
        stayed = moves.get((word, word), 0)
        lines.append(
            {
                "label": label_of(word),
                "colour": COLOURS[word],
                "before": before,
                "now": now,
                "stayed": round(100 * stayed / before) if before else None,
                "came": now - stayed,
                "went": before - stayed,
            }
        )
    return lines


def history_chart(months: list[RfmMonth], flows: dict[Any, dict[tuple[str, str], int]]) -> str:
    """Stacked columns, a month each, the eldest first."""
    ordered = sorted(months, key=lambda one: one.month)

    def members(month: RfmMonth, word: str) -> int:
        return sum(count for (_from, cell), count in flows[month.month].items() if cell == word)

    return json.dumps(
        {
            "labels": [f"{month.month:%Y-%m}" for month in ordered],
            "datasets": [
                {
                    "label": label_of(word),
                    "data": [members(month, word) for month in ordered],
                    "backgroundColor": COLOURS[word],
                }
                for word in CELLS
            ],
        }
    )


def ends_of(month: RfmMonth) -> dict[str, Any]:
    """The bands of that month, in the words of the form."""
    return initial_of(
        LifeDefinition(
            days_ends=month.days_ends,
            purchases_ends=month.purchases_ends,
            spend_ends_fen=month.spend_ends_fen,
        )
    )


_options = json.loads(CHART_OPTIONS)
for _axis in ("x", "y"):
    _options["scales"][_axis]["stacked"] = True
STACKED = json.dumps(_options)
