"""Customer lifetimes by channel, store, guide and first product: a table, a picture, a file."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from analytics import queries
from analytics.dashboard import side_by_side
from analytics.lifetimes import log_lifetime_export
from analytics.models import LifetimeExport, LifetimeRow
from core import clock
from core.admin import ReadOnlyAdmin
from core.admin.downloads import csv_download
from core.money import yuan
from shop.queries.rest import own_store_of

ROWS = 50
BARS = 12


@admin.register(LifetimeRow)
class LifetimeAdmin(ReadOnlyAdmin):
    """The list is the table; each way of looking is a part of its address."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export)
        return [path("export/", view, name="analytics_lifetime_export"), *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("analytics.export_lifetimerow")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = _asked(request)
        rows = queries.lifetimes(**asked, store_id=own_store_of(request.user))
        page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
        top = list(rows[:BARS])
        context = {
            **self.admin_site.each_context(request),
            "title": _("Customer lifetimes"),
            "opts": self.opts,
            "tab": "lifetime",
            "dimensions": LifetimeRow.DIMENSIONS,
            "sorts": queries.LIFETIME_SORTS,
            "asked": asked,
            "page": page,
            "lines": [_line(row) for row in page],
            "total": _line(queries.lifetimes_in_all(rows)) if top else None,
            "chart": _chart(top) if top else "",
            "chart_options": side_by_side(),
            "counted": queries.lifetimes_counted(),
            "may_export": self.has_export_permission(request),
        }
        return TemplateResponse(request, "analytics/lifetimes.html", context)

    def export(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """POST: the whole table as CSV; who took it is noted first."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseRedirect(reverse("admin:analytics_lifetimerow_changelist"))
        asked = _asked(request)
        rows = list(queries.lifetimes(**asked, store_id=own_store_of(request.user)))
        log_lifetime_export(dimension=asked["dimension"], rows_count=len(rows), by_id=request.user.pk or 0)
        head = [
            *(
                _("name"),
                _("members"),
                _("buyers"),
                _("orders"),
                _("paid and kept"),
                _("probably still customers"),
            ),
            *(_("purchases expected in 90 days"), _("expected in 90 days")),
        ]
        lines = (
            [
                *(
                    queries.lifetime_name(row),
                    row.members,
                    row.buyers,
                    row.orders,
                    _plain(row.kept_fen),
                    row.alive,
                ),
                *(f"{row.expected_orders_milli / 1000:.1f}", _plain(row.expected_fen)),
            ]
            for row in rows
        )
        name = f"lifetimes-{asked['dimension']}-{clock.local(clock.now()):%Y%m%d-%H%M}.csv"
        return csv_download([head, *lines], name)


@admin.register(LifetimeExport)
class LifetimeExportAdmin(ReadOnlyAdmin):
    empty_hint = _("Every table of customer lifetimes that somebody takes out of the house is noted here.")
    list_display = ["at", "dimension", "rows_count", "by"]
    list_filter = ["dimension", "by"]
    list_select_related = ["by"]
    ordering = ["-pk"]


def _asked(request: HttpRequest) -> dict[str, str]:
    given = request.POST if request.method == "POST" else request.GET
    dimension, sort = given.get("by", ""), given.get("sort", "")
    return {
        "dimension": dimension if dimension in dict(LifetimeRow.DIMENSIONS) else LifetimeRow.CHANNEL,
        "sort": sort if sort in dict(queries.LIFETIME_SORTS) else "kept_fen",
    }


def _plain(fen: int) -> str:
    return yuan(fen).replace(",", "")


def _line(row: LifetimeRow) -> dict[str, Any]:
    def mean(total: int) -> str:
        return f"¥{yuan(total // row.members)}" if row.members else "–"

    return {
        "name": queries.lifetime_name(row),
        "row": row,
        "again": f"{row.orders / row.buyers:.1f}" if row.buyers else "–",
        "kept": f"¥{yuan(row.kept_fen)}",
        "mean": mean(row.kept_fen),
        "share": round(100 * row.buyers / row.members) if row.members else 0,
        "expected_orders": f"{row.expected_orders_milli / 1000:,.1f}",
        "expected": f"¥{yuan(row.expected_fen)}",
        "mean_expected": mean(row.expected_fen),
    }


def _chart(rows: list[LifetimeRow]) -> str:
    """Columns: yuan per member until today, and expected of her in the next 90 days."""

    def columns(label: str, key: str, colour: str) -> dict[str, Any]:
        values = [round(getattr(row, key) / 100 / max(row.members, 1), 2) for row in rows]
        return {"label": label, "data": values, "backgroundColor": colour, "borderRadius": 3}

    return json.dumps(
        {
            "labels": [queries.lifetime_name(row)[:16] for row in rows],
            "datasets": [
                columns(_("paid and kept per member, yuan"), "kept_fen", "#10b981"),
                columns(_("expected per member in 90 days, yuan"), "expected_fen", "rgba(99,102,241,0.55)"),
            ],
        }
    )
