"""A promotion tried on orders that were really placed."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Rehearsal(models.Model):
    """The paid orders of a time replayed with a promotion; sums grow with the job, and stand still when it is done.

    `before_fen` and `after_fen` are the goods of the changed orders without and with it. `cost_fen` is the cost price
    of their goods as far as it is known, `uncosted_fen` what the goods without one would bring.
    """

    promotion = models.ForeignKey(
        "shop.Promotion", models.CASCADE, related_name="rehearsals", verbose_name=_("promotion")
    )
    job = models.OneToOneField(
        "core.Job", models.SET_NULL, null=True, related_name="+", verbose_name=_("job")
    )
    since = models.DateTimeField(_("orders from"))
    until = models.DateTimeField(_("orders before"))
    created_at = models.DateTimeField(_("created at"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("by")
    )
    orders_count = models.PositiveIntegerField(_("orders looked at"), default=0)
    changed_count = models.PositiveIntegerField(_("orders changed"), default=0)
    free_count = models.PositiveIntegerField(_("orders for free"), default=0)
    before_fen = models.BigIntegerField(_("without it"), default=0)
    after_fen = models.BigIntegerField(_("with it"), default=0)
    gifts_fen = models.BigIntegerField(_("gifts at their price"), default=0)
    cost_fen = models.BigIntegerField(_("cost price"), default=0)
    uncosted_fen = models.BigIntegerField(_("of goods without a cost price"), default=0)
    examples = models.JSONField(_("examples"), default=list)

    class Meta:
        verbose_name = _("rehearsal")
        verbose_name_plural = _("rehearsals")
        constraints = [
            models.CheckConstraint(condition=Q(since__lt=F("until")), name="rehearsal_ends_after_it_starts"),
            models.CheckConstraint(
                condition=Q(free_count__lte=F("changed_count"), changed_count__lte=F("orders_count")),
                name="rehearsal_counts_within_each_other",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.promotion} #{self.pk}"

    @property
    def discount_fen(self) -> int:
        return self.before_fen - self.after_fen
