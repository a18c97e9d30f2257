"""The queue of members who want their stored value back."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from core import money
from core.admin import ReadOnlyAdmin
from shop import queries, services
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import StoredValueRequest


class DeclineForm(BaseDialogForm):
    answer = forms.CharField(
        label=_("answer"),
        max_length=120,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("The member reads it."),
    )


@admin.register(StoredValueRequest)
class StoredValueRequestAdmin(ReadOnlyAdmin):
    """Paying back needs the permission to add a direct refund, declining the one to change a request."""

    empty_hint = _("Members who ask for their stored value back appear here.")
    list_display = ["member", "asked", "status", "went_back", "reason", "asked_at", "done_by"]
    list_filter = ["state", ("asked_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member", "user"]
    search_fields = ["member__name", "=member__id", "reason"]
    search_help_text = _("Member's name or number, or the reason")
    ordering = ["-asked_at", "-pk"]
    paginator = InfinitePaginator
    fields = [("member", "asked"), ("state", "asked_at"), "reason", "now", ("went_back", "decided_at"), "answer",
              "done_by"]  # fmt: skip
    readonly_fields = ["asked", "went_back", "now", "done_by"]
    actions_detail = ["pay_back", "decline"]
    asked = yuan_column("asked_fen", _("paid in when she asked"))
    went_back = yuan_column("paid_fen", _("went back"))
    done_by = actor_label

    @display(
        description=_("state"),
        ordering="state",
        label={"open": "warning", "paid": "success", "declined": "danger", "withdrawn": "default"},
    )
    def status(self, row: StoredValueRequest) -> tuple[str, str]:
        return row.state, str(row.get_state_display())

    @display(description=_("her balance now"))
    def now(self, row: StoredValueRequest) -> str:
        balance = queries.balance_for(row.member_id)
        return _("¥%(principal)s paid in, ¥%(bonus)s bonus, of it ¥%(held)s kept for unpaid orders") % {
            "principal": money.yuan(balance.principal),
            "bonus": money.yuan(balance.bonus),
            "held": money.yuan(balance.held),
        }

    def _may(self, request: HttpRequest, object_id: Any, permission: str) -> bool:
        return bool(
            request.user.has_perm(permission)
            and str(object_id).isdigit()
            and StoredValueRequest.objects.filter(pk=object_id, state=StoredValueRequest.OPEN).exists()
        )

    def has_pay_back_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, "shop.add_directrefund")

    def has_decline_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, "shop.change_storedvaluerequest")

    @action(
        description=_("Pay back"),
        url_path="pay-back",
        icon="undo",
        permissions=["pay_back"],
        dialog={
            "title": _("Pay her stored value back?"),
            "description": _(
                "What is left of her recharges of the last year goes back to her WeChat Pay, and the bonus that came "
                "with it is taken back. What came in another way is settled by hand."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Pay back"),
        },
    )
    def pay_back(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            row = services.pay_stored_value_back(
                request_id=int(object_id), by=who(request), user_id=request.user.pk
            )
            messages.success(
                request, _("¥%(amount)s is on its way back.") % {"amount": money.yuan(row.paid_fen)}
            )
        return self.to_page(object_id)

    @action(
        description=_("Decline"),
        url_path="decline",
        icon="block",
        permissions=["decline"],
        dialog={
            "title": _("Decline this request?"),
            "description": _("She reads your answer on the page of her balance."),
            "form_class": DeclineForm,
            "form_submit_text": _("Decline"),
        },
    )
    def decline(self, request: HttpRequest, form: DeclineForm, object_id: str) -> HttpResponse:
        with said(request):
            services.decline_stored_value_request(
                request_id=int(object_id),
                answer=form.cleaned_data["answer"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("She reads your answer."))
        return self.to_page(object_id)
