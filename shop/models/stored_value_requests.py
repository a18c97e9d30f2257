"""Members who ask for the stored value back that they paid in, and what an operator decided."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core import money


class StoredValueRequest(models.Model):
    """One asking: open until an operator pays back or declines, or she takes it back.

    `asked_fen`: her principal at that moment, to compare. `paid_fen`: what went back, the sum of the direct refunds
    `refunds`; what is left then (a credit at the counter, a recharge older than a year) is settled in another way.
    """

    OPEN, PAID, DECLINED, WITHDRAWN = "open", "paid", "declined", "withdrawn"
    STATES = [
        (OPEN, _("waits for a decision")),
        (PAID, _("paid back")),
        (DECLINED, _("request declined")),
        (WITHDRAWN, _("taken back by her")),
    ]

    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    state = models.CharField(_("state"), max_length=9, choices=STATES, default=OPEN)
    asked_fen = models.BigIntegerField(_("paid in when she asked"))
    reason = models.CharField(_("reason"), max_length=120, blank=True)
    asked_at = models.DateTimeField(_("asked at"))
    paid_fen = models.BigIntegerField(_("went back"), default=0)
    refunds = models.JSONField(_("direct refunds"), default=list, blank=True)
    answer = models.CharField(_("answer"), max_length=120, blank=True)
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
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
        verbose_name = _("request for stored value")
        verbose_name_plural = _("requests for stored value")
        constraints = [
            models.UniqueConstraint(
                fields=["member"], condition=Q(state="open"), name="one_open_stored_value_request"
            ),
            models.CheckConstraint(
                condition=Q(asked_fen__gt=0, paid_fen__gte=0)
                & (
                    Q(state="open", decided_at__isnull=True)
                    | (~Q(state="open") & Q(decided_at__isnull=False))
                )
                & (Q(state="paid", paid_fen__gt=0) | (~Q(state="paid") & Q(paid_fen=0))),
                name="stored_value_request_says_what_went_back",
            ),
        ]
        indexes = [models.Index(fields=["-asked_at"], name="stored_value_requests_by_time")]

    def __str__(self) -> str:
        return f"#{self.member_id} · ¥{money.yuan(self.asked_fen)}"
