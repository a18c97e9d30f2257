"""What an operator may change in an order besides shipping, cancelling and refunding it as a whole."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import money
from shop import queries, services
from shop.admin.fields import YuanField, said, who
from shop.admin.phones import PhonesAdmin, note_look
from shop.models import Order, OrderLine
from shop.queries.rest import own_store_of, served_by
from shop.services import AddressInput

DESK_ACTIONS = ["refund_part", "change_price", "change_address", "write_note"]


def order_of(request: HttpRequest, object_id: Any) -> Order | None:
    """The order of this page, read once per request for all its buttons; None when her store has no part in it."""
    known: dict[str, Order | None] = request.__dict__.setdefault("_shop_orders", {})
    key = str(object_id)
    if key not in known:
        store_id = own_store_of(request.user)
        orders = Order.objects.filter(served_by(store_id)) if store_id else Order.objects.all()
        known[key] = orders.filter(pk=int(key)).first() if key.isdecimal() else None
    return known[key]


class RefundPartForm(BaseDialogForm):
    """One number per line that still has pieces; the token makes a double click one refund."""

    shipping_fen = YuanField(label=_("of the shipping (yuan)"), required=False)
    reason = forms.CharField(label=_("reason"), max_length=80, widget=UnfoldAdminTextInputWidget())
    token = forms.CharField(widget=forms.HiddenInput, max_length=32, initial=lambda: uuid.uuid4().hex)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = {}
        for line in OrderLine.objects.filter(order_id=self.object_id or 0).order_by("pk"):
            left = line.quantity - line.refunded_quantity
            if left:
                fields[f"line_{line.pk}"] = forms.IntegerField(
                    label=_("%(goods)s, at most %(left)d (¥%(money)s)")
                    % {
                        "goods": f"{line.product_name} {line.sku_name}".strip(),
                        "left": left,
                        "money": money.yuan(line.total_fen - line.refunded_fen),
                    },
                    min_value=0,
                    max_value=left,
                    initial=0,
                    required=False,
                    widget=UnfoldAdminIntegerFieldWidget(),
                )
        own = dict(self.fields)
        self.fields.clear()
        self.fields.update({**fields, **own})

    def parts(self) -> list[tuple[int, int]]:
        return [
            (int(name.removeprefix("line_")), value)
            for name, value in self.cleaned_data.items()
            if name.startswith("line_") and value
        ]


class PriceForm(BaseDialogForm):
    goods_fen = YuanField(label=_("all goods together (yuan)"))
    shipping_fen = YuanField(label=_("shipping (yuan)"))
    reason = forms.CharField(label=_("reason"), max_length=80, widget=UnfoldAdminTextInputWidget())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order = order_of(self.request, self.object_id)
        if order is not None:
            self.initial |= {
                "goods_fen": order.total_fen - order.shipping_fen,
                "shipping_fen": order.shipping_fen,
            }


class AddressForm(BaseDialogForm):
    receiver = forms.CharField(label=_("receiver"), max_length=40, widget=UnfoldAdminTextInputWidget())
    phone = forms.CharField(label=_("phone"), max_length=20, widget=UnfoldAdminTextInputWidget())
    province = forms.CharField(label=_("province"), max_length=40, widget=UnfoldAdminTextInputWidget())
    city = forms.CharField(label=_("city"), max_length=40, widget=UnfoldAdminTextInputWidget())
    district = forms.CharField(
        label=_("district"), max_length=40, required=False, widget=UnfoldAdminTextInputWidget()
    )
    street = forms.CharField(
        label=_("street and house number"), max_length=200, widget=UnfoldAdminTextInputWidget()
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order = order_of(self.request, self.object_id)
        if order is not None:
            region = [*order.region.split(), "", "", ""]
            sees_phone = bool(order.phone) and self.request.user.has_perm("crm.view_phone")
            if sees_phone and self.request.method == "GET":
                note_look(self.request, subject=f"order:{order.number}", member_id=order.member_id)
            self.initial |= {
                "receiver": order.receiver,
                "phone": order.phone if sees_phone else "",
                "province": region[0],
                "city": region[1],
                "district": region[2],
                "street": order.street,
            }


class NoteForm(BaseDialogForm):
    note = forms.CharField(
        label=_("note of the shop"),
        max_length=500,
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order = order_of(self.request, self.object_id)
        if order is not None:
            self.initial |= {"note": order.merchant_note}


class DeskActions(PhonesAdmin):
    """For `OrderAdmin`: its buttons, which the services judge again under lock."""

    @admin.display(description=_("ship together with"))
    def ship_with(self, order: Order) -> str:
        """Orders of the same buyer to the same address that wait as well: one parcel saves the second shipping."""
        rows = [
            (reverse("admin:shop_order_change", args=[one.pk]), one.number)
            for one in queries.orders_to_ship_with(order)
        ]
        return format_html_join("、", '<a href="{}">{}</a>', rows) or "–"

    def has_refund_part_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        return (
            bool(request.user.has_perm("shop.add_refund"))
            and order is not None
            and order.status in (Order.PAID, Order.SHIPPED, Order.RECEIVED)
            and order.channel == "mall"
        )

    def has_change_price_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        return (
            bool(request.user.has_perm("shop.change_order_price"))
            and order is not None
            and order.status == Order.PENDING_PAYMENT
            and not order.deposit_fen
        )

    def has_change_address_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        order = order_of(request, object_id)
        may = bool(request.user.has_perm("shop.change_order"))
        return may and order is not None and services.may_change_address(order)

    def has_write_note_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("shop.change_order")) and order_of(request, object_id) is not None

    @action(
        description=_("Refund a part"),
        url_path="refund-part",
        icon="undo",
        permissions=["refund_part"],
        dialog={
            "title": _("Which pieces are given back?"),
            "description": _(
                "Each piece gives back exactly its part of what was paid. What is not shipped yet returns to stock. "
                "This cannot be undone."
            ),
            "form_class": RefundPartForm,
            "form_submit_text": _("Refund"),
        },
    )
    def refund_part(self, request: HttpRequest, form: RefundPartForm, object_id: str) -> HttpResponse:
        with said(request):
            refunds = services.refund_lines(
                order_id=int(object_id),
                parts=form.parts(),
                shipping_fen=form.cleaned_data["shipping_fen"] or 0,
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
                cause=f"desk:{form.cleaned_data['token']}",
            )
            amount = money.yuan(sum(refund.amount_fen for refund in refunds))
            messages.success(request, _("¥%(amount)s is on its way back.") % {"amount": amount})
        return self.to_page(object_id)

    @action(
        description=_("Change price"),
        url_path="price",
        icon="price_change",
        permissions=["change_price"],
        dialog={
            "title": _("Change what this order costs"),
            "description": _(
                "An open payment is closed at WeChat first; the shopper then pays the new amount. "
                "Goods can only become cheaper."
            ),
            "form_class": PriceForm,
            "form_submit_text": _("Change price"),
        },
    )
    def change_price(self, request: HttpRequest, form: PriceForm, object_id: str) -> HttpResponse:
        with said(request):
            order = services.change_price(
                order_id=int(object_id),
                goods_fen=form.cleaned_data["goods_fen"],
                shipping_fen=form.cleaned_data["shipping_fen"],
                reason=form.cleaned_data["reason"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("It now costs ¥%(total)s.") % {"total": money.yuan(order.total_fen)})
        return self.to_page(object_id)

    @action(
        description=_("Change address"),
        url_path="address",
        icon="edit_location",
        permissions=["change_address"],
        dialog={
            "title": _("Send this order somewhere else"),
            "description": _("The old address stays in the order's log."),
            "form_class": AddressForm,
            "form_submit_text": _("Change address"),
        },
    )
    def change_address(self, request: HttpRequest, form: AddressForm, object_id: str) -> HttpResponse:
        names = ("receiver", "phone", "province", "city", "district", "street")
        address = AddressInput(**{name: form.cleaned_data[name] for name in names})
        with said(request):
            services.change_address(
                order_id=int(object_id), address=address, by=who(request), user_id=request.user.pk
            )
            messages.success(request, _("The address is changed."))
        return self.to_page(object_id)

    @action(
        description=_("Note"),
        url_path="note",
        icon="edit_note",
        permissions=["write_note"],
        dialog={
            "title": _("Note of the shop"),
            "description": _("Shoppers never see it."),
            "form_class": NoteForm,
            "form_submit_text": _("Save"),
        },
    )
    def write_note(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        with said(request):
            services.note_order(
                order_id=int(object_id),
                note=form.cleaned_data["note"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(request, _("The note is kept."))
        return self.to_page(object_id)
