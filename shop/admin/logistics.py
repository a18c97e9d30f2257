"""Carriers, and the words in which buyers are told about their orders."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import BaseAdmin
from shop import logistics, services
from shop.models import Carrier, OrderMessage


@admin.register(Carrier)
class CarrierAdmin(BaseAdmin):
    list_display = ["name", "code", "phone", "position", "is_active"]
    list_editable = ["position"]
    list_filter = ["is_active"]
    search_fields = ["name", "code"]
    ordering = ["position", "pk"]
    fields = [("name", "code"), ("phone", "position"), "tracking_url", "is_active"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """A shop without any carrier gets the usual ones."""
        if not Carrier.objects.exists():
            services.add_usual_carriers()
        return super().changelist_view(request, extra_context)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "tracking_url" and field is not None:
            field.validators = [*field.validators, _check_address]
        return field


def _check_address(address: str) -> None:
    if not address.startswith("https://"):
        raise forms.ValidationError(_("The address begins with https://."))


class MessageForm(forms.ModelForm):
    def clean_text(self) -> str:
        return _checked(self.cleaned_data["text"])

    def clean_fields(self) -> dict[str, str]:
        given = self.cleaned_data["fields"]
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise forms.ValidationError(_('Write the fields like {"thing1": "{goods}"}.'))
        _checked(json.dumps(list(given.values()), ensure_ascii=False))
        return given

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        has_template = values.get("subscribe_template") or values.get("notice_template")
        if has_template and "fields" in values and not values["fields"]:
            self.add_error("fields", _("A template needs its fields."))
        return values


def _checked(text: str) -> str:
    if unknown := logistics.unknown_names(text):
        raise forms.ValidationError(
            _("Unknown: %(names)s.") % {"names": " ".join(f"{{{name}}}" for name in unknown)}
        )
    return text


@admin.register(OrderMessage)
class OrderMessageAdmin(BaseAdmin):
    form = MessageForm
    list_display = ["__str__", "is_active", "subscribe_template", "notice_template", "ways"]
    ordering = ["pk"]
    readonly_fields = ["kind"]
    fieldsets = [
        (None, {"fields": [("kind", "is_active")]}),
        (_("Template"), {"fields": [("subscribe_template", "notice_template"), "fields"]}),
        (_("Chat"), {"fields": ["uses_chat", "text"]}),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Every moment has its row."""
        OrderMessage.objects.bulk_create(
            [OrderMessage(kind=kind, uses_chat=kind != logistics.PAID) for kind in logistics.MESSAGE_KINDS],
            ignore_conflicts=True,
        )
        return super().changelist_view(request, extra_context)

    @display(description=_("ways"))
    def ways(self, row: OrderMessage) -> str:
        ways = [
            (row.subscribe_template, _("subscription")),
            (row.notice_template, _("template message")),
            (row.uses_chat, _("open chat")),
        ]
        return " → ".join(str(label) for there, label in ways if there) or "–"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
