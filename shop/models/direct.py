"""Money at WeChat that pays no order: a recharge of stored value, a paid membership, what the points mall takes on top
of points. And how it goes back."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core import money
from shop.models.money import MoneyIn, MoneyOut
from shop.models.payments import Payment


class DirectPayment(MoneyIn):
    """One out_trade_no at WeChat, committed before the platform is called.

    What it buys is a row of its own (`Recharge`, `MembershipSale`, `MallExchange`), written with it. Money that comes
    after the sheet was closed is booked all the same, for what it buys is not scarce; goods of the points mall are:
    that money goes back.
    """

    RECHARGE, MEMBERSHIP, MALL = "recharge", "membership", "mall"
    KINDS = [
        (RECHARGE, _("recharge")),
        (MEMBERSHIP, _("paid membership")),
        (MALL, _("exchange of points with money")),
    ]
    PREFIX = "DP"

    kind = models.CharField(_("kind"), max_length=10, choices=KINDS)
    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("pay account")
    )
    way = models.CharField(_("paid by"), max_length=12, choices=Payment.KINDS, default=Payment.JSAPI)

    class Meta:
        verbose_name = _("direct payment")
        verbose_name_plural = _("direct payments")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_fen__gt=0, paid_fen__gte=0)
                & Q(refunded_fen__gte=0)
                & Q(refunded_fen__lte=F("paid_fen")),
                name="direct_payment_gives_back_at_most_what_it_took",
            ),
            models.CheckConstraint(
                condition=~Q(status="paid")
                | Q(paid_fen=F("amount_fen"), paid_at__isnull=False, transaction_id__isnull=False),
                name="direct_payment_is_paid_in_full",
            ),
            models.CheckConstraint(
                condition=Q(way__in=["jsapi", "native", "h5"]) & (~Q(way="jsapi") | ~Q(openid="")),
                name="direct_payment_is_at_wechat",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_query_at"], name="direct_payments_to_ask_about", condition=Q(status="open")
            ),
            models.Index(fields=["-created_at"], name="direct_payments_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.out_trade_no} · ¥{money.yuan(self.amount_fen)}"


class DirectRefund(MoneyOut):
    """Money of a direct payment that goes back.

    `bonus_fen` is what of the bonus was taken back with it. What it took of the member's value is taken when it is
    asked for, and given back when WeChat refuses (`closed`). `outside`: WeChat kept refusing, and an operator has given
    the member her money in another way, as `settlement` says; it is never sent again.
    """

    OUTSIDE = "outside"
    STATUSES = [*MoneyOut.STATUSES, (OUTSIDE, _("settled outside"))]

    payment = models.ForeignKey(
        DirectPayment, models.PROTECT, related_name="refunds", verbose_name=_("payment")
    )
    status = models.CharField(_("status"), max_length=12, choices=STATUSES, default=MoneyOut.PENDING)
    bonus_fen = models.BigIntegerField(_("bonus taken back"), default=0)
    settlement = models.CharField(_("how it was settled"), max_length=200, blank=True)
    settled_by = models.CharField(_("settled by"), max_length=80, blank=True)

    class Meta:
        verbose_name = _("direct refund")
        verbose_name_plural = _("direct refunds")
        constraints = [
            models.UniqueConstraint(
                fields=["payment"],
                condition=~Q(status__in=["closed", "success", "outside"]),
                name="one_direct_refund_under_way",
            ),
            models.CheckConstraint(
                condition=Q(amount_fen__gt=0, bonus_fen__gte=0), name="direct_refund_is_positive"
            ),
            models.CheckConstraint(
                condition=(
                    Q(status="outside") & ~Q(settlement="") & ~Q(settled_by="") & Q(refunded_at__isnull=False)
                )
                | (~Q(status="outside") & Q(settlement="", settled_by="")),
                name="refund_settled_outside_says_how",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                name="direct_refunds_due",
                condition=Q(status__in=["pending", "processing"]),
            ),
            models.Index(fields=["-requested_at"], name="direct_refunds_by_time"),
        ]

    def __str__(self) -> str:
        return self.out_refund_no
