"""The funnel as a picture: how many get from the cart to the money, and why the others stop."""

import datetime as dt
import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from core import clock, money
from core.admin import ReadOnlyAdmin
from shop import queries
from shop.models import FunnelStep

PERIODS = (7, 30, 90)
LONGEST_DAYS = 366


@admin.register(FunnelStep)
class FunnelAdmin(ReadOnlyAdmin):
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The facts of the funnel are looked at as one picture, for days of the shop's calendar."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        first, last = asked_days(request)
        counts = queries.funnel_counts(first, last)
        reminders = queries.reminders_between(first, last)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _("The way to the payment"),
            "opts": FunnelStep._meta,
            "first": first,
            "last": last,
            "days": (last - first).days + 1,
            "periods": [
                {"days": days, "current": last == clock.today() and (last - first).days + 1 == days}
                for days in PERIODS
            ],
            "stages": stages(counts),
            "chart": _chart(counts),
            "options": _options(),
            "has_facts": any(counts),
            "reasons": [_reason(row) for row in queries.funnel_reasons(first, last)][:12],
            "reminders": reminders,
            "reminded_yuan": money.yuan(reminders.paid_fen),
        }
        return TemplateResponse(request, "admin/shop/funnel.html", context)


def asked_days(request: HttpRequest) -> tuple[dt.date, dt.date]:
    """`from` and `until`, or `days` back from today; nonsense means the last 30 days."""
    today = clock.today()
    asked = request.GET.get("days", "")
    if asked in {str(days) for days in PERIODS}:
        return today - dt.timedelta(days=int(asked) - 1), today
    first, last = _day(request.GET.get("from")), _day(request.GET.get("until"))
    if first is None or last is None or first > last:
        return today - dt.timedelta(days=29), today
    return max(first, last - dt.timedelta(days=LONGEST_DAYS - 1)), last


def _day(text: str | None) -> dt.date | None:
    try:
        day = parse_date(text or "")
    except ValueError:
        return None
    return day if day and dt.date(2000, 1, 1) <= day <= dt.date(2200, 1, 1) else None


def _labels() -> list[str]:
    return [
        _("Cart, or bought at once"),
        _("Checkout opened"),
        _("Address there"),
        _("Order placed"),
        _("Payment sheet opened"),
        _("Payment completed"),
    ]


def stages(counts: list[int]) -> list[dict[str, Any]]:
    """Rows of the table: how many, of the stage before, of all, and how many were lost there. Shares in tenths of %."""
    rows = []
    for number, (label, count) in enumerate(zip(_labels(), counts, strict=True)):
        before = counts[number - 1] if number else count
        rows.append(
            {
                "label": label,
                "count": count,
                "of_before": _percent(count, before) if number else "",
                "of_all": _percent(count, counts[0]),
                "lost": before - count,
                "width": max(count * 100 // counts[0], 1) if counts[0] and count else 0,
            }
        )
    return rows


def _percent(part: int, whole: int) -> str:
    if not whole:
        return "–"
    tenths = (part * 1000 + whole // 2) // whole
    return f"{tenths // 10}.{tenths % 10}%"


def _reason(row: queries.Why) -> dict[str, Any]:
    kinds = {
        "no_address": _("No address, none typed"),
        "refused": _("Refused at checkout"),
        "left": _("Left the payment sheet"),
        "never_opened": _("Ordered, but never opened the payment"),
        "cancelled": _("Order cancelled"),
    }
    words = {
        "sold_out": _("sold out"),
        "price_changed": _("the price had changed"),
        "not_for_sale": _("no longer sold"),
        "bad_address": _("address not accepted"),
        "offer_gone": _("the special price was gone"),
        "coupon_refused": _("the coupon was not accepted"),
        "points_refused": _("not enough points"),
        "cancelled": _("closed it"),
        "failed": _("the payment failed"),
        "outside": _("not inside WeChat"),
    }
    return {"label": kinds[row.kind], "detail": words.get(row.reason, row.reason), "count": row.count}


def _chart(counts: list[int]) -> str:
    """Lying bars, from the widest to the narrowest."""
    return json.dumps(
        {
            "labels": _labels(),
            "datasets": [
                {
                    "label": _("Members"),
                    "data": counts,
                    "backgroundColor": ["#a7f3d0", "#6ee7b7", "#34d399", "#10b981", "#059669", "#047857"],
                    "borderRadius": 4,
                    "barPercentage": 0.9,
                    "categoryPercentage": 0.9,
                }
            ],
        }
    )


def _options() -> str:
    return json.dumps(
        {
            "indexAxis": "y",
            "responsive": True,
            "maintainAspectRatio": False,
            "animation": False,
            "plugins": {"legend": {"display": False}},
            "scales": {
                "x": {"beginAtZero": True, "ticks": {"precision": 0, "color": "#9ca3af"}, "grid": {}},
                "y": {"grid": {"display": False}, "ticks": {"color": "#6b7280"}},
            },
        }
    )
