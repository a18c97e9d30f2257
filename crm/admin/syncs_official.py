"""The tags that official accounts keep the same as we: which, where, how many carry them, and why one is not there."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import BaseAdmin
from core.errors import Refusal
from crm import services
from crm.models import OfficialTag


class OfficialTagForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        """What WeChat would refuse is refused here."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                services.check_official_tag(account_id=values["account"].pk, tag_id=values["tag"].pk)
            except Refusal as refusal:
                self.add_error("tag", refusal.message)
        return values


@admin.register(OfficialTag)
class OfficialTagAdmin(BaseAdmin):
    form = OfficialTagForm
    list_display = ["tag_name", "account", "name", "count", "state"]
    list_filter = ["account"]
    list_select_related = ["account", "tag__group"]
    search_fields = ["tag__name"]
    autocomplete_fields = ["tag"]
    ordering = ["account", "tag__name"]
    fieldsets = [
        (
            None,
            {
                "fields": ["account", "tag"],
                "description": _(
                    "It is made there in a moment and given to all who carry it here. What is changed there comes in "
                    "a few times a day, or when you read it in the sync doctor."
                ),
            },
        )
    ]
    empty_hint = _("Share a tag with an official account: WeChat keeps up to 100 in each, 20 on a follower.")

    @display(description=_("tag"), ordering="tag__name")
    def tag_name(self, link: OfficialTag) -> str:
        return str(link.tag)

    @display(
        description=_("status"),
        label={"error": "danger", "going": "warning", "waiting": "info", "shared": "success"},
    )
    def state(self, link: OfficialTag) -> tuple[str, Any]:
        if link.error:
            return "error", link.error
        if not link.is_wanted:
            return "going", _("is deleted there soon")
        return ("shared", _("shared")) if link.official_id else ("waiting", _("is made there soon"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: OfficialTag, form: Any, change: bool) -> None:
        obj.pk = services.share_official_tag(account_id=obj.account_id, tag_id=obj.tag_id).pk

    def delete_model(self, request: HttpRequest, obj: OfficialTag) -> None:
        services.unshare_official_tag(link_id=obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for pk in queryset.values_list("pk", flat=True):
            services.unshare_official_tag(link_id=pk)
