"""What the pages of money have in common, whether an order stands behind it or not: search, return, send again."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator

from core import money
from core.admin import ReadOnlyAdmin
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models.money import MoneyIn, MoneyOut

PAYMENT_COLOURS = {"open": "warning", "paid": "success", "closed": "default", "mismatch": "danger"}
REFUND_COLOURS = {
    "pending": "warning",
    "processing": "info",
    "success": "success",
    "abnormal": "danger",
    "closed": "danger",
    "outside": "default",
}


class DifferenceFilter(admin.SimpleListFilter):
    title = _("difference")
    parameter_name = "difference"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("does not match"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[MoneyIn]) -> QuerySet[MoneyIn]:
        return queryset.exclude(difference="") if self.value() == "yes" else queryset


class MoneyAdmin(ReadOnlyAdmin):
    """Facts that are found by one of their numbers; `refund_permission` is what giving money back needs."""

    paginator = InfinitePaginator
    refund_permission: ClassVar[str]
    amount = yuan_column("amount_fen", _("sum of money"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By whole numbers, each with its index: `=number` in `search_fields`; else a part of a text."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q()
        for field in map(str, self.get_search_fields(request)):
            wanted |= Q(**{field[1:]: term} if field.startswith("=") else {f"{field}__icontains": term})
        return queryset.filter(wanted), False

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.refund_permission))


class MoneyInAdmin(MoneyAdmin):
    """Payments; what does not match can be returned to the payer."""

    ordering = ["-created_at", "-pk"]
    readonly_fields = ["amount", "paid", "returned"]
    actions_detail = ["return_mismatch"]
    paid = yuan_column("paid_fen", _("sum paid"))
    returned = yuan_column("refunded_fen", _("refunded"))

    @display(description=_("status"), ordering="status", label=PAYMENT_COLOURS)
    def state(self, payment: MoneyIn) -> tuple[str, str]:
        return payment.status, str(payment.get_status_display())

    def give_back(self, *, payment_id: int, by: str, user_id: int | None) -> MoneyOut:
        """The command that returns money that does not match."""
        raise NotImplementedError

    def has_return_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            self.has_send_permission(request)
            and str(object_id).isdecimal()
            and self.model.objects.filter(pk=object_id, status=MoneyIn.MISMATCH).exists()
        )

    @action(
        description=_("Return this money"),
        url_path="return",
        icon="undo",
        permissions=["return"],
        dialog={
            "title": _("Return this money?"),
            "description": _("What was paid did not match. All of it goes back to the payer."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Return this money"),
        },
    )
    def return_mismatch(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = self.give_back(payment_id=int(object_id), by=who(request), user_id=request.user.pk)
            messages.success(
                request, _("¥%(amount)s is on its way back.") % {"amount": money.yuan(refund.amount_fen)}
            )
        return self.to_page(object_id)


class MoneyOutAdmin(MoneyAdmin):
    """Refunds, which can be sent again."""

    ordering = ["-requested_at", "-pk"]
    readonly_fields = ["amount", "done_by"]
    actions = ["send_again"]
    done_by = actor_label

    @display(description=_("status"), ordering="status", label=REFUND_COLOURS)
    def state(self, refund: MoneyOut) -> tuple[str, str]:
        return refund.status, str(refund.get_status_display())

    def retry(self, *, refund_ids: list[int], by: str, user_id: int | None) -> int:
        """The command that sends them again; how many it found."""
        raise NotImplementedError

    @admin.action(description=_("Send or ask again now"), permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with said(request):
            count = self.retry(
                refund_ids=list(queryset.values_list("pk", flat=True)),
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(
                request,
                ngettext(
                    "%(count)d refund will be tried again.", "%(count)d refunds will be tried again.", count
                )
                % {"count": count},
            )
