"""Prices beside the catalogue's: per member tier, at cost; what points are worth as money; which rules are in force."""

import uuid

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class MemberPrice(models.Model):
    """What an SKU costs members of a tier; the catalogue's price stays when it is lower."""

    tier = models.CharField(_("member tier"), max_length=40)
    sku = models.ForeignKey("shop.Sku", models.CASCADE, related_name="member_prices", verbose_name=_("SKU"))
    price_fen = models.BigIntegerField(_("price (fen)"))

    class Meta:
        verbose_name = _("member price")
        verbose_name_plural = _("member prices")
        constraints = [
            models.UniqueConstraint(fields=["sku", "tier"], name="one_member_price_per_tier"),
            models.CheckConstraint(
                condition=Q(price_fen__gte=0) & ~Q(tier=""), name="member_price_never_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier} · {self.sku}"


@pghistory.track()
class CostPrice(models.Model):
    """What the shop itself pays for an SKU; SKUs without a row have none that is known. Only staff see it."""

    sku = models.OneToOneField(
        "shop.Sku", models.CASCADE, primary_key=True, related_name="cost_price", verbose_name=_("SKU")
    )
    cost_fen = models.BigIntegerField(_("cost price (fen)"))

    class Meta:
        verbose_name = _("cost price")
        verbose_name_plural = _("cost prices")
        constraints = [models.CheckConstraint(condition=Q(cost_fen__gte=0), name="cost_price_never_negative")]

    def __str__(self) -> str:
        return str(self.sku)


@pghistory.track()
class PointsPolicy(models.Model):
    """Points as money: one row, or none while the shop takes no points."""

    fen_per_100 = models.PositiveIntegerField(_("100 points are worth (fen)"), default=100)
    cap_bps = models.PositiveIntegerField(
        _("at most of the goods (per ten thousand)"),
        default=5_000,
        help_text=_("5,000: half of the goods' price."),
    )
    least = models.PositiveIntegerField(_("fewest points"), default=100)
    is_active = models.BooleanField(_("switched on"), default=True)

    class Meta:
        verbose_name = _("points as money")
        verbose_name_plural = _("points as money")
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="one_points_policy"),
            models.CheckConstraint(
                condition=Q(fen_per_100__gte=1, fen_per_100__lte=100_000, cap_bps__lte=10_000, least__gte=1),
                name="points_policy_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return str(_("points as money"))


class PricingVersion(models.Model):
    """The version of the rules that processes keep in memory: promotions, coupons, shipping, points as money, which
    SKUs have offers, the categories' tree, the stores. It is the set of these rows, mostly one.

    Only the trigger `shop_note_pricing_rules` writes here: a change of a rule puts a row of its own in the place of
    those that it sees, so that no two states of the rules ever have the same set, and editors do not wait for each
    other. No row at all: nothing is kept.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        verbose_name = _("version of the pricing rules")
        verbose_name_plural = _("versions of the pricing rules")

    def __str__(self) -> str:
        return str(self.pk)
