"""How far shoppers get on the way to a payment, as facts. Orders, payments and cancellations are facts already."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop import logistics


class FunnelStep(models.Model):
    """A member reached a step: once a day, or once per order when it is about one. `reason` says why she stopped."""

    member = models.ForeignKey(
        "crm.Member", models.CASCADE, db_index=False, related_name="+", verbose_name=_("member")
    )
    order = models.ForeignKey(
        "shop.Order", models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("order")
    )
    step = models.CharField(_("step"), max_length=16, choices=logistics.FUNNEL_STEPS)
    reason = models.CharField(_("reason"), max_length=24, blank=True)
    day = models.DateField(_("day"), help_text=_("The shop's day."))
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("funnel step")
        verbose_name_plural = _("funnel steps")
        constraints = [
            models.UniqueConstraint(
                fields=["member", "day", "step", "reason"],
                condition=Q(order__isnull=True),
                name="funnel_step_once_per_member_and_day",
            ),
            models.UniqueConstraint(
                fields=["order", "step", "reason"],
                condition=Q(order__isnull=False),
                name="funnel_step_once_per_order",
            ),
            models.CheckConstraint(
                condition=Q(step__in=[word for word, _label in logistics.FUNNEL_STEPS]),
                name="funnel_step_is_a_known_word",
            ),
        ]
        indexes = [models.Index(fields=["day", "step"], name="funnel_steps_by_day")]

    def __str__(self) -> str:
        return f"{self.member_id} {self.step}"
