"""Money that pays no order: what came, what goes back, what does not match; and the base of what it bought."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminTextInputWidget

from core import clock, money
from core.admin import ReadOnlyAdmin
from shop import services
from shop.admin.fields import said, who, yuan_column
from shop.admin.money import PAYMENT_COLOURS, DifferenceFilter, MoneyInAdmin, MoneyOutAdmin
from shop.models import DirectPayment, DirectRefund


@admin.register(DirectPayment)
class DirectPaymentAdmin(MoneyInAdmin):
    empty_hint = _("Recharges and memberships that members pay on their phones appear here.")
    list_display = [
        "out_trade_no",
        "member",
        "kind",
        "amount",
        "state",
        "returned",
        "difference",
        "created_at",
    ]
    list_filter = ["status", "kind", DifferenceFilter, ("created_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["member"]
    search_fields = ["=out_trade_no", "=transaction_id", "member__name"]
    search_help_text = _("Payment number, WeChat's number or member's name")
    fields = [
        ("out_trade_no", "member"),
        ("amount", "paid"),
        ("returned", "difference"),
        ("status", "kind"),
        ("account", "way"),
        ("transaction_id", "openid"),
        ("created_at", "expires_at"),
        ("paid_at", "closed_at"),
        ("queries", "next_query_at"),
    ]
    refund_permission = "shop.add_directrefund"

    def give_back(self, *, payment_id: int, by: str, user_id: int | None) -> DirectRefund:
        return services.return_direct_mismatch(payment_id=payment_id, by=by, user_id=user_id)


class SettleForm(BaseDialogForm):
    how = forms.CharField(
        label=_("how it was settled"),
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_(
            "By bank transfer of such a day, with its number, for example. It is kept with your name."
        ),
    )


@admin.register(DirectRefund)
class DirectRefundAdmin(MoneyOutAdmin):
    empty_hint = _("Money of recharges and memberships that goes back appears here.")
    list_display = [
        "out_refund_no", "payer", "amount", "bonus", "state", "done_by", "requested_at", "last_error"
    ]  # fmt: skip
    list_filter = ["status", "payment__kind", ("requested_at", RangeDateTimeFilter)]
    list_filter_submit = True
    list_select_related = ["payment__member"]
    search_fields = ["=out_refund_no", "=refund_id", "=payment__out_trade_no", "payment__member__name"]
    search_help_text = _("Refund number, payment number or member's name")
    fields = [
        ("out_refund_no", "payment"),
        ("amount", "bonus"),
        ("status", "last_error"),
        ("reason", "done_by"),
        ("attempts", "next_attempt_at"),
        ("requested_at", "refunded_at"),
        "refund_id",
        ("settlement", "settled_by"),
    ]
    actions_detail = ["settle_outside"]
    readonly_fields = ["amount", "bonus", "done_by"]
    refund_permission = "shop.add_directrefund"
    bonus = yuan_column("bonus_fen", _("bonus taken back"))

    @display(description=_("member"))
    def payer(self, refund: DirectRefund) -> str:
        return str(refund.payment.member)

    def retry(self, *, refund_ids: list[int], by: str, user_id: int | None) -> int:
        return services.retry_direct_refunds(refund_ids=refund_ids)

    def has_settle_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            self.has_send_permission(request)
            and str(object_id).isdecimal()
            and DirectRefund.objects.filter(pk=object_id)
            .exclude(status__in=[DirectRefund.SUCCESS, DirectRefund.OUTSIDE])
            .exists()
        )

    @action(
        description=_("Settled outside"),
        url_path="settle-outside",
        icon="handshake",
        permissions=["settle"],
        dialog={
            "title": _("Has the member her money in another way?"),
            "description": _(
                "Only where WeChat Pay keeps refusing. WeChat is asked once more; then the refund is over and never "
                "sent again, and what it took of the member stays taken. This cannot be undone."
            ),
            "form_class": SettleForm,
            "form_submit_text": _("It is settled"),
        },
    )
    def settle_outside(self, request: HttpRequest, form: SettleForm, object_id: str) -> HttpResponse:
        with said(request):
            refund = services.settle_outside(
                refund_id=int(object_id),
                how=form.cleaned_data["how"],
                by=who(request),
                user_id=request.user.pk,
            )
            messages.success(
                request, _("¥%(amount)s is settled outside.") % {"amount": money.yuan(refund.amount_fen)}
            )
        return self.to_page(object_id)


class DirectSaleAdmin(ReadOnlyAdmin):
    """What a direct payment bought (a row with `payment`), and giving it back: that needs the permission to add a
    direct refund.
    """

    list_filter_submit = True
    search_fields = ["=payment__out_trade_no", "=payment__transaction_id", "payment__member__name"]
    search_help_text = _("Payment number, WeChat's number or member's name")
    ordering = ["-payment__created_at", "-pk"]
    paginator = InfinitePaginator
    actions_detail = ["give_back"]
    returnable: ClassVar[dict[str, Any]] = {}
    """What else holds for a row whose money can be given back."""

    @display(description=_("member"))
    def member(self, sale: Any) -> str:
        return str(sale.payment.member)

    @display(description=_("status"), ordering="payment__status", label=PAYMENT_COLOURS)
    def state(self, sale: Any) -> tuple[str, str]:
        return sale.payment.status, str(sale.payment.get_status_display())

    @display(description=_("status"))
    def status(self, sale: Any) -> str:
        return str(sale.payment.get_status_display())

    @display(description=_("refunded"))
    def returned(self, sale: Any) -> str:
        fen = sale.payment.refunded_fen
        return f"¥{money.yuan(fen)}" if fen else "–"

    @display(description=_("paid at"), ordering="payment__paid_at")
    def paid_at(self, sale: Any) -> str:
        at = sale.payment.paid_at
        return f"{clock.local(at):%Y-%m-%d %H:%M}" if at else "–"

    def has_give_back_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(
            request.user.has_perm("shop.add_directrefund")
            and str(object_id).isdecimal()
            and self.model.objects.filter(
                pk=object_id, payment__status=DirectPayment.PAID, **self.returnable
            ).exists()
        )
