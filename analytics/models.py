"""Numbers per day, kept so that the home page need not count a year of facts."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class DayFigures(models.Model):
    """One day of the shop's calendar, counted again whenever facts of that day arrived. Money in fen."""

    day = models.DateField(_("day"), unique=True)
    followed = models.PositiveIntegerField(_("new followers"), default=0)
    unfollowed = models.PositiveIntegerField(_("lost followers"), default=0)
    members = models.PositiveIntegerField(_("new members"), default=0)
    visitors = models.PositiveIntegerField(_("visitors"), default=0)
    visits = models.PositiveIntegerField(_("visits"), default=0)
    orders = models.PositiveIntegerField(_("orders"), default=0)
    paid_orders = models.PositiveIntegerField(_("paid orders"), default=0)
    paid_fen = models.BigIntegerField(_("paid amount"), default=0)
    refunded_fen = models.BigIntegerField(_("refunded amount"), default=0)
    touched = models.PositiveIntegerField(_("touches"), default=0)
    opened = models.PositiveIntegerField(_("opened"), default=0)
    counted_at = models.DateTimeField(_("counted at"))

    class Meta:
        verbose_name = _("figures of a day")
        verbose_name_plural = _("figures by day")

    def __str__(self) -> str:
        return f"{self.day}"


class Watermark(models.Model):
    """Up to which fact the days have been counted."""

    name = models.CharField(max_length=40, unique=True)
    last_id = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("watermark")
        verbose_name_plural = _("watermarks")

    def __str__(self) -> str:
        return f"{self.name}: {self.last_id}"
