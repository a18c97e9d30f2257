"""Points by category: what a shelf's goods earn more, or less, than others."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class CategoryPoints(models.Model):
    """Goods of this category, and of those below it without a row of their own, earn by this multiplier."""

    category = models.OneToOneField(
        "shop.Category",
        models.CASCADE,
        primary_key=True,
        related_name="points_rule",
        verbose_name=_("category"),
    )
    points_bps = models.PositiveIntegerField(
        _("points multiplier (per ten thousand)"),
        default=10_000,
        help_text=_("20,000: twice the points. 0: none. Growth is not multiplied."),
    )

    class Meta:
        verbose_name = _("points by category")
        verbose_name_plural = _("points by category")
        constraints = [
            models.CheckConstraint(condition=Q(points_bps__lte=100_000), name="category_points_within_reason")
        ]

    def __str__(self) -> str:
        return f"{self.category_id} {self.points_bps}"
