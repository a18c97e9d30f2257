"""The points mall in the admin: what is on offer, what was exchanged, what is to be sent."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from core.admin import BaseAdmin
from shop import queries, services
from shop.admin.fields import YuanField, actor_label, said, who, yuan_column
from shop.admin.phones import PhonesAdmin
from shop.models import MallExchange, MallItem, Sku


class ItemForm(forms.ModelForm):
    points = forms.IntegerField(
        label=_("points"), min_value=1, max_value=100_000_000, widget=UnfoldAdminIntegerFieldWidget()
    )

    price_fen = YuanField(
        label=_("and money (¥)"),
        required=False,
        help_text=_("Paid with WeChat Pay on top of the points. Empty: points alone."),
    )

    class Meta:
        model = MallItem
        fields = [
            *("name", "kind", "sku", "coupon", "points", "price_fen", "quota", "per_member"),
            *("detail", "starts_at", "ends_at", "position", "is_active"),
        ]

    def clean_price_fen(self) -> int:
        fen = self.cleaned_data["price_fen"] or 0
        if not 0 <= fen <= 10_000_000:
            raise forms.ValidationError(_("Enter an amount up to ¥100,000."))
        return int(fen)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        is_goods = values.get("kind") == MallItem.GOODS
        sku, quota = values.get("sku"), values.get("quota")
        if is_goods and sku is None:
            self.add_error("sku", _("Choose what is sent."))
        if is_goods and sku is not None and sku.supply != Sku.STOCK:
            self.add_error(
                "sku",
                _(
                    "Only goods in stock can be sent. Offer services and bundles as a coupon that exchanges them."
                ),
            )
        if not is_goods and values.get("kind") and values.get("coupon") is None:
            self.add_error("coupon", _("Choose which coupon is given."))
        values["coupon" if is_goods else "sku"] = None
        if quota is not None and quota < (self.instance.taken or 0):
            self.add_error("quota", _("More than that were exchanged already."))
        starts_at, ends_at = values.get("starts_at"), values.get("ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("ends_at", _("It would end before it begins."))
        return values


@admin.register(MallItem)
class MallItemAdmin(BaseAdmin):
    empty_hint = _("Put goods or coupons on offer for points: members find them in the points mall.")

    form = ItemForm
    list_display = [
        "name",
        "kind",
        "points",
        "price",
        "left",
        "per_member",
        "starts_at",
        "ends_at",
        "is_active",
    ]
    list_filter = ["kind", "is_active", ("ends_at", RangeDateTimeFilter)]
    list_filter_submit = True
    search_fields = ["name", "sku__code"]
    search_help_text = _("Name or SKU code")
    autocomplete_fields = ["sku", "coupon"]
    ordering = ["position", "points", "pk"]
    fields = [
        "name",
        "kind",
        ("sku", "coupon"),
        ("points", "price_fen"),
        ("quota", "per_member"),
        "detail",
        ("starts_at", "ends_at"),
        ("position", "is_active"),
    ]

    price = yuan_column("price_fen", _("and money"))

    @display(description=_("times exchanged"), ordering="taken")
    def left(self, item: MallItem) -> str:
        return f"{item.taken:,}" if item.quota is None else f"{item.taken:,} / {item.quota:,}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was exchanged names its item: it is switched off instead."""
        return False


class SendForm(BaseDialogForm):
    carrier = forms.ChoiceField(
        label=_("carrier"), choices=queries.carrier_choices, widget=UnfoldAdminSelectWidget()
    )
    tracking_number = forms.CharField(
        label=_("tracking number"), max_length=40, widget=UnfoldAdminTextInputWidget()
    )


class TakeBackForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("reason"),
        max_length=120,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("The member reads it."),
    )
    is_back_in_stock = forms.BooleanField(
        label=_("goods are back in stock"),
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=_("Of goods that were sent. What was not sent returns to stock in any case."),
    )


