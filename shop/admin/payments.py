"""Money in and out of orders as facts; what does not match stands out."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from shop import services
from shop.admin.money import DifferenceFilter, MoneyInAdmin, MoneyOutAdmin
from shop.models import Payment, Refund


@admin.register(Payment)
class PaymentAdmin(MoneyInAdmin):
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
    search_fields = ["=out_trade_no", "=transaction_id", "=order__number"]
    search_help_text = _("Payment number, WeChat's number or order number")
    fields = [
        ("out_trade_no", "order"),
        ("amount", "paid"),
        ("returned", "difference"),
        ("status", "kind"),
        ("account", "gift_card"),
        ("transaction_id", "openid"),
        ("created_at", "expires_at"),
        ("paid_at", "closed_at"),
        ("queries", "next_query_at"),
    ]
    refund_permission = "shop.add_refund"

    def give_back(self, *, payment_id: int, by: str, user_id: int | None) -> Refund:
        return services.refund_mismatch(payment_id=payment_id, by=by, user_id=user_id)


@admin.register(Refund)
class RefundAdmin(MoneyOutAdmin):
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
    search_fields = ["=out_refund_no", "=refund_id", "=order__number"]
    search_help_text = _("Refund number, WeChat's number or order number")
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
    refund_permission = "shop.add_refund"

    def retry(self, *, refund_ids: list[int], by: str, user_id: int | None) -> int:
        return services.retry_refunds(refund_ids=refund_ids, by=by, user_id=user_id)
