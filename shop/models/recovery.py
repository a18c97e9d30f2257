"""What the shop does about orders that stop before the payment, what it promises, when an order counts as received,
and what becomes of what nobody collects.
"""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

GUARANTEES = "正品保证\n7 天无理由退货\n微信支付 安全付款"


@pghistory.track()
class ServiceRules(models.Model):
    """The one row of these rules."""

    WAIT, LATER, AT_ONCE = "wait", "later", "at_once"
    SIGNED_RULES = [
        (WAIT, _("wait for the shopper, ten days after shipping at the latest")),
        (LATER, _("some days after it was signed for")),
        (AT_ONCE, _("as soon as it was signed for")),
    ]

    REFUND, SHELVE = "refund", "shelve"
    UNCOLLECTED_RULES = [
        (REFUND, _("is paid back, and its goods are free again")),
        (SHELVE, _("goes back on the shelf, and the shopper is reminded")),
    ]

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    reminds = models.BooleanField(_("remind of unpaid orders"), default=True)
    remind_minutes = models.PositiveSmallIntegerField(
        _("minutes before the time is over"),
        default=10,
        help_text=_("One reminder per order, within the touch policy (service)."),
    )
    guarantees = models.TextField(
        _("guarantees"),
        default=GUARANTEES,
        blank=True,
        max_length=200,
        help_text=_("Shown at checkout and till, one a line, at most five. Promise only what you keep."),
    )
    when_signed = models.CharField(
        _("an order counts as received"), max_length=8, choices=SIGNED_RULES, default=WAIT
    )
    received_days = models.PositiveSmallIntegerField(_("days after signing"), default=3)
    pickup_days = models.PositiveSmallIntegerField(
        _("days to collect"),
        default=14,
        help_text=_("From when it lies ready. 0: pickups wait for ever."),
    )
    when_uncollected = models.CharField(
        _("what nobody collected"), max_length=8, choices=UNCOLLECTED_RULES, default=REFUND
    )
    voucher_days = models.PositiveSmallIntegerField(
        _("days before a voucher ends"),
        default=7,
        db_default=7,
        help_text=_("Its owner is reminded once, within the touch policy (service). 0: never."),
    )

    class Meta:
        verbose_name = _("service rules")
        verbose_name_plural = _("service rules")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="there_is_one_row_of_service_rules"),
            models.CheckConstraint(
                condition=Q(remind_minutes__gte=2, remind_minutes__lte=1440),
                name="reminder_comes_two_minutes_to_a_day_before",
            ),
            models.CheckConstraint(
                condition=Q(received_days__gte=1, received_days__lte=30), name="receipt_within_thirty_days"
            ),
            models.CheckConstraint(
                condition=Q(when_signed__in=["wait", "later", "at_once"]),
                name="when_signed_is_a_known_word",
            ),
            models.CheckConstraint(
                condition=Q(voucher_days__lte=90), name="vouchers_remind_within_ninety_days"
            ),
            models.CheckConstraint(
                condition=Q(when_uncollected__in=["refund", "shelve"], pickup_days__lte=365),
                name="when_uncollected_is_a_known_word",
            ),
        ]

    def __str__(self) -> str:
        return str(_("service rules"))


class PaymentReminder(models.Model):
    """The one reminder of an unpaid order, or why there was none."""

    SENT, SKIPPED = "sent", "skipped"
    STATES = [(SENT, _("sent")), (SKIPPED, _("skipped"))]

    order = models.OneToOneField(
        "shop.Order", models.PROTECT, related_name="reminder", verbose_name=_("order")
    )
    state = models.CharField(_("state"), max_length=8, choices=STATES)
    channel = models.CharField(_("channel"), max_length=12, blank=True)
    reason = models.CharField(_("reason"), max_length=24, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("payment reminder")
        verbose_name_plural = _("payment reminders")
        constraints = [
            models.CheckConstraint(
                condition=Q(state="sent", reason="") & ~Q(channel="") | Q(state="skipped") & ~Q(reason=""),
                name="payment_reminder_was_sent_or_says_why_not",
            )
        ]
        indexes = [models.Index(fields=["-at"], name="payment_reminders_by_time")]

    def __str__(self) -> str:
        return f"{self.order_id} {self.state}"
