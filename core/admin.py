"""The base of every admin page, and the system's own pages: deliveries, jobs."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from core import events
from core.models import EventDelivery, Job


class BaseAdmin(ModelAdmin):
    """unfold's page with our habits: no full counts on big tables, filters that stay, compressed fields."""

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = False
    warn_unsaved_form = True
    compressed_fields = True
    preserve_filters = True


class ReadOnlyAdmin(BaseAdmin):
    """Facts: to look at, never to edit."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(EventDelivery)
class EventDeliveryAdmin(ReadOnlyAdmin):
    list_display = ["event", "handler", "status", "attempts", "next_attempt_at", "last_error"]
    list_filter = ["status", "queue"]
    list_select_related = ["event"]
    search_fields = ["event__key", "handler"]
    actions = ["retry"]

    @admin.action(description=_("Retry"))
    def retry(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> None:
        count = events.retry(delivery_ids=list(queryset.values_list("pk", flat=True)))
        message = ngettext(
            "%(count)d delivery will be tried again.", "%(count)d deliveries will be tried again.", count
        )
        self.message_user(
            request, message % {"count": count}, messages.SUCCESS if count else messages.WARNING
        )


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["kind", "status", "done", "total", "created_at", "finished_at", "created_by"]
    list_filter = ["status", "kind"]
    list_select_related = ["created_by"]


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
