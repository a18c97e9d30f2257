"""The house's own fields: what they are called, and what they hold of one member."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import BaseAdmin
from core.errors import Refusal
from crm import queries, services
from crm.models import MemberField, MemberFieldValue
from crm.queries.fields import fields_of


class MemberFieldForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        given = values.get("choices") or []
        choices = list(dict.fromkeys(choice.strip() for choice in given if choice.strip()))
        values["choices"] = choices
        if values.get("kind", self.instance.kind) == MemberField.CHOICE:
            if not choices:
                self.add_error("choices", _("A choice needs something to choose from."))
        elif choices:
            self.add_error("choices", _("Only a choice has choices."))
        return values


@admin.register(MemberField)
class MemberFieldAdmin(BaseAdmin):
    form = MemberFieldForm
    list_display = ["name", "kind_label", "offered", "sort", "is_active"]
    list_filter = ["kind", "is_active"]
    search_fields = ["name"]
    fields = ["name", "kind", "choices", "sort", "is_active"]
    empty_hint = _("A field of your own (skin type, shoe size, children) is shown on every member's page.")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["kind"] if obj is not None else []  # its values could not be read any more

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and MemberFieldValue.objects.filter(field=obj).exists():
            return False  # switch it off: what is known stays
        return super().has_delete_permission(request, obj)

    @display(description=_("kind"), ordering="kind")
    def kind_label(self, field: MemberField) -> str:
        return str(field.get_kind_display())

    @display(description=_("choices"))
    def offered(self, field: MemberField) -> str:
        return "、".join(field.choices) or "–"


def change_her_fields(admin: Any, request: HttpRequest, member_id: int) -> HttpResponse:
    """A form of all fields; POST field-ID=text saves all of them or says what does not fit."""
    if not admin.has_change_permission(request):
        raise PermissionDenied
    member = queries.find_member(member_id)
    if member is None:
        raise Http404
    here = reverse("admin:crm_member_change", args=[member.pk])
    typed: dict[int, str] = {}
    error = ""
    if request.method == "POST":
        typed = {
            int(name[6:]): request.POST[name]
            for name in request.POST
            if name.startswith("field-") and name[6:].isascii() and name[6:].isdigit() and len(name) < 24
        }
        try:
            services.set_fields(member_id=member.pk, values=typed)
        except Refusal as refusal:
            error = refusal.message
        else:
            admin.message_user(request, _("What you know of her was saved."), messages.SUCCESS)
            return HttpResponseRedirect(here)
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": member.name or str(member),
        "member": member,
        "original": member,
        "error": error,
        "here": here,
        "fields": [
            {"field": field, "text": typed.get(field.field_id, _typed(field))}
            for field in fields_of(member.pk)
        ],
    }
    return TemplateResponse(request, "crm/fields.html", context, status=400 if error else 200)


def _typed(field: Any) -> str:
    return field.shown.replace(",", "") if field.kind == MemberField.NUMBER else field.shown
