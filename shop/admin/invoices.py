"""Invoices as a queue: staff issues them in the tax system and enters number and PDF here."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from core import money
from core.admin import BaseAdmin
from core.errors import Refusal
from shop import services
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import Invoice


class IssueForm(forms.ModelForm):
    """Number and PDF of the invoice; carried out while the form is checked, so that a refusal stands beside it."""

    request: HttpRequest

    class Meta:
        model = Invoice
        fields = ["number", "file"]
        widgets = {"number": UnfoldAdminTextInputWidget, "file": UnfoldAdminFileFieldWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "number" in self.fields:
            self.fields["number"].required = True
            self.fields["number"].help_text = _("Entering it tells the shopper that the invoice is issued.")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("number"):
            try:
                services.issue_invoice(
                    invoice_id=self.instance.pk,
                    number=cleaned["number"],
                    file=cleaned.get("file") or None,
                    by=who(self.request),
                    user_id=self.request.user.pk,
                )
            except Refusal as refusal:
                raise forms.ValidationError(refusal.message) from refusal
        return cleaned


class RefuseInvoiceForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("reason, which the shopper reads"), max_length=200, widget=UnfoldAdminTextInputWidget()
    )


class RefundedSinceFilter(admin.SimpleListFilter):
    title = _("refunded since")
    parameter_name = "refunded"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("amount no longer right: needs a red invoice"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> QuerySet[Invoice]:
        if self.value() == "yes":
            left = F("order__paid_fen") - F("order__refunded_fen")
            return queryset.filter(status=Invoice.ISSUED, amount_fen__gt=left)
        return queryset


@admin.register(Invoice)
class InvoiceAdmin(BaseAdmin):
    empty_hint = _("Invoices that shoppers ask for appear here.")
    form = IssueForm
    list_display = ["payer", "kind", "amount", "state", "order", "number", "requested_at"]
    list_filter = ["status", "kind", RefundedSinceFilter]
    list_select_related = ["order"]
    search_fields = ["title"]
    search_help_text = _("Title, tax number, invoice number or order number")
    ordering = ["-requested_at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("title", "kind"),
        ("tax_number", "email"),
        ("amount", "order_link"),
        ("status", "answer"),
        ("number", "file"),
        ("requested_at", "answered_at"),
        "done_by",
    ]
    readonly_fields = [
        *("title", "kind", "tax_number", "email", "amount", "order_link", "status", "answer"),
        *("requested_at", "answered_at", "done_by"),
    ]
    amount = yuan_column("amount_fen", _("sum of money"))
    done_by = actor_label
    actions_detail = ["refuse", "mark_reversed"]

    @display(description=_("invoice title"), header=True, ordering="title")
    def payer(self, invoice: Invoice) -> list[str]:
        return [invoice.title, invoice.tax_number]

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        waits = obj is None or obj.status == Invoice.REQUESTED
        return waits and bool(super().has_change_permission(request, obj))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return self.fields
        return [("number", "pdf") if pair == ("number", "file") else pair for pair in self.fields or []]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return self.readonly_fields
        return [*self.readonly_fields, "number", "pdf"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change=change, **kwargs)
        made.request = request
        return made

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """The form has carried out the command already."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        return super().get_queryset(request).select_related("order")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Invoice], search_term: str
    ) -> tuple[QuerySet[Invoice], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(title__contains=term) | Q(tax_number=term.upper()) | Q(number=term) | Q(order__number=term)
        return queryset.filter(found), False

    def get_urls(self) -> list[Any]:
        file = path("<int:pk>/file/", self.admin_site.admin_view(self.file), name="shop_invoice_file")
        return [file, *super().get_urls()]

    def file(self, request: HttpRequest, pk: int) -> FileResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        invoice = get_object_or_404(Invoice, pk=pk)
        if not invoice.file:
            raise Http404
        return FileResponse(
            invoice.file.open("rb"), content_type="application/pdf", filename=f"{invoice.number}.pdf"
        )

    @display(
        description=_("status"),
        ordering="status",
        label={"requested": "warning", "issued": "success", "refused": "default"},
    )
    def state(self, invoice: Invoice) -> tuple[str, str]:
        word = _("reversed") if invoice.is_reversed else invoice.get_status_display()
        return invoice.status, str(word)

    @admin.display(description=_("order"))
    def order_link(self, invoice: Invoice) -> str:
        return format_html(
            '<a href="{}">{}</a> · {}',
            reverse("admin:shop_order_change", args=[invoice.order_id]),
            invoice.order.number,
            _("paid ¥%(paid)s, refunded ¥%(refunded)s")
            % {
                "paid": money.yuan(invoice.order.paid_fen),
                "refunded": money.yuan(invoice.order.refunded_fen),
            },
        )

    @admin.display(description=_("PDF"))
    def pdf(self, invoice: Invoice) -> str:
        if not invoice.file:
            return "–"
        address = reverse("admin:shop_invoice_file", args=[invoice.pk])
        return format_html('<a href="{}" target="_blank">{}.pdf</a>', address, invoice.number)

    def has_answer_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            request.user.has_perm("shop.change_invoice")
            and str(object_id).isdecimal()
            and Invoice.objects.filter(pk=object_id, status=Invoice.REQUESTED).exists()
        )

    @action(
        description=_("Refuse"),
        url_path="refuse",
        icon="block",
        permissions=["answer"],
        dialog={
            "title": _("Refuse this request?"),
            "description": _("The shopper reads your reason and may ask again."),
            "form_class": RefuseInvoiceForm,
            "form_submit_text": _("Refuse"),
        },
    )
    def refuse(self, request: HttpRequest, form: RefuseInvoiceForm, object_id: str) -> HttpResponse:
        with said(request):
            services.refuse_invoice(
                invoice_id=int(object_id),
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The request is refused."))
        return self.to_page(object_id)

    def has_reverse_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            request.user.has_perm("shop.change_invoice")
            and str(object_id).isdecimal()
            and Invoice.objects.filter(pk=object_id, status=Invoice.ISSUED).exists()
        )

    @action(
        description=_("Was reversed"),
        url_path="reverse",
        icon="undo",
        permissions=["reverse"],
        dialog={
            "title": _("Was this invoice reversed in the tax system?"),
            "description": _(
                "Issue the red invoice there first. The shopper reads your reason and may ask for a new invoice over "
                "what is left. This cannot be undone."
            ),
            "form_class": RefuseInvoiceForm,
            "form_submit_text": _("It was reversed"),
        },
    )
    def mark_reversed(self, request: HttpRequest, form: RefuseInvoiceForm, object_id: str) -> HttpResponse:
        with said(request):
            services.reverse_invoice(
                invoice_id=int(object_id),
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The invoice is marked as reversed."))
        return self.to_page(object_id)
