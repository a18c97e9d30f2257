"""Money in and out as facts; what does not match stands out."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django_htmx.http import HttpResponseClientRedirect
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator

from core import money
from core.admin import ReadOnlyAdmin
from shop import services
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import Payment, Refund


class DifferenceFilter(admin.SimpleListFilter):
    title = _("difference")
    parameter_name = "difference"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("does not match"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        return queryset.exclude(difference="") if self.value() == "yes" else queryset


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = [
        "out_trade_no",
        "order",
        "kind",
        "amount",
        "state",
        "difference",
        "transaction_id",
        "created_at",
    ]
    list_filter = ["status", "kind", DifferenceFilter]
    list_select_related = ["order"]
    search_fields = ["out_trade_no"]
    search_help_text = _("Payment number, WeChat's number or order number")
    ordering = ["-created_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("out_trade_no", "order"),
        ("amount", "paid"),
        ("status", "kind"),
        ("account", "gift_card"),
        "difference",
        ("transaction_id", "openid"),
        ("created_at", "expires_at"),
        ("paid_at", "closed_at"),
        ("queries", "next_query_at"),
    ]
    readonly_fields = ["amount", "paid"]
    actions_detail = ["return_mismatch"]
    amount = yuan_column("amount_fen", _("sum of money"))
    paid = yuan_column("paid_fen", _("sum paid"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(out_trade_no=term) | Q(transaction_id=term) | Q(order__number=term)), False

    @display(
        description=_("status"),
        ordering="status",
        label={"open": "warning", "paid": "success", "closed": "default", "mismatch": "danger"},
    )
    def state(self, payment: Payment) -> tuple[str, str]:
        return payment.status, str(payment.get_status_display())

    def has_return_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            request.user.has_perm("shop.add_refund")
            and str(object_id).isdigit()
            and Payment.objects.filter(pk=object_id, status=Payment.MISMATCH).exists()
        )

    @action(
        description=_("Return this money"),
        url_path="return",
        icon="undo",
        permissions=["return"],
        dialog={
            "title": _("Return this money?"),
            "description": _("What was paid did not match the order. All of it goes back to the payer."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Return this money"),
        },
    )
    def return_mismatch(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = services.refund_mismatch(
                payment_id=int(object_id), by=who(request), user_id=request.user.pk
            )
            messages.success(
                request, _("¥%(amount)s is on its way back.") % {"amount": money.yuan(refund.amount_fen)}
            )
        return HttpResponseClientRedirect(reverse("admin:shop_payment_change", args=[object_id]))


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    empty_hint = _("Money that goes back appears here, with what WeChat says of it.")
    list_display = [
        "out_refund_no",
        "order",
        "kind",
        "amount",
        "state",
        "requested_at",
        "refunded_at",
        "last_error",
    ]
    list_filter = ["status", "kind"]
    list_select_related = ["order"]
    search_fields = ["out_refund_no"]
    search_help_text = _("Refund number, WeChat's number or order number")
    ordering = ["-requested_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("out_refund_no", "amount"),
        ("order", "payment"),
        ("kind", "status"),
        ("reason", "done_by"),
        "last_error",
        "refund_id",
        ("attempts", "next_attempt_at"),
        ("requested_at", "refunded_at"),
    ]
    readonly_fields = ["amount", "done_by"]
    done_by = actor_label
    actions = ["send_again"]
    amount = yuan_column("amount_fen", _("sum of money"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refund], search_term: str
    ) -> tuple[QuerySet[Refund], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(out_refund_no=term) | Q(refund_id=term) | Q(order__number=term)), False

    @display(
        description=_("status"),
        ordering="status",
        label={
            "pending": "warning",
            "processing": "info",
            "success": "success",
            "abnormal": "danger",
            "closed": "danger",
        },
    )
    def state(self, refund: Refund) -> tuple[str, str]:
        return refund.status, str(refund.get_status_display())

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("shop.add_refund"))

    @admin.action(description=_("Send or ask again now"), permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        with said(request):
            count = services.retry_refunds(
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
