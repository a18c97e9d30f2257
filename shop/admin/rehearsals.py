"""Rehearsals: how far one is, what the promotion would have cost, and which orders it would make free."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core import money
from core.admin import ReadOnlyAdmin
from core.admin.jobs import STATE_COLOURS, progress_bar, progress_context
from shop.admin.fields import yuan_column
from shop.models import Rehearsal


@admin.register(Rehearsal)
class RehearsalAdmin(ReadOnlyAdmin):
    empty_hint = _("Open a promotion, also a draft, and rehearse it on the orders of the last month.")
    list_display = [
        "promotion",
        "state",
        "bar",
        "orders_count",
        "changed_count",
        "free_count",
        "discount",
        "created_at",
    ]
    list_filter = ["promotion"]
    list_select_related = ["promotion", "job"]
    search_fields = ["promotion__title"]
    ordering = ["-pk"]

    @display(description=_("status"), label=STATE_COLOURS)
    def state(self, rehearsal: Rehearsal) -> tuple[str, Any]:
        return (rehearsal.job.status, rehearsal.job.get_status_display()) if rehearsal.job else ("done", "–")

    @display(description=_("progress"))
    def bar(self, rehearsal: Rehearsal) -> SafeString | str:
        return progress_bar(rehearsal.job)

    discount = yuan_column("discount_fen", _("discount cost"))
    discount.admin_order_field = None  # type: ignore[attr-defined]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one rehearsal; it looks again by itself while the job runs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rehearsal = get_object_or_404(
            Rehearsal.objects.select_related("promotion", "job"), pk=object_id if object_id.isdecimal() else 0
        )
        context = {
            **self.admin_site.each_context(request),
            **progress_context(rehearsal.job),
            "title": _("Rehearsal of %(promotion)s") % {"promotion": rehearsal.promotion.title},
            "opts": self.opts,
            "rehearsal": rehearsal,
            "figures": _figures(rehearsal),
            "examples": [
                {**one, "address": reverse("admin:shop_order_change", args=[one["id"]])} | _amounts(one)
                for one in rehearsal.examples
            ],
        }
        return TemplateResponse(request, "admin/shop/rehearsals_progress.html", context)


def _amounts(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "before": money.yuan(one["before_fen"]),
        "after": money.yuan(one["after_fen"]),
        "off": money.yuan(one["before_fen"] - one["after_fen"]),
        "gifts": money.yuan(one["gifts_fen"]) if one["gifts_fen"] else "",
        "is_free": one["after_fen"] == 0,
    }


def _figures(rehearsal: Rehearsal) -> list[tuple[Any, str]]:
    """Label and value; the margin only over goods whose cost price is known."""
    figures: list[tuple[Any, str]] = [
        (_("orders looked at"), str(rehearsal.orders_count)),
        (_("orders changed"), str(rehearsal.changed_count)),
        (_("orders for free"), str(rehearsal.free_count)),
        (_("discount cost"), f"¥{money.yuan(rehearsal.discount_fen)}"),
        (_("goods of these orders before"), f"¥{money.yuan(rehearsal.before_fen)}"),
        (_("and with it"), f"¥{money.yuan(rehearsal.after_fen)}"),
    ]
    if rehearsal.gifts_fen:
        figures.append((_("gifts at their price"), f"¥{money.yuan(rehearsal.gifts_fen)}"))
    costed_fen = rehearsal.after_fen - rehearsal.uncosted_fen
    if rehearsal.cost_fen and costed_fen > 0:
        margin = costed_fen - rehearsal.cost_fen
        figures.append((_("margin left"), f"¥{money.yuan(margin)} ({margin * 100 / costed_fen:.1f} %)"))
    if rehearsal.uncosted_fen:
        figures.append((_("of goods without a cost price"), f"¥{money.yuan(rehearsal.uncosted_fen)}"))
    return figures
