"""What a parcel costs, by province."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class ShippingRate(models.Model):
    """The fee to a province; the row without one is for everywhere else. Without rows every parcel is free."""

    province = models.CharField(
        _("province"),
        max_length=40,
        blank=True,
        unique=True,
        help_text=_("As addresses begin, such as 新疆; empty: everywhere else."),
    )
    base_fen = models.BigIntegerField(_("fee"))
    free_from_fen = models.BigIntegerField(
        _("free from"),
        null=True,
        blank=True,
        help_text=_("What the goods cost after promotions; empty: never."),
    )

    class Meta:
        verbose_name = _("shipping rate")
        verbose_name_plural = _("shipping rates")
        ordering = ["province"]
        constraints = [
            models.CheckConstraint(
                condition=Q(base_fen__gte=0) & (Q(free_from_fen__isnull=True) | Q(free_from_fen__gte=0)),
                name="shipping_rate_never_negative",
            )
        ]

    def __str__(self) -> str:
        return self.province or str(_("everywhere else"))
