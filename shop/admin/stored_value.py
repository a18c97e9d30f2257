"""Stored value: credits as facts; a new one is given through the service, with its reason."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import ReadOnlyAdmin
from shop import services
from shop.admin.fields import YuanField, actor_label, who, yuan_column
from shop.models import StoredValueCredit
from shop.services.stored_value import MOST_FEN


class CreditForm(forms.ModelForm):
    """The token makes a double click one credit."""

    principal_fen = YuanField(
        label=_("principal (¥)"), required=False, help_text=_("What the member has paid for.")
    )
    bonus_fen = YuanField(label=_("bonus (¥)"), required=False, help_text=_("What the shop adds."))
    bonus_expires_at = forms.SplitDateTimeField(
        label=_("bonus expires at"), required=False, widget=UnfoldAdminSplitDateTimeWidget()
    )
    reason = forms.CharField(
        label=_("reason"),
        max_length=120,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("The member reads it in her statement."),
    )
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    class Meta:
        model = StoredValueCredit
        fields = ["member", "principal_fen", "bonus_fen", "bonus_expires_at", "reason"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        for name in ("principal_fen", "bonus_fen"):
            values[name] = values.get(name) or 0
            if values[name] > MOST_FEN:
                self.add_error(name, _("Enter an amount between ¥0.01 and ¥100,000."))
        if not self.errors and values["principal_fen"] + values["bonus_fen"] == 0:
            raise forms.ValidationError(_("Enter an amount between ¥0.01 and ¥100,000."))
        expires_at = values.get("bonus_expires_at")
        if expires_at is not None and expires_at <= clock.now():
            self.add_error("bonus_expires_at", _("The bonus would be expired already."))
        return values


@admin.register(StoredValueCredit)
class StoredValueCreditAdmin(ReadOnlyAdmin):
    """Add permission is enough to credit; nobody changes a credit afterwards."""

    empty_hint = _("Stored value that members bought or were given appears here.")

    form = CreditForm
    list_display = ["member", "principal", "bonus", "reason", "done_by", "at"]
    list_filter = [("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["reason", "member__name"]
    search_help_text = _("Reason or member's name")
    autocomplete_fields = ["member"]
    ordering = ["-at", "-pk"]
    paginator = InfinitePaginator
    principal = yuan_column("principal_fen", _("principal"))
    bonus = yuan_column("bonus_fen", _("bonus"))
    done_by = actor_label

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return [
                "member", ("principal_fen", "bonus_fen"), "bonus_expires_at", "reason", "token"
            ]  # fmt: skip
        return ["member", ("principal", "bonus"), "bonus_expires_at", "reason", ("done_by", "at")]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["principal", "bonus", "done_by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredValueCredit]:
        return super().get_queryset(request).select_related("member")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("shop.add_storedvaluecredit"))

    def save_model(self, request: HttpRequest, obj: StoredValueCredit, form: Any, change: bool) -> None:
        given = form.cleaned_data
        credit = services.credit_stored_value(
            member_id=given["member"].pk,
            principal_fen=given["principal_fen"],
            bonus_fen=given["bonus_fen"],
            bonus_expires_at=given["bonus_expires_at"],
            reason=given["reason"],
            idempotency_key=given["token"],
            by=who(request),
            user_id=request.user.pk,
        )
        obj.pk = credit.pk
        messages.success(
            request,
            _("¥%(principal)s and a bonus of ¥%(bonus)s are on the member's balance.")
            % {"principal": money.yuan(credit.principal_fen), "bonus": money.yuan(credit.bonus_fen)},
        )

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """The sentence above says more than "was added successfully"."""
