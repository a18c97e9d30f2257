"""WeChat's bill of a day beside our own payments and refunds, and where the two disagree."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Bill(models.Model):
    """WeChat's trade bill of one merchant and one day. Waiting → read (its lines are here) → compared.

    `next_attempt_at` is when a worker looks at it again; null when it is compared.
    """

    WAITING, READ, COMPARED = "waiting", "read", "compared"
    STATUSES = [(WAITING, _("to be fetched")), (READ, _("fetched")), (COMPARED, _("compared"))]

    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("pay account")
    )
    day = models.DateField(_("day"))
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=WAITING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    payments_count = models.PositiveIntegerField(_("payments"), default=0)
    payments_fen = models.BigIntegerField(_("sum paid"), default=0)
    refunds_count = models.PositiveIntegerField(_("refunds"), default=0)
    refunds_fen = models.BigIntegerField(_("sum refunded"), default=0)
    fee_fen = models.BigIntegerField(_("fee of WeChat Pay"), default=0)
    compared_at = models.DateTimeField(_("compared at"), null=True, blank=True)

    class Meta:
        verbose_name = _("WeChat bill")
        verbose_name_plural = _("WeChat bills")
        constraints = [
            models.UniqueConstraint(fields=["account", "day"], name="one_bill_per_account_and_day"),
            models.CheckConstraint(
                condition=~Q(status="compared") | Q(compared_at__isnull=False), name="compared_bill_says_when"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], name="bills_due", condition=Q(next_attempt_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.day}"


class BillLine(models.Model):
    """One line of a bill as WeChat wrote it. `out_refund_no` names a refund, empty: a payment."""

    bill = models.ForeignKey(Bill, models.CASCADE, related_name="lines", verbose_name=_("WeChat bill"))
    out_trade_no = models.CharField(_("merchant's payment number"), max_length=64)
    transaction_id = models.CharField(_("WeChat's number"), max_length=64)
    out_refund_no = models.CharField(_("merchant's refund number"), max_length=64, blank=True)
    refund_id = models.CharField(_("WeChat's refund number"), max_length=64, blank=True)
    state = models.CharField(_("state"), max_length=20)
    amount_fen = models.BigIntegerField(_("amount"))
    fee_fen = models.BigIntegerField(_("fee of WeChat Pay"), default=0)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("line of a bill")
        verbose_name_plural = _("lines of a bill")
        constraints = [
            models.UniqueConstraint(
                fields=["bill", "transaction_id", "out_refund_no"], name="bill_line_stands_once"
            )
        ]
        indexes = [
            models.Index(fields=["out_trade_no"], name="bill_lines_by_payment"),
            models.Index(
                fields=["out_refund_no"], name="bill_lines_by_refund", condition=~Q(out_refund_no="")
            ),
        ]

    def __str__(self) -> str:
        return self.out_refund_no or self.out_trade_no


class BillDifference(models.Model):
    """Where the bill and the shop disagree about one payment or refund. Stays until an operator explains it."""

    MISSING_HERE, MISSING_THERE, AMOUNT = "missing_here", "missing_there", "amount"
    KINDS = [
        (MISSING_HERE, _("WeChat has it, the shop does not")),
        (MISSING_THERE, _("the shop has it, WeChat does not")),
        (AMOUNT, _("the amounts differ")),
    ]

    bill = models.ForeignKey(Bill, models.PROTECT, related_name="differences", verbose_name=_("WeChat bill"))
    kind = models.CharField(_("what"), max_length=16, choices=KINDS)
    is_refund = models.BooleanField(_("refund"))
    number = models.CharField(
        _("merchant's number"), max_length=64, help_text=_("The merchant's number of the payment or refund.")
    )
    payment = models.ForeignKey(
        "shop.Payment", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("payment")
    )
    ours_fen = models.BigIntegerField(_("in the shop"), null=True, blank=True)
    theirs_fen = models.BigIntegerField(_("on the bill"), null=True, blank=True)
    found_at = models.DateTimeField(_("found at"))
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)
    note = models.CharField(_("explanation"), max_length=300, blank=True)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )

    class Meta:
        verbose_name = _("difference to the bill")
        verbose_name_plural = _("differences to the bill")
        permissions = [("resolve_billdifference", "Can resolve differences to the bill")]
        constraints = [
            models.UniqueConstraint(
                fields=["bill", "kind", "is_refund", "number"], name="bill_difference_stands_once"
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True) | ~Q(note=""), name="resolved_difference_is_explained"
            ),
        ]
        indexes = [
            models.Index(
                fields=["-found_at"], name="differences_to_resolve", condition=Q(resolved_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return self.number
