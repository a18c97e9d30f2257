"""Keys of the REST interface: made here, shown once, revoked here."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from core import tokens
from core.admin.base import BaseAdmin
from core.models import ApiToken
from core.scopes import SCOPES


class TokenForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        label=_("scopes"),
        choices=[(scope, name) for scope, (name, _permission) in SCOPES.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("Give a key only what its program needs."),
    )

    class Meta:
        model = ApiToken
        fields = ["name", "scopes"]
        widgets = {"name": UnfoldAdminTextInputWidget}


@admin.register(ApiToken)
class ApiTokenAdmin(BaseAdmin):
    form = TokenForm
    list_display = ["name", "beginning", "can", "created_at", "last_used_at", "state"]
    list_select_related = ["created_by"]
    search_fields = ["name", "prefix"]
    ordering = ["-pk"]
    actions = ["revoke"]
    readonly_fields = ["beginning", "created_by", "created_at", "last_used_at", "revoked_at"]

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:
        return ["name", "scopes", *(self.readonly_fields if obj else [])]

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name", "scopes"])
            return
        token, key = tokens.issue_token(name=obj.name, scopes=obj.scopes, created_by_id=request.user.pk)
        obj.pk = token.pk
        obj.__dict__.update(
            {name: value for name, value in token.__dict__.items() if not name.startswith("_")}
        )
        obj._state.adding = False
        self.message_user(
            request,
            format_html(
                '{} <code class="pond-key">{}</code>',
                _("Copy the key now, it is never shown again:"),
                key,
            ),
            messages.WARNING,
        )

    def has_delete_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False  # revoked keys stay, so that one can see what they were

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    @display(description=_("begins with"))
    def beginning(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @display(description=_("scopes"))
    def can(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @display(description=_("status"), label={"open": "success", "revoked": "danger"})
    def state(self, token: ApiToken) -> tuple[str, Any]:
        return ("revoked", _("revoked")) if token.revoked_at else ("open", _("valid"))

    @admin.action(description=_("Revoke for good"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        count = tokens.revoke_tokens(token_ids=list(queryset.values_list("pk", flat=True)))
        message = ngettext("%(count)d key was revoked.", "%(count)d keys were revoked.", count)
        self.message_user(request, message % {"count": count}, messages.SUCCESS)
