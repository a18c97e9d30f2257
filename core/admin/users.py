"""Colleagues' logins and roles."""

from typing import Any

import pghistory.core
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from core.admin.base import BaseAdmin
from core.admin.edits import Edited
from core.admin.forged import Guarded

admin.site.unregister(User)
admin.site.unregister(Group)
Group._meta.verbose_name = _("role")
Group._meta.verbose_name_plural = _("roles")

DEEDS = {"add": _("add"), "change": _("change"), "delete": _("delete"), "view": _("view")}
HIDDEN_APPS = ("admin", "contenttypes", "sessions", "axes")


def permission_label(permission: Permission) -> str:
    """ "Members · tag: view" in the language of whoever looks; Django keeps the names as English rows."""
    model = permission.content_type.model_class()
    if model is None:
        return permission.name
    deed = DEEDS.get(permission.codename.removesuffix(f"_{model._meta.model_name}"))
    own = dict(model._meta.permissions)
    words = deed or own.get(permission.codename) or permission.name
    app = apps.get_app_config(model._meta.app_label).verbose_name
    return f"{app} · {model._meta.verbose_name}：{words}"


class Chooser:
    """Roles and rights are chosen by typing: Django's two boxes are wider than the page and half in English."""

    filter_horizontal: Any = ()

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]
        field.widget = (
            UnfoldAdminSelect2MultipleWidget()
        )  # afterwards: unfold puts its plain select's class on any
        field.widget.choices = field.choices
        if db_field.remote_field.model is Permission:
            recorded = {model._meta.model_name for model in pghistory.core.event_models()}
            field.queryset = (
                Permission.objects.select_related("content_type")
                .exclude(content_type__app_label__in=HIDDEN_APPS)
                .exclude(content_type__model__in=recorded)
                .order_by("content_type__app_label", "content_type__model", "codename")
            )
            field.label_from_instance = permission_label
        else:
            field.label = capfirst(db_field.remote_field.model._meta.verbose_name_plural)
        field.help_text = ""
        return field


@admin.register(User)
class UserAdmin(Chooser, Edited, Guarded, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(Chooser, Edited, Guarded, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessAttempt)
class AccessAttemptAdmin(BaseAdmin):
    """Wrong passwords of a name and an address. Deleting a row lets its person try again at once."""

    empty_hint = _("Names and addresses that gave a wrong password appear here.")
    list_display = ["username", "ip_address", "failures_since_start", "attempt_time"]
    search_fields = ["username", "ip_address"]
    ordering = ["-attempt_time"]
    fields = readonly_fields = [*list_display, "user_agent", "path_info"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
