"""Transfers between stores in the admin: put together, send, count at arrival."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from shop import services
from shop.admin.documents import DocumentAdmin, GoodsInline
from shop.admin.fields import said, who
from shop.admin.stocktaking import CodesField
from shop.models import Transfer, TransferLine
from shop.queries.rest import own_store_of


class TransferForm(forms.ModelForm):
    goods = CodesField(label=_("SKU code and pieces, one a line"))

    class Meta:
        model = Transfer
        fields = ["sender", "receiver", "note"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("sender") and values.get("sender") == values.get("receiver"):
            raise forms.ValidationError(_("Choose two different stores."))
        if any(pieces < 1 or pieces > 1_000_000 for _sku, pieces in values.get("goods") or []):
            raise forms.ValidationError(_("Say for each SKU how many pieces go, at least one."))
        return values


class ArrivalForm(BaseDialogForm):
    """Filled in with what was sent; who unpacks writes what she finds."""

    arrived = CodesField(label=_("what arrived: SKU code and pieces, one a line"))
    note = forms.CharField(
        label=_("note"), max_length=120, required=False, widget=UnfoldAdminTextInputWidget()
    )

    def __init__(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        lines = TransferLine.objects.filter(transfer_id=object_id or 0).order_by("pk")
        self.fields["arrived"].initial = "\n".join(
            f"{code} {pieces}" for code, pieces in lines.values_list("sku__code", "quantity")
        )


class LineInline(GoodsInline):
    model = TransferLine
    fields = readonly_fields = ["goods", "quantity", "received", "difference_shown"]
    verbose_name_plural = _("goods")


@admin.register(Transfer)
class TransferAdmin(DocumentAdmin):
    list_display = [
        "label",
        "sender",
        "receiver",
        "status",
        "pieces",
        "missing",
        "created_by",
        "sent_at",
        "received_at",
    ]
    list_filter = ["state", "sender", "receiver"]
    list_select_related = ["sender", "receiver"]
    search_fields = ["note", "lines__sku__code"]
    search_help_text = _("Note or SKU code")
    form = TransferForm
    new_fields = [("sender", "receiver"), "goods", "note"]
    shown_fields = [
        ("sender", "receiver"),
        ("status_text", "note"),
        ("created_by", "created_at"),
        ("sent_by", "sent_at"),
        ("received_by", "received_at"),
    ]
    goods_inline = LineInline
    actions_detail = ["send", "receive", "give_up"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transfer]:
        rows = Transfer.objects.select_related("sender", "receiver").annotate(
            sum_sent=Sum("lines__quantity"), sum_arrived=Sum("lines__received")
        )
        store_id = own_store_of(request.user)
        return rows.filter(Q(sender=store_id) | Q(receiver=store_id)) if store_id else rows

    def write(self, request: HttpRequest, obj: Transfer, form: forms.ModelForm) -> Transfer:
        return services.create_transfer(
            sender_id=obj.sender_id,
            receiver_id=obj.receiver_id,
            lines=form.cleaned_data["goods"],
            note=obj.note,
            by=who(request),
        )

    @admin.display(description=_("transfer"))
    def label(self, transfer: Transfer) -> str:
        return f"#{transfer.pk}"

    @display(
        description=_("status"),
        label={"draft": "default", "sent": "warning", "received": "success", "cancelled": "default"},
    )
    def status(self, transfer: Transfer) -> tuple[str, str]:
        return transfer.state, transfer.get_state_display()

    @admin.display(description=_("pieces"))
    def pieces(self, transfer: Any) -> int:
        return int(transfer.sum_sent or 0)

    @admin.display(description=_("difference"))
    def missing(self, transfer: Any) -> str:
        if transfer.state != Transfer.RECEIVED:
            return "–"
        return f"{int(transfer.sum_arrived or 0) - int(transfer.sum_sent or 0):+d}".replace("+0", "0")

    def has_send_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, Transfer.DRAFT, "sender_id")

    def has_receive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._may(request, object_id, Transfer.SENT, "receiver_id")

    def _may(self, request: HttpRequest, object_id: Any, state: str, side: str) -> bool:
        """A store's own people send from it and receive in it; head office does both."""
        if not request.user.has_perm("shop.change_stock") or not str(object_id).isdecimal():
            return False
        known = request.__dict__.setdefault("_shop_transfer", {})
        if object_id not in known:
            known[object_id] = Transfer.objects.filter(pk=object_id).first()
        transfer = known[object_id]
        return (
            transfer is not None
            and transfer.state == state
            and own_store_of(request.user) in (None, getattr(transfer, side))
        )

    @action(
        description=_("Send off"),
        url_path="send",
        icon="local_shipping",
        permissions=["send"],
        dialog={
            "title": _("Send these goods off?"),
            "description": _(
                "They leave the sender's stock now and are added to the receiver's when they are counted there."
            ),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Send off"),
        },
    )
    def send(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.send_transfer(transfer_id=int(object_id), by=who(request))
            messages.success(request, _("The goods are on the way."))
        return self.to_page(object_id)

    @action(
        description=_("Receive"),
        url_path="receive",
        icon="inventory",
        permissions=["receive"],
        dialog={
            "title": _("What arrived?"),
            "description": _(
                "Change the numbers that differ, 0 for what did not come. Differences stay visible."
            ),
            "form_class": ArrivalForm,
            "form_submit_text": _("Receive"),
        },
    )
    def receive(self, request: HttpRequest, form: ArrivalForm, object_id: str) -> HttpResponse:
        with said(request):
            services.receive_transfer(
                transfer_id=int(object_id),
                arrived=dict(form.cleaned_data["arrived"]),
                by=who(request),
                note=form.cleaned_data["note"],
            )
            messages.success(request, _("What arrived lies in stock."))
        return self.to_page(object_id)

    @action(
        description=_("Give up"),
        url_path="give-up",
        icon="cancel",
        permissions=["send"],
        dialog={
            "title": _("Give this transfer up?"),
            "description": _("Nothing has left yet."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Give up"),
        },
    )
    def give_up(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        with said(request):
            services.cancel_transfer(transfer_id=int(object_id), by=who(request))
        return self.to_page(object_id)
