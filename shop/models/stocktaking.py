"""Counting a store's shelves: many SKUs, looked at together before one booking."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Stocktake(models.Model):
    """One round of counting in one store. Booked once; then its lines say what was moved."""

    OPEN, BOOKED, CANCELLED = "open", "booked", "cancelled"
    STATES = [(OPEN, _("being counted")), (BOOKED, _("booked")), (CANCELLED, _("cancelled"))]

    store = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("store"))
    title = models.CharField(_("title"), max_length=80, blank=True)
    state = models.CharField(_("status"), max_length=10, choices=STATES, default=OPEN)
    opened_by = models.CharField(_("opened by"), max_length=80, blank=True)
    opened_at = models.DateTimeField(_("opened at"))
    closed_by = models.CharField(_("closed by"), max_length=80, blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("stock-taking")
        verbose_name_plural = _("stock-takings")
        indexes = [models.Index(fields=["-opened_at"], name="stocktakes_by_time")]

    def __str__(self) -> str:
        return self.title or f"{self.store} #{self.pk}"


class StocktakeLine(models.Model):
    """One SKU as counted. `on_hand` is what the book said at that moment: the difference is booked, not the count, so
    that what left the shelf between counting and booking is not given back.
    """

    stocktake = models.ForeignKey(
        Stocktake, models.CASCADE, related_name="lines", verbose_name=_("stock-taking")
    )
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="+", verbose_name=_("SKU"))
    on_hand = models.IntegerField(_("on hand when counted"))
    counted = models.PositiveIntegerField(_("counted"))
    counted_by = models.CharField(_("counted by"), max_length=80, blank=True)
    counted_at = models.DateTimeField(_("when counted"))

    class Meta:
        verbose_name = _("counted SKU")
        verbose_name_plural = _("counted SKUs")
        constraints = [
            models.UniqueConstraint(fields=["stocktake", "sku"], name="a_sku_is_counted_once_per_stocktake"),
            models.CheckConstraint(condition=Q(counted__lte=10_000_000), name="a_count_is_sensible"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} {self.counted}"

    @property
    def difference(self) -> int:
        """Positive: more lay there than the book said."""
        return self.counted - self.on_hand
