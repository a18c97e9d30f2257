"""Promotions as operators set them up; `shop.pricing.rules.PromotionRule` says what each column does to a price."""

from datetime import datetime

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@pghistory.track()
class Promotion(models.Model):
    """满减, 满折, 第 N 件, 加价购, 满赠 or a bundle price, of named products, named categories, or of all.

    Promotions of one `exclusion_group` never share a line; an empty group shares with all. Switched off it is a draft:
    it prices nothing, but can be tried and rehearsed.
    """

    AMOUNT_OFF, PERCENT_OFF, NTH_PIECE = "amount_off", "percent_off", "nth_piece"
    ADD_ON, GIFT, BUNDLE = "add_on", "gift", "bundle"
    KINDS = [
        (AMOUNT_OFF, _("amount off from a threshold")),
        (PERCENT_OFF, _("percentage off from a threshold")),
        (NTH_PIECE, _("every nth piece reduced")),
        (ADD_ON, _("add-on at a special price")),
        (GIFT, _("gift from a threshold")),
        (BUNDLE, _("bundle price")),
    ]
    DRAFT, UPCOMING, RUNNING, OVER = "draft", "upcoming", "running", "over"
    STATES = {
        DRAFT: _("draft"),
        UPCOMING: _("upcoming"),
        RUNNING: pgettext_lazy("promotion", "running"),
        OVER: _("over"),
    }

    title = models.CharField(
        _("title"), max_length=60, help_text=_("Shoppers read it on the product and in the cart.")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=KINDS)
    is_active = models.BooleanField(
        _("switched on"), default=False, help_text=_("Switched off it is a draft, which you can rehearse.")
    )
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    products = models.ManyToManyField(
        "shop.Product", blank=True, related_name="+", verbose_name=_("products")
    )
    categories = models.ManyToManyField(
        "shop.Category", blank=True, related_name="+", verbose_name=_("categories")
    )
    brands = models.ManyToManyField("shop.Brand", blank=True, related_name="+", verbose_name=_("brands"))
    except_products = models.ManyToManyField(
        "shop.Product", blank=True, related_name="+", verbose_name=_("products left out")
    )
    threshold_fen = models.BigIntegerField(
        _("from an amount of"), default=0, help_text=_("What the goods above must cost; 0: any amount.")
    )
    threshold_quantity = models.PositiveIntegerField(
        _("from pieces"), default=0, help_text=_("How many of the goods above; 0: any number.")
    )
    amount_fen = models.BigIntegerField(
        _("amount"), default=0, help_text=_("What is taken off; for a bundle, what one set costs.")
    )
    off_bps = models.PositiveIntegerField(
        _("taken off (per ten thousand)"), default=0, help_text=_("2,000 takes 20 % off.")
    )
    cap_fen = models.BigIntegerField(_("at most"), null=True, blank=True, help_text=_("Empty: no limit."))
    nth = models.PositiveIntegerField(_("which piece"), default=2)
    repeats = models.BooleanField(
        _("repeats"),
        default=False,
        help_text=_("Again for every full threshold, every nth piece, every set."),
    )
    max_times = models.PositiveIntegerField(_("at most times"), default=0, help_text=_("0: no limit."))
    exclusion_group = models.CharField(
        _("exclusion group"),
        max_length=20,
        blank=True,
        default="A",
        help_text=_("Of one group the best applies to a line; empty: together with every other."),
    )
    priority = models.IntegerField(_("priority"), default=0, help_text=_("Larger comes first."))
    tiers = models.CharField(
        _("member tiers"), max_length=200, blank=True, help_text=_("Separated by commas; empty: everybody.")
    )
    only_new = models.BooleanField(_("first order only"), default=False)
    with_offers = models.BooleanField(_("also on special prices"), default=False)
    with_coupons = models.BooleanField(_("together with coupons"), default=True)

    class Meta:
        verbose_name = _("promotion")
        verbose_name_plural = _("promotions")
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="promotion_ends_after_it_starts"
            ),
            models.CheckConstraint(
                condition=Q(threshold_fen__gte=0, amount_fen__gte=0, off_bps__lte=10_000)
                & (Q(cap_fen__isnull=True) | Q(cap_fen__gte=1)),
                name="promotion_amounts_within_reason",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["amount_off", "bundle"], amount_fen__gte=1)
                | Q(kind__in=["percent_off", "nth_piece"], off_bps__gte=1)
                | Q(kind__in=["gift", "add_on"]),
                name="promotion_takes_something_off",
            ),
            models.CheckConstraint(
                condition=~Q(kind="nth_piece") | Q(nth__gte=2), name="promotion_nth_piece_is_not_the_first"
            ),
            models.CheckConstraint(
                condition=Q(repeats=False)
                | Q(kind__in=["nth_piece", "bundle"])
                | Q(threshold_fen__gte=1)
                | Q(threshold_quantity__gte=1),
                name="promotion_repeats_by_a_threshold",
            ),
        ]
        indexes = [
            models.Index(fields=["ends_at"], name="promotions_switched_on", condition=Q(is_active=True))
        ]

    def __str__(self) -> str:
        return self.title

    def state_at(self, moment: datetime) -> str:
        """draft, upcoming, running or over."""
        if moment >= self.ends_at:
            return self.OVER
        if not self.is_active:
            return self.DRAFT
        return self.UPCOMING if moment < self.starts_at else self.RUNNING


@pghistory.track()
class PromotionExtra(models.Model):
    """An SKU that a promotion gives, sells as an add-on at `price_fen`, or needs as a part of its bundle."""

    promotion = models.ForeignKey(
        Promotion, models.CASCADE, related_name="extras", verbose_name=_("promotion")
    )
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="+", verbose_name=_("SKU"))
    quantity = models.PositiveIntegerField(_("pieces"), default=1)
    price_fen = models.BigIntegerField(_("price as an add-on"), default=0)

    class Meta:
        verbose_name = _("gift, add-on or part")
        verbose_name_plural = _("gifts, add-ons or parts")
        constraints = [
            models.UniqueConstraint(fields=["promotion", "sku"], name="sku_once_per_promotion"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=99, price_fen__gte=0),
                name="promotion_extra_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku_id} ×{self.quantity}"


@pghistory.track()
class PromotionLevel(models.Model):
    """A higher step of 阶梯满减 or 阶梯满折: from its threshold on, its discount takes the promotion's own's place.

    That thresholds and discounts rise from step to step, the admin asks for; whatever they are, the highest step that
    a cart reaches counts.
    """

    promotion = models.ForeignKey(
        Promotion, models.CASCADE, related_name="levels", verbose_name=_("promotion")
    )
    threshold_fen = models.BigIntegerField(_("from an amount of"), default=0)
    threshold_quantity = models.PositiveIntegerField(_("from pieces"), default=0)
    amount_fen = models.BigIntegerField(_("amount"), default=0)
    off_bps = models.PositiveIntegerField(_("taken off (per ten thousand)"), default=0)

    class Meta:
        verbose_name = _("further level")
        verbose_name_plural = _("further levels")
        ordering = ["threshold_fen", "threshold_quantity", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["promotion", "threshold_fen", "threshold_quantity"],
                name="one_promotion_level_per_threshold",
            ),
            models.CheckConstraint(
                condition=Q(threshold_fen__gte=0, amount_fen__gte=0, off_bps__lte=10_000)
                & (Q(threshold_fen__gte=1) | Q(threshold_quantity__gte=1))
                & (Q(amount_fen__gte=1) | Q(off_bps__gte=1)),
                name="promotion_level_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.promotion_id}: {self.threshold_fen} / {self.threshold_quantity}"
