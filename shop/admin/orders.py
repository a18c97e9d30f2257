"""Orders as facts, with what an operator may do to them: ship, cancel, give the money back."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import TabularInline
from core.secrets import masked_phone
from shop import queries, services
from shop.admin.desk import DESK_ACTIONS, DeskActions, order_of
from shop.admin.fields import actor_label, said, who, yuan_column
from shop.models import Fulfilment, Order, OrderLine, OrderLog, Payment, Refund, Shipment
from shop.queries.rest import own_store_of, served_by
from shop.queries.vouchers import redeemed_of

LABELS = {
    "pending_payment": "warning",
    "deposit_paid": "info",
    "paid": "primary",
    "shipped": "info",
    "received": "success",
    "cancelled": "default",
    "refunded": "default",
    "refunding": "danger",
}


class ShipForm(BaseDialogForm):
    carrier = forms.ChoiceField(
        label=_("carrier"), choices=queries.carrier_choices, widget=UnfoldAdminSelectWidget()
    )
    tracking_number = forms.CharField(
        label=_("tracking number"), max_length=40, widget=UnfoldAdminTextInputWidget()
    )


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(label=_("reason"), max_length=80, widget=UnfoldAdminTextInputWidget())


class RefundForm(ReasonForm):
    """Says how much it is before anybody agrees."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order = order_of(self.request, self.object_id)
        if order is not None and self._is_sure(order):
            rest = money.yuan(order.paid_fen - order.refunded_fen)
            self.fields["reason"].help_text = _("¥%(amount)s goes back the way it came.") % {"amount": rest}

    @staticmethod
    def _is_sure(order: Order) -> bool:
        """No part is on its way back, nothing was redeemed in a store: then it is all that was not given back yet."""
        under_way = order.refunds.exclude(status__in=[Refund.SUCCESS, Refund.CLOSED])
        return not under_way.exists() and not redeemed_of(order.pk)


