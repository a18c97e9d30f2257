"""What people changed, when, and from which page: pghistory's events of every tracked table as one list."""

from typing import Any

import pghistory.core
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from pghistory.models import Events
from unfold.decorators import display

from core.admin.base import ReadOnlyAdmin

LABELS = {"insert": _("created"), "update": _("changed"), "delete": _("deleted")}
LONGEST_VALUE = 60


class TableFilter(admin.SimpleListFilter):
    title = _("table")
    parameter_name = "table"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tracked = {getattr(model, "pgh_tracked_model", None) for model in pghistory.core.event_models()}
        return sorted((model._meta.label_lower, str(model._meta.verbose_name)) for model in tracked if model)

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        asked = self.value()
        if asked not in {name for name, _label in self.lookup_choices}:
            return queryset
        return queryset.across(*pghistory.core.event_models(tracks_model=apps.get_model(asked or "")))


Events._meta.verbose_name = _("edit")
Events._meta.verbose_name_plural = _("edit history")


@admin.register(Events)
class EventsAdmin(ReadOnlyAdmin):
    list_display = ["pgh_created", "thing", "what", "who", "differences"]
    list_filter = [TableFilter]
    ordering = ["-pgh_created_at"]
    list_display_links = None
    list_per_page = 30

    def get_queryset(self, request: HttpRequest) -> QuerySet[Events]:
        self.names: dict[int, str] = dict(
            User.objects.filter(is_staff=True).values_list("pk", "username")
        )  # one query instead of one per row
        return Events.objects.all()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The list says all there is to say for people; a single event's page would be raw columns."""
        return obj is None and bool(request.user.has_perm("pghistory.view_events"))

    @display(description=_("at"))
    def pgh_created(self, event: Events) -> Any:
        return event.pgh_created_at

    @display(description=_("what"))
    def thing(self, event: Events) -> str:
        return f"{apps.get_model(event.pgh_obj_model)._meta.verbose_name} #{event.pgh_obj_id}"

    @display(description=_("action"), label={"insert": "success", "update": "info", "delete": "danger"})
    def what(self, event: Events) -> tuple[str, Any]:
        return event.pgh_label, LABELS.get(event.pgh_label, event.pgh_label)

    @display(description=_("who"))
    def who(self, event: Events) -> Any:
        user = (event.pgh_context or {}).get("user")
        return self.names.get(user, f"#{user}") if user else _("the system")

    @display(description=_("changes"))
    def differences(self, event: Events) -> SafeString | str:
        model = apps.get_model(event.pgh_obj_model)
        return (
            format_html_join(
                "",
                "<div>{}: {} → {}</div>",
                (
                    (self._label(model, name), self._short(before), self._short(after))
                    for name, (before, after) in sorted((event.pgh_diff or {}).items())
                ),
            )
            or "–"
        )

    def _label(self, model: Any, name: str) -> str:
        try:
            return str(getattr(model._meta.get_field(name), "verbose_name", name))
        except FieldDoesNotExist:
            return name

    def _short(self, value: Any) -> str:
        text = "–" if value in (None, "") else str(value)
        return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
