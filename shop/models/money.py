"""What every payment and every refund has, whether an order stands behind it or not: columns, no tables."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class MoneyIn(models.Model):
    """Money from one source, under a number of ours. Its amount and payer are frozen when it is made.

    `difference` says what did not match when a notice came: such money is not booked (`mismatch`), an operator decides.
    """

    OPEN, PAID, CLOSED, MISMATCH = "open", "paid", "closed", "mismatch"
    STATUSES = [
        (OPEN, _("to be paid")),
        (PAID, _("paid")),
        (CLOSED, _("closed")),
        (MISMATCH, _("does not match, not booked")),
    ]

    out_trade_no = models.CharField(_("merchant's payment number"), max_length=32, unique=True)
    openid = models.CharField(_("payer (openid)"), max_length=64, blank=True)
    amount_fen = models.BigIntegerField(_("amount"))
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=OPEN)
    transaction_id = models.CharField(_("WeChat's number"), max_length=64, null=True, blank=True, unique=True)
    paid_fen = models.BigIntegerField(_("paid"), default=0)
    refunded_fen = models.BigIntegerField(
        _("refunded"), default=0, db_default=0, help_text=_("Gone back or on its way back.")
    )
    difference = models.CharField(_("difference"), max_length=300, blank=True)
    expires_at = models.DateTimeField(_("to be paid until"))
    created_at = models.DateTimeField(_("started at"))
    paid_at = models.DateTimeField(_("paid at"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    queries = models.PositiveSmallIntegerField(_("times asked"), default=0)
    next_query_at = models.DateTimeField(_("ask again at"), null=True, blank=True)

    class Meta:
        abstract = True


class MoneyOut(models.Model):
    """Money that goes back, under one out_refund_no that is used for every attempt."""

    PENDING, PROCESSING, SUCCESS = "pending", "processing", "success"
    ABNORMAL, CLOSED = "abnormal", "closed"
    STATUSES = [
        (PENDING, _("to be sent")),
        (PROCESSING, _("being refunded")),
        (SUCCESS, _("refunded")),
        (ABNORMAL, _("needs handling at WeChat Pay")),
        (CLOSED, _("refused by WeChat Pay")),
    ]

    out_refund_no = models.CharField(_("merchant's refund number"), max_length=64, unique=True)
    amount_fen = models.BigIntegerField(_("amount"))
    status = models.CharField(_("status"), max_length=12, choices=STATUSES, default=PENDING)
    refund_id = models.CharField(_("WeChat's refund number"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=80, blank=True)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    requested_at = models.DateTimeField(_("requested at"))
    refunded_at = models.DateTimeField(_("refunded at"), null=True, blank=True)

    class Meta:
        abstract = True