class FactInline(TabularInline):
    """Rows that belong to an order; looked at, never edited."""

    extra = 0
    can_delete = False
    hide_title = True
    tab = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LineInline(FactInline):
    model = OrderLine
    tab = False
    fields = readonly_fields = [
        *("picture", "goods", "unit_price", "quantity", "discount", "total"),
        *("refunded_quantity", "refunded"),
    ]
    refunded = yuan_column("refunded_fen", _("sum refunded"))
    unit_price = yuan_column("unit_price_fen", _("unit price"))
    discount = yuan_column("discount_fen", _("discount"))
    total = yuan_column("total_fen", _("total"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderLine]:
        return super().get_queryset(request).select_related("sku", "bundle")

    @admin.display(description="")
    def picture(self, line: OrderLine) -> str:
        if not line.image:
            return ""
        return format_html(
            '<img src="{}" alt="" width="40" height="40" style="border-radius:6px;object-fit:cover">',
            line.image_url,
        )

    @admin.display(description=_("product"))
    def goods(self, line: OrderLine) -> str:
        return format_html(
            '<a href="{}">{}</a><br><small>{} · {}{}</small>',
            reverse("admin:shop_product_change", args=[line.sku.product_id]),
            line.product_name,
            line.sku_name or "–",
            line.sku.code,
            f" · {line.bundle.name} ×{line.bundle.quantity}" if line.bundle else "",
        )


class LogInline(FactInline):
    model = OrderLog
    fields = readonly_fields = ["at", "action", "done_by", "note"]
    done_by = actor_label
    verbose_name_plural = _("log")


class PaymentInline(FactInline):
    model = Payment
    show_change_link = True
    fields = readonly_fields = [
        "out_trade_no",
        "kind",
        "stage",
        "amount",
        "status",
        "transaction_id",
        "paid_at",
        "difference",
    ]
    amount = yuan_column("amount_fen", _("sum of money"))


class FulfilmentInline(FactInline):
    """Which stores serve the order, and how far each is."""

    model = Fulfilment
    show_change_link = True
    fields = readonly_fields = ["store", "kind", "state", "reason", "done_at", "done_by"]
    done_by = actor_label

    def get_queryset(self, request: HttpRequest) -> QuerySet[Fulfilment]:
        return super().get_queryset(request).select_related("store", "order")


class ShipmentInline(FactInline):
    model = Shipment
    show_change_link = True
    fields = readonly_fields = ["carrier", "tracking_number", "state", "shipped_at", "done_by"]
    done_by = actor_label


class RefundInline(FactInline):
    model = Refund
    show_change_link = True
    fields = readonly_fields = [
        "out_refund_no",
        "kind",
        "amount",
        "status",
        "reason",
        "done_by",
        "last_error",
    ]
    done_by = actor_label
    amount = yuan_column("amount_fen", _("sum of money"))


class StatusFilter(admin.SimpleListFilter):
    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            *Order.STATUSES,
            ("deposit_paid", _("deposit paid, balance open")),
            ("refunding", _("refunding")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        if self.value() == "deposit_paid":
            return queryset.filter(status=Order.PENDING_PAYMENT, deposit_paid_at__isnull=False)
        if self.value() == "refunding":
            return queryset.filter(refund_requested_at__isnull=False).exclude(status=Order.REFUNDED)
        return queryset.filter(status=self.value()) if self.value() else queryset


class PlacedFilter(admin.SimpleListFilter):
    title = _("placed")
    parameter_name = "placed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("today", _("today")),
            ("yesterday", _("yesterday")),
            ("7", _("the last 7 days")),
            ("30", _("the last 30 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        today = clock.today()
        match self.value():
            case "today":
                return queryset.filter(placed_at__gte=clock.day_start(today))
            case "yesterday":
                day = today - timedelta(days=1)
                return queryset.filter(
                    placed_at__gte=clock.day_start(day), placed_at__lt=clock.day_start(today)
                )
            case "7" | "30" as days:
                return queryset.filter(placed_at__gte=clock.day_start(today - timedelta(days=int(days) - 1)))
        return queryset


class ChannelFilter(admin.SimpleListFilter):
    title = _("channel")
    parameter_name = "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("mall", _("mall")), ("import", _("brought in"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        match self.value():
            case "mall":
                return queryset.filter(channel="mall")
            case "import":
                return queryset.exclude(channel="mall")
        return queryset


@admin.register(Order)
class OrderAdmin(DeskActions):
    list_display = ["number", "buyer", "goods", "total", "state", "placed_at", "paid_at"]
    list_filter = [StatusFilter, PlacedFilter, ChannelFilter]
    list_select_related = ["member"]
    search_fields = ["number"]
    search_help_text = _(
        "Order number, phone or its last four digits, receiver, member's name, tracking number"
    )
    ordering = ["-placed_at", "-pk"]
    paginator = InfinitePaginator
    inlines = [LineInline, LogInline, PaymentInline, FulfilmentInline, ShipmentInline, RefundInline]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("number", "state_text"),
                    ("member_link", "channel_text"),
                    ("placed_at", "expires_at"),
                    ("items", "shipping"),
                    ("discount", "total"),
                    ("paid", "refunded"),
                ]
            },
        ),
        (
            _("Delivery"),
            {"fields": [("receiver", "phone_shown"), "address", "note", "merchant_note", "ship_with"]},
        ),
        (
            _("Times"),
            {
                "fields": [
                    ("paid_at", "shipped_at"),
                    ("received_at", "refunded_at"),
                    ("cancelled_at", "cancel_reason"),
                ]
            },
        ),
    ]
    readonly_fields = [
        *("state_text", "channel_text", "member_link", "items", "shipping", "discount", "total"),
        *("paid", "refunded", "phone_shown", "address", "ship_with"),
    ]
    actions_detail = ["ship", "cancel", "refund", *DESK_ACTIONS]

    items = yuan_column("items_fen", _("goods"))
    shipping = yuan_column("shipping_fen", _("shipping"))
    discount = yuan_column("discount_fen", _("discount"))
    total = yuan_column("total_fen", _("total"))
    paid = yuan_column("paid_fen", _("sum paid"))
    refunded = yuan_column("refunded_fen", _("sum refunded"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        lines = Prefetch("lines", OrderLine.objects.order_by("pk"))
        orders = super().get_queryset(request).select_related("member").prefetch_related(lines)
        store_id = own_store_of(request.user)
        return orders.filter(served_by(store_id)) if store_id else orders

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found: Any = (
            Q(number__startswith=term) | Q(receiver=term) | Q(external_id=term) | Q(member__name=term)
        )
        found |= Exists(Shipment.objects.filter(order=OuterRef("pk"), tracking_number=term))
        digits = term.replace("*", "")[-4:] if "*" in term or len(term) == 4 else ""
        if term.isdecimal() and len(term) >= 8:
            found |= Q(phone=term)
        elif digits.isdecimal() and len(digits) == 4:
            found |= Q(phone__endswith=digits)
        return queryset.filter(found), False

    @display(description=_("buyer"), header=True)
    def buyer(self, order: Order) -> list[str]:
        name = str(order.member) if order.member_id else str(_("without a member"))
        return [name, f"{order.receiver} {masked_phone(order.phone)}" if order.phone else order.receiver]

    @admin.display(description=_("goods"))
    def goods(self, order: Order) -> str:
        lines = list(order.lines.all())
        if not lines:
            return "–"
        first = f"{lines[0].product_name} ×{lines[0].quantity}"
        if len(lines) == 1:
            return first
        return _("%(first)s, %(count)d kinds in all") % {"first": first, "count": len(lines)}

    @display(description=_("status"), label=LABELS, ordering="status")
    def state(self, order: Order) -> tuple[str, str]:
        word = "deposit_paid" if order.awaits_balance else order.status
        return ("refunding" if order.is_refunding else word), order.status_label

    @admin.display(description=_("status"))
    def state_text(self, order: Order) -> str:
        return order.status_label

    @admin.display(description=_("channel"))
    def channel_text(self, order: Order) -> str:
        if order.channel == "mall":
            return str(_("mall"))
        return f"{order.channel} {order.external_id}".strip()

    @admin.display(description=_("member"))
    def member_link(self, order: Order) -> str:
        if order.member_id is None:
            return str(_("without a member"))
        try:
            return format_html(
                '<a href="{}">{}</a>',
                reverse("admin:crm_member_change", args=[order.member_id]),
                order.member,
            )
        except NoReverseMatch:
            return str(order.member)

    def phone_subject(self, order: Order) -> str:
        return f"order:{order.number}"

    @admin.display(description=_("address"))
    def address(self, order: Order) -> str:
        return f"{order.region} {order.street} {order.postal_code}".strip() or "–"

    # Which buttons an order offers; the services decide again under lock.

    def has_ship_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        return (
            bool(request.user.has_perm("shop.change_order"))
            and order is not None
            and order.status in (Order.PAID, Order.SHIPPED)
            and order.delivery == Order.SHIP
            and not order.is_refunding
            and order.channel == "mall"
        )

    def has_cancel_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        return (
            bool(request.user.has_perm("shop.change_order"))
            and order is not None
            and order.status == Order.PENDING_PAYMENT
        )

    def has_refund_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        return (
            bool(request.user.has_perm("shop.add_refund"))
            and order is not None
            and order.status in (Order.PAID, Order.SHIPPED, Order.RECEIVED)
            and not order.is_refunding
            and order.channel == "mall"
        )

    @action(
        description=_("Ship"),
        url_path="ship",
        icon="local_shipping",
        permissions=["ship"],
        dialog={
            "title": _("Ship this order"),
            "description": _("The goods leave the shelf, and the buyer sees the parcel in her order."),
            "form_class": ShipForm,
            "form_submit_text": _("Ship"),
        },
    )
    def ship(self, request: HttpRequest, form: ShipForm, object_id: str) -> HttpResponse:
        with said(request):
            shipment = services.ship_order(
                order_id=int(object_id),
                store_id=own_store_of(request.user),  # a store sends its own part
                carrier=form.cleaned_data["carrier"],
                tracking_number=form.cleaned_data["tracking_number"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("Shipped with %(parcel)s.") % {"parcel": shipment})
        return self.to_page(object_id)

    @action(
        description=_("Cancel order"),
        url_path="cancel",
        icon="cancel",
        permissions=["cancel"],
        dialog={
            "title": _("Cancel this order?"),
            "description": _(
                "The payment is closed at WeChat and the stock given back. This cannot be undone."
            ),
            "form_class": ReasonForm,
            "form_submit_text": _("Cancel order"),
        },
    )
    def cancel(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        with said(request):
            services.cancel_order(
                order_id=int(object_id),
                reason=form.cleaned_data["reason"],
                actor=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The order is cancelled."))
        return self.to_page(object_id)

    @action(
        description=_("Refund"),
        url_path="refund",
        icon="undo",
        permissions=["refund"],
        dialog={
            "title": _("Give all the money back?"),
            "description": _(
                "The whole amount goes back to the buyer. What is not shipped yet returns to stock. "
                "This cannot be undone."
            ),
            "form_class": RefundForm,
            "form_submit_text": _("Refund"),
        },
    )
    def refund(self, request: HttpRequest, form: RefundForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = services.refund_order(
                order_id=int(object_id),
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            together = Refund.objects.filter(order_id=refund.order_id, cause=refund.cause)  # one per source
            amount = together.aggregate(fen=Sum("amount_fen"))["fen"]
            messages.success(request, _("¥%(amount)s is on its way back.") % {"amount": money.yuan(amount)})
        return self.to_page(object_id)