@admin.register(MallExchange)
class MallExchangeAdmin(PhonesAdmin):
    """Sending and taking back need the permission to change an exchange."""

    empty_hint = _("What members exchange in the points mall appears here.")
    list_display = ["name", "member", "points", "price", "status", "receiver", "tracking_number", "at"]
    list_filter = ["state", "item", ("at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member", "item"]
    search_fields = ["name"]
    search_help_text = _("Name, member's name, receiver, phone or tracking number")
    ordering = ["-at", "-pk"]
    paginator = InfinitePaginator
    fields = [
        ("name", "item"),
        ("member", "points"),
        ("sku", "grant"),
        ("price", "payment"),
        ("state", "at"),
        ("receiver", "phone_shown"),
        "address",
        ("carrier", "tracking_number"),
        ("done_at", "returned_at"),
        ("reason", "is_back_in_stock"),
        "done_by",
    ]
    readonly_fields = ["done_by", "phone_shown", "price"]
    actions_detail = ["send", "take_back", "return_money"]
    done_by = actor_label
    price = yuan_column("price_fen", _("and money"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[MallExchange]:
        return (
            super().get_queryset(request).select_related("member", "item", "sku", "grant__coupon", "payment")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MallExchange], search_term: str
    ) -> tuple[QuerySet[MallExchange], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(
            Q(name__icontains=term)
            | Q(member__name__icontains=term)
            | Q(receiver=term)
            | Q(phone=term)
            | Q(tracking_number=term)
        ), False

    def phone_subject(self, row: MallExchange) -> str:
        return f"mall:{row.pk}"

    @display(
        description=_("state"),
        ordering="state",
        label={"unpaid": "info", "waiting": "warning", "done": "success", "returned": "default"},
    )
    def status(self, row: MallExchange) -> tuple[str, str]:
        return row.state, str(row.get_state_display())

    def _may(self, request: HttpRequest, object_id: Any, *states: str) -> bool:
        return bool(
            request.user.has_perm("shop.change_mallexchange")
            and str(object_id).isdecimal()
            and MallExchange.objects.filter(pk=object_id, state__in=states).exists()
        )

    def has_send_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, MallExchange.WAITING)

    def has_take_back_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, MallExchange.UNPAID, MallExchange.WAITING, MallExchange.DONE)

    def has_return_money_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """WeChat refused the refund: it may be asked for again."""
        return self._may(request, object_id, MallExchange.RETURNED) and bool(
            MallExchange.objects.filter(pk=object_id, payment__status="paid")
            .exclude(payment__refunds__status__in=["pending", "processing", "success", "abnormal"])
            .exists()
        )

    @action(
        description=_("Send the parcel"),
        url_path="send",
        icon="local_shipping",
        permissions=["send"],
        dialog={
            "title": _("Send the goods"),
            "description": _("The member sees the parcel's number in her exchanges."),
            "form_class": SendForm,
            "form_submit_text": _("Send the parcel"),
        },
    )
    def send(self, request: HttpRequest, form: SendForm, object_id: str) -> HttpResponse:
        with said(request):
            services.send_exchange(
                exchange_id=int(object_id),
                carrier=form.cleaned_data["carrier"],
                tracking_number=form.cleaned_data["tracking_number"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The goods are on their way."))
        return self.to_page(object_id)

    @action(
        description=_("Take back"),
        url_path="take-back",
        icon="undo",
        permissions=["take_back"],
        dialog={
            "title": _("Take this exchange back?"),
            "description": _(
                "Its points return to the member, with the days that they had, and money that she paid to her "
                "WeChat Pay; a coupon is revoked."
            ),
            "form_class": TakeBackForm,
            "form_submit_text": _("Take back"),
        },
    )
    def take_back(self, request: HttpRequest, form: TakeBackForm, object_id: str) -> HttpResponse:
        with said(request):
            row = services.take_back_exchange(
                exchange_id=int(object_id),
                reason=form.cleaned_data["reason"],
                is_back_in_stock=form.cleaned_data["is_back_in_stock"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(
                request, _("%(points)s points are back with the member.") % {"points": f"{row.points:,}"}
            )
        return self.to_page(object_id)

    @action(
        description=_("Return the money again"),
        url_path="return-money",
        icon="undo",
        permissions=["return_money"],
        dialog={
            "title": _("Ask WeChat Pay for the refund again?"),
            "description": _("WeChat Pay refused it before. The reason stands at the direct refund."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Return the money again"),
        },
    )
    def return_money(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.return_exchange_money(
                exchange_id=int(object_id), by=who(request), user_id=request.user.pk
            )
            messages.success(request, _("The money is on its way back."))
        return self.to_page(object_id)
