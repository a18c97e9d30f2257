"""Bundles: one SKU that is sold as several others together, at one price."""

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from shop.models.catalogue import Sku


class Bundle(Sku):
    """The SKUs that are made of others."""

    class Meta:
        proxy = True
        verbose_name = _("bundle")
        verbose_name_plural = _("bundles")


@pghistory.track()
class BundleItem(models.Model):
    """So many pieces of `sku` are in one piece of `bundle`. A part is never a bundle itself: a trigger holds it."""

    bundle = models.ForeignKey("shop.Sku", models.CASCADE, related_name="items", verbose_name=_("bundle"))
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="+", verbose_name=_("part"))
    quantity = models.PositiveIntegerField(_("pieces"), default=1)

    class Meta:
        verbose_name = _("part of a bundle")
        verbose_name_plural = _("parts of the bundle")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["bundle", "sku"], name="a_bundle_names_a_part_once"),
            models.CheckConstraint(condition=~Q(bundle=F("sku")), name="a_bundle_is_not_its_own_part"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=99), name="a_bundle_has_pieces_of_its_parts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} ×{self.quantity}"


class OrderBundle(models.Model):
    """A bundle in an order as it was then: its parts are order lines that point here and sum to its price.

    `unit_price_fen` is the catalogue's price of one bundle; what pricing took off stands at the lines.
    """

    order = models.ForeignKey("shop.Order", models.CASCADE, related_name="bundles", verbose_name=_("order"))
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="+", verbose_name=_("bundle"))
    name = models.CharField(_("name"), max_length=202)
    image = models.CharField(_("image"), max_length=200, blank=True)
    unit_price_fen = models.BigIntegerField(_("unit price"))
    quantity = models.PositiveIntegerField(_("quantity"))

    class Meta:
        verbose_name = _("bundle of an order")
        verbose_name_plural = _("bundles of the order")
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=1, unit_price_fen__gte=0),
                name="order_bundle_has_a_price_and_pieces",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ×{self.quantity}"
