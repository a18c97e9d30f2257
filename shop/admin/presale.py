"""Presales: the terms beside their offer, and the orders with how far each is."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from core import clock, money
from core.admin import ReadOnlyAdmin, StackedInline
from crm import queries as crm_queries
from shop.admin.fields import YuanField
from shop.models import Offer, Order, Presale, PresaleOrder
from wechat import queries as wechat_queries


class PresaleForm(forms.ModelForm):
    deposit_fen = YuanField(label=_("deposit (¥)"))
    worth_fen = YuanField(
        label=_("deposit counts as (¥)"), required=False, help_text=_("Empty: as much as it is.")
    )

    class Meta:
        model = Presale
        fields = [
            *("deposit_fen", "worth_fen", "balance_starts_at", "balance_ends_at"),
            *("ships_by", "keeps_deposit"),
        ]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        deposit, worth = values.get("deposit_fen"), values.get("worth_fen")
        if deposit is not None and deposit < 1:
            self.add_error("deposit_fen", _("A deposit is at least ¥0.01."))
        if deposit is not None and worth is not None and worth < deposit:
            self.add_error("worth_fen", _("It cannot count for less than it is."))
        starts_at, ends_at = values.get("balance_starts_at"), values.get("balance_ends_at")
        if starts_at and ends_at and ends_at <= starts_at:
            self.add_error("balance_ends_at", _("It must end after it starts."))
        return values


class PresaleFormSet(BaseInlineFormSet):
    """The terms must fit the offer on the same page."""

    def clean(self) -> None:
        super().clean()
        gone = self.deleted_forms
        kept = [form for form in self.forms if (form.has_changed() or form.instance.pk) and form not in gone]
        offer = self.instance
        if offer.kind != Offer.PRESALE:
            if kept:
                raise forms.ValidationError(_("Only an offer of the kind presale has a deposit."))
            return
        if not kept:
            raise forms.ValidationError(_("A presale needs its deposit and the window of its balance."))
        values = kept[0].cleaned_data
        deposit = values.get("deposit_fen") or 0
        worth = values.get("worth_fen") or deposit
        if deposit and offer.price_fen is not None and worth >= offer.price_fen:
            raise forms.ValidationError(_("The deposit must count for less than the price of the offer."))
        if (
            offer.price_fen is not None
            and offer.sku_id
            and (offer.price_fen - (worth - deposit) >= offer.sku.price_fen)
        ):
            raise forms.ValidationError(
                _("A presale has to be cheaper than the usual price of ¥%(price)s.")
                % {"price": money.yuan(offer.sku.price_fen)}
            )
        balance_ends, ends_at = values.get("balance_ends_at"), offer.ends_at
        if balance_ends and ends_at and balance_ends <= ends_at:
            raise forms.ValidationError(_("The balance must be payable for longer than the deposit."))


class PresaleInline(StackedInline):
    model = Presale
    form = PresaleForm
    formset = PresaleFormSet
    extra = 0
    max_num = 1
    fields = [
        *(("deposit_fen", "worth_fen"), "balance_starts_at", "balance_ends_at"),
        *("ships_by", "keeps_deposit"),
    ]


def _moment(at: datetime | None) -> str:
    return f"{clock.local(at):%Y-%m-%d %H:%M}" if at else "–"


def stage_of(presale: PresaleOrder) -> str:
    """deposit, early, balance, paid, ship_late, kept, returned or closed."""
    order = presale.order
    if presale.outcome:
        return presale.outcome
    if order.paid_at is not None:
        is_late = order.status == Order.PAID and presale.ships_by and presale.ships_by < clock.today()
        return "ship_late" if is_late else "paid"
    if order.status != Order.PENDING_PAYMENT:
        return "closed"
    if order.deposit_paid_at is None:
        return "deposit"
    return "early" if clock.now() < presale.balance_starts_at else "balance"


STAGES = {
    "deposit": _("waits for the deposit"),
    "early": _("deposit paid"),
    "balance": _("balance due"),
    "paid": _("paid in full"),
    "ship_late": _("to be shipped, late"),
    "kept": _("closed, deposit kept"),
    "returned": _("closed, deposit returned"),
    "closed": _("closed without deposit"),
}


class StageFilter(admin.SimpleListFilter):
    title = _("stage")
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(STAGES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[PresaleOrder]) -> QuerySet[PresaleOrder]:
        moment = clock.now()
        is_open = Q(order__status=Order.PENDING_PAYMENT)
        has_deposit = is_open & Q(order__deposit_paid_at__isnull=False)
        is_late = Q(order__status=Order.PAID, ships_by__lt=clock.today())
        conditions = {
            "deposit": is_open & Q(order__deposit_paid_at__isnull=True),
            "early": has_deposit & Q(balance_starts_at__gt=moment),
            "balance": has_deposit & Q(balance_starts_at__lte=moment),
            "paid": Q(order__paid_at__isnull=False) & ~is_late,
            "ship_late": is_late,
            "kept": Q(outcome=PresaleOrder.KEPT),
            "returned": Q(outcome=PresaleOrder.RETURNED),
            "closed": Q(order__status=Order.CANCELLED, outcome=""),
        }
        chosen = conditions.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


@admin.register(PresaleOrder)
class PresaleOrderAdmin(ReadOnlyAdmin):
    empty_hint = _("Orders appear here when somebody orders presale goods.")
    list_display = [
        *("order", "buyer", "offer", "stage", "deposit", "balance"),
        *("window", "ships_by"),
    ]
    list_filter = [StageFilter, ("offer", admin.RelatedOnlyFieldListFilter), "keeps_deposit"]
    list_select_related = ["order__member", "offer"]
    search_fields = ["order__number", "offer__name"]
    ordering = ["-pk"]
    paginator = InfinitePaginator
    fields = [
        *(("order_link", "buyer"), ("offer", "stage_text"), ("deposit", "worth"), ("balance", "window")),
        *("ships_by", ("keeps_deposit", "agreed_at")),
        *(("deposit_paid_at", "paid_at"), ("remind_at", "reminded")),
    ]
    readonly_fields = [
        *("order_link", "buyer", "stage_text", "deposit", "worth", "balance", "window"),
        *("deposit_paid_at", "paid_at", "reminded"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PresaleOrder]:
        return super().get_queryset(request).select_related("order__member", "offer")

    @admin.display(description=_("order"), ordering="order__number")
    def order_link(self, presale: PresaleOrder) -> str:
        address = reverse("admin:shop_order_change", args=[presale.order_id])
        return format_html('<a href="{}">{}</a>', address, presale.order.number)

    @admin.display(description=_("buyer"))
    def buyer(self, presale: PresaleOrder) -> str:
        return str(presale.order.member or "–")

    @display(
        description=_("stage"),
        label={
            "deposit": "warning",
            "early": "info",
            "balance": "warning",
            "paid": "success",
            "ship_late": "danger",
            "kept": "default",
            "returned": "default",
            "closed": "default",
        },
    )
    def stage(self, presale: PresaleOrder) -> tuple[str, str]:
        word = stage_of(presale)
        return word, str(STAGES[word])

    @admin.display(description=_("stage"))
    def stage_text(self, presale: PresaleOrder) -> str:
        return str(STAGES[stage_of(presale)])

    @admin.display(description=_("final payment from and until"), ordering="balance_starts_at")
    def window(self, presale: PresaleOrder) -> str:
        return f"{_moment(presale.balance_starts_at)} – {_moment(presale.balance_ends_at)}"

    @admin.display(description=_("deposit"), ordering="order__deposit_fen")
    def deposit(self, presale: PresaleOrder) -> str:
        return f"¥{money.yuan(presale.order.deposit_fen)}"

    @admin.display(description=_("counts as"))
    def worth(self, presale: PresaleOrder) -> str:
        return f"¥{money.yuan(presale.worth_fen)}"

    @admin.display(description=_("final payment"), ordering=F("order__total_fen") - F("order__deposit_fen"))
    def balance(self, presale: PresaleOrder) -> str:
        return f"¥{money.yuan(presale.order.total_fen - presale.order.deposit_fen)}"

    @admin.display(description=_("deposit paid at"))
    def deposit_paid_at(self, presale: PresaleOrder) -> str:
        return _moment(presale.order.deposit_paid_at)

    @admin.display(description=_("paid at"))
    def paid_at(self, presale: PresaleOrder) -> str:
        return _moment(presale.order.paid_at)

    @admin.display(description=_("reminder"))
    def reminded(self, presale: PresaleOrder) -> str:
        if not presale.reminder:
            return "–"
        if presale.reminder == "no_way":
            return str(_("no template accepted and no open chat"))
        if presale.reminder in ("subscribe", "template", "custom"):
            return wechat_queries.channel_label(presale.reminder)
        return crm_queries.reason_label(presale.reminder)
