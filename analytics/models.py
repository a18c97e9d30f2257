"""Numbers per day and per origin of members, kept so that a page need not count years of facts."""

from django.conf import settings
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


class LifetimeRow(models.Model):
    """What the members of one channel, store, guide or first product have brought and may bring. Amounts in fen.

    All rows are written anew each night. `key` is "code:3", "via:follow", "store:2", "staff:5", "product:9", or "" for
    whom none is known of; expectations are those of the lifecycle, 90 days ahead.
    """

    CHANNEL, STORE, GUIDE, PRODUCT = "channel", "store", "guide", "product"
    DIMENSIONS = [
        (CHANNEL, _("channel")),
        (STORE, _("store")),
        (GUIDE, _("guide")),
        (PRODUCT, _("first product")),
    ]

    dimension = models.CharField(_("by"), max_length=8, choices=DIMENSIONS)
    key = models.CharField(max_length=30, blank=True)
    label = models.CharField(_("name"), max_length=120, blank=True)
    members = models.PositiveIntegerField(_("members"))
    buyers = models.PositiveIntegerField(_("buyers"))
    orders = models.PositiveBigIntegerField(_("orders"))
    kept_fen = models.BigIntegerField(_("paid and kept"))
    alive = models.PositiveIntegerField(_("probably still customers"))
    expected_orders_milli = models.PositiveBigIntegerField(_("thousandths of purchases expected in 90 days"))
    expected_fen = models.BigIntegerField(_("expected in 90 days"))

    class Meta:
        verbose_name = _("customer lifetime")
        verbose_name_plural = _("customer lifetimes")
        permissions = [("export_lifetimerow", _("Can export customer lifetimes"))]
        constraints = [
            models.UniqueConstraint(fields=["dimension", "key"], name="lifetime_row_once"),
            models.CheckConstraint(
                condition=models.Q(buyers__lte=models.F("members"), alive__lte=models.F("buyers")),
                name="lifetime_buyers_are_members",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dimension} {self.label or self.key}"


class LifetimeCount(models.Model):
    """The lifetimes were counted on this day."""

    day = models.DateField(_("day"), unique=True)
    counted_at = models.DateTimeField(_("counted at"))
    members_count = models.PositiveIntegerField(_("members"))

    class Meta:
        verbose_name = _("count of lifetimes")
        verbose_name_plural = _("counts of lifetimes")

    def __str__(self) -> str:
        return f"{self.day}"


class LifetimeExport(models.Model):
    """Somebody took the table out of the house. Append-only."""

    dimension = models.CharField(_("by"), max_length=8, choices=LifetimeRow.DIMENSIONS)
    rows_count = models.PositiveIntegerField(_("rows"))
    at = models.DateTimeField(_("at"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("by whom")
    )

    class Meta:
        verbose_name = _("export of lifetimes")
        verbose_name_plural = _("exports of lifetimes")

    def __str__(self) -> str:
        return f"{self.dimension} {self.at:%Y-%m-%d}"
