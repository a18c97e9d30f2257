"""After-sales as a queue: what waits for the shop comes first; every answer is asked for once more."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from core import clock, money
from core.admin import ReadOnlyAdmin, TabularInline
from shop import aftersales_rules as rules
from shop import services
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import AfterSale, AfterSaleLine, AfterSaleLog, AfterSalePhoto, Refund

LABELS = {
    "applied": "warning",
    "approved": "info",
    "refused": "default",
    "returned": "warning",
    "received": "primary",
    "refunding": "info",
    "refunded": "success",
    "exchanged": "success",
    "closed": "default",
}


class ApproveForm(BaseDialogForm):
    """`return_address` empty: the warehouse's."""

    answer = forms.CharField(
        label=_("answer to the shopper"),
        max_length=300,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    return_address = forms.CharField(
        label=_("return address (empty: the warehouse)"),
        max_length=300,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )


class RefuseForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("reason, which the shopper reads"),
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class ReceiveForm(BaseDialogForm):
    is_sellable = forms.BooleanField(
        label=_("can be sold again: back on the shelf"),
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
    )
    note = forms.CharField(
        label=_("note"), max_length=300, required=False, widget=UnfoldAdminTextInputWidget()
    )


class RefundInsteadForm(BaseDialogForm):
    answer = forms.CharField(
        label=_("answer to the shopper"),
        max_length=300,
        initial=_("What you wanted instead is no longer to be had. Your money goes back the way you paid."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


class ParcelForm(BaseDialogForm):
    carrier = forms.CharField(
        label=_("carrier"), max_length=40, initial="顺丰速运", widget=UnfoldAdminTextInputWidget()
    )
    tracking_number = forms.CharField(
        label=_("tracking number"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("When several stores send, the number of each, with commas between them."),
    )


class RowInline(TabularInline):
    extra = 0
    can_delete = False
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AfterSaleLineInline(RowInline):
    model = AfterSaleLine
    fields = readonly_fields = ["goods", "quantity", "of", "amount", "new_sku", "sender"]
    amount = yuan_column("amount_fen", _("gives back"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AfterSaleLine]:
        return (
            super()
            .get_queryset(request)
            .select_related("line__sku", "line__store", "new_sku__product", "new_store", "held_sku")
        )

    @admin.display(description=_("sent from"))
    def sender(self, row: AfterSaleLine) -> str:
        return str((row.new_store or row.line.store or "–") if row.new_sku_id else "–")

    @admin.display(description=_("product"))
    def goods(self, row: AfterSaleLine) -> str:
        return f"{row.line.product_name} {row.variant} · {(row.held_sku or row.line.sku).code}"

    @admin.display(description=_("sold and given back"))
    def of(self, row: AfterSaleLine) -> str:
        return _("%(sold)d sold, %(back)d back") % {
            "sold": row.line.quantity,
            "back": row.line.refunded_quantity,
        }


class AfterSaleLogInline(RowInline):
    model = AfterSaleLog
    fields = readonly_fields = ["at", "status", "done_by", "note"]
    done_by = actor_label
    verbose_name_plural = _("log")


class AfterSaleRefundInline(RowInline):
    model = Refund
    fields = readonly_fields = ["out_refund_no", "amount", "status", "requested_at", "last_error"]
    show_change_link = True
    amount = yuan_column("amount_fen", _("sum of money"))


class WaitingFilter(admin.SimpleListFilter):
    title = _("waits for")
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("shop", _("the shop")),
            ("late", _("the shop, due within a day")),
            ("shopper", _("the shopper")),
            ("over", _("nobody: it is over")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AfterSale]) -> QuerySet[AfterSale]:
        shop = Q(status__in=[rules.APPLIED, rules.RETURNED, rules.RECEIVED]) | Q(
            status=rules.APPROVED, due_at=None
        )
        match self.value():
            case "shop":
                return queryset.filter(shop)
            case "late":
                return queryset.filter(shop, due_at__lte=clock.now() + rules.ANSWER_TIME / 2)
            case "shopper":
                return queryset.filter(status=rules.APPROVED, due_at__isnull=False)
            case "over":
                return queryset.filter(status__in=rules.OVER)
        return queryset


@admin.register(AfterSale)
class AfterSaleAdmin(ReadOnlyAdmin):
    empty_hint = _("Requests for refunds, returns and exchanges appear here.")
    list_display = ["number", "buyer", "kind", "goods", "amount", "state", "due_at", "applied_at"]
    list_filter = [WaitingFilter, "status", "kind"]
    list_select_related = ["order__member"]
    search_fields = ["number"]
    search_help_text = _("Number, order number, return parcel or phone")
    ordering = ["-applied_at", "-pk"]
    paginator = InfinitePaginator
    inlines = [AfterSaleLineInline, AfterSaleLogInline, AfterSaleRefundInline]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("number", "state_text"),
                    ("kind", "order_link"),
                    ("amount", "was_shipped"),
                    ("reason", "description"),
                    "pictures",
                ]
            },
        ),
        (
            _("The way back"),
            {
                "fields": [
                    "answer",
                    "return_address",
                    ("carrier", "tracking_number"),
                    ("new_carrier", "new_tracking_number"),
                    "restocked_at",
                ]
            },
        ),
        (_("Times"), {"fields": [("applied_at", "due_at"), "finished_at"]}),
    ]
    readonly_fields = ["state_text", "order_link", "amount", "pictures"]
    actions_detail = ["approve", "refuse", "receive", "ship_instead", "refund_instead", "pay_again"]

    @admin.display(description=_("gives back"), ordering="amount_fen")
    def amount(self, aftersale: AfterSale) -> str:
        return "–" if aftersale.kind == rules.EXCHANGE else f"¥{money.yuan(aftersale.amount_fen)}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[AfterSale]:
        return super().get_queryset(request).select_related("order__member").prefetch_related("lines__line")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AfterSale], search_term: str
    ) -> tuple[QuerySet[AfterSale], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(number__startswith=term) | Q(tracking_number=term) | Q(order__phone=term)
        return queryset.filter(found), False

    def get_urls(self) -> list[Any]:
        photo = path("photos/<int:pk>/", self.admin_site.admin_view(self.photo), name="shop_aftersale_photo")
        return [photo, *super().get_urls()]

    def photo(self, request: HttpRequest, pk: int) -> FileResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        file = get_object_or_404(AfterSalePhoto, pk=pk).file
        return FileResponse(file.open("rb"), content_type="image/jpeg")

    @display(description=_("buyer"))
    def buyer(self, aftersale: AfterSale) -> str:
        return str(aftersale.order.member or aftersale.order.receiver)

    @display(description=_("goods"), header=True)
    def goods(self, aftersale: AfterSale) -> list[str]:
        names = "、".join(f"{row.line.product_name} ×{row.quantity}" for row in aftersale.lines.all())
        return [names, aftersale.reason]

    @display(description=_("status"), label=LABELS, ordering="status")
    def state(self, aftersale: AfterSale) -> tuple[str, str]:
        return aftersale.status, str(aftersale.get_status_display())

    @admin.display(description=_("status"))
    def state_text(self, aftersale: AfterSale) -> str:
        return str(aftersale.get_status_display())

    @admin.display(description=_("order"))
    def order_link(self, aftersale: AfterSale) -> str:
        return format_html(
            '<a href="{}">{}</a> · {}',
            reverse("admin:shop_order_change", args=[aftersale.order_id]),
            aftersale.order.number,
            aftersale.order.status_label,
        )

    @admin.display(description=_("photos"))
    def pictures(self, aftersale: AfterSale) -> str:
        shown = [
            (address, address)
            for photo in aftersale.photos.all()
            for address in [reverse("admin:shop_aftersale_photo", args=[photo.pk])]
        ]
        return format_html_join(
            " ",
            '<a href="{}" target="_blank"><img src="{}" alt="" width="120" height="120" '
            'style="display:inline-block;border-radius:8px;object-fit:cover"></a>',
            shown,
        ) or str(_("no photos"))

    # Which buttons it offers; the services decide again under lock.
    def _is(self, request: HttpRequest, object_id: Any, *states: str, kinds: tuple[str, ...] = ()) -> bool:
        known: dict[str, AfterSale | None] = request.__dict__.setdefault("_aftersales", {})
        key = str(object_id)
        if key not in known:
            known[key] = AfterSale.objects.filter(pk=int(key)).first() if key.isdecimal() else None
        row = known[key]
        return (
            bool(request.user.has_perm("shop.change_aftersale"))
            and row is not None
            and row.status in states
            and (not kinds or row.kind in kinds)
        )

    def has_approve_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.APPLIED)

    def has_refuse_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.APPLIED, rules.RETURNED)

    def has_receive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.RETURNED)

    def has_ship_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.RECEIVED, kinds=(rules.EXCHANGE,))

    def has_refund_instead_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.RECEIVED, kinds=(rules.EXCHANGE,))

    def has_pay_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._is(request, object_id, rules.APPROVED, kinds=(rules.REFUND_ONLY, rules.PRICE_PROTECTION)) or (
            self._is(request, object_id, rules.RECEIVED, kinds=(rules.RETURN_REFUND,))
        )  # fmt: skip

    @action(
        description=_("Approve"),
        url_path="approve",
        icon="check_circle",
        permissions=["approve"],
        dialog={
            "title": _("Approve this application?"),
            "description": _(
                "Money back only and price protection: the money leaves at once and cannot be called back. "
                "Return and exchange: the shopper is asked to send the goods."
            ),
            "form_class": ApproveForm,
            "form_submit_text": _("Approve"),
        },
    )
    def approve(self, request: HttpRequest, form: ApproveForm, object_id: str) -> HttpResponse:
        with said(request):
            made = services.approve_aftersale(
                aftersale_id=int(object_id), by=who(request), user_id=request.user.pk, **_values(form)
            )
            messages.success(request, _("It is now: %(status)s.") % {"status": made.get_status_display()})
        return self.to_page(object_id)

    @action(
        description=_("Refuse"),
        url_path="refuse",
        icon="block",
        permissions=["refuse"],
        dialog={
            "title": _("Refuse this application?"),
            "description": _("The shopper reads your reason and may apply again."),
            "form_class": RefuseForm,
            "form_submit_text": _("Refuse"),
        },
    )
    def refuse(self, request: HttpRequest, form: RefuseForm, object_id: str) -> HttpResponse:
        with said(request):
            services.refuse_aftersale(
                aftersale_id=int(object_id), by=who(request), user_id=request.user.pk, **_values(form)
            )
            messages.success(request, _("The application is refused."))
        return self.to_page(object_id)

    @action(
        description=_("Confirm receipt"),
        url_path="receive",
        icon="inventory",
        permissions=["receive"],
        dialog={
            "title": _("Is the parcel here and right?"),
            "description": _(
                "The goods are booked in, and for a return the money goes back at once. This cannot be undone."
            ),
            "form_class": ReceiveForm,
            "form_submit_text": _("Confirm receipt"),
        },
    )
    def receive(self, request: HttpRequest, form: ReceiveForm, object_id: str) -> HttpResponse:
        with said(request):
            made = services.receive_return(
                aftersale_id=int(object_id), by=who(request), user_id=request.user.pk, **_values(form)
            )
            messages.success(request, _("It is now: %(status)s.") % {"status": made.get_status_display()})
        return self.to_page(object_id)

    @action(
        description=_("Ship the exchange"),
        url_path="ship",
        icon="local_shipping",
        permissions=["ship"],
        dialog={
            "title": _("Ship what is given in exchange"),
            "description": _("It leaves the shelf, and the shopper sees the parcel."),
            "form_class": ParcelForm,
            "form_submit_text": _("Ship"),
        },
    )
    def ship_instead(self, request: HttpRequest, form: ParcelForm, object_id: str) -> HttpResponse:
        with said(request):
            services.ship_exchange(
                aftersale_id=int(object_id), by=who(request), user_id=request.user.pk, **_values(form)
            )
            messages.success(request, _("The exchange is on its way."))
        return self.to_page(object_id)

    @action(
        description=_("Refund instead"),
        url_path="refund",
        icon="undo",
        permissions=["refund_instead"],
        dialog={
            "title": _("Give the money back instead of the exchange?"),
            "description": _(
                "For when what she wanted is no longer to be had. What is held for it becomes free, and the money "
                "leaves at once. This cannot be undone."
            ),
            "form_class": RefundInsteadForm,
            "form_submit_text": _("Refund"),
        },
    )
    def refund_instead(self, request: HttpRequest, form: RefundInsteadForm, object_id: str) -> HttpResponse:
        with said(request):
            services.refund_instead(
                aftersale_id=int(object_id), by=who(request), user_id=request.user.pk, **_values(form)
            )
            messages.success(request, _("The money is on its way."))
        return self.to_page(object_id)

    @action(
        description=_("Refund again"),
        url_path="pay",
        icon="undo",
        permissions=["pay"],
        dialog={
            "title": _("Ask WeChat Pay for this refund again?"),
            "description": _("WeChat Pay closed the first one. The same amount is asked for anew."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Refund again"),
        },
    )
    def pay_again(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.pay_back(aftersale_id=int(object_id), by=who(request), user_id=request.user.pk)
            messages.success(request, _("The money is on its way."))
        return self.to_page(object_id)


def _values(form: BaseDialogForm) -> dict[str, Any]:
    return {name: value for name, value in form.cleaned_data.items() if not name.startswith("_")}
