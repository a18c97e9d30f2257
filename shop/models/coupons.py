"""Coupons as instruments: what one is worth, where it may be used, and who holds which."""

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


@pghistory.track(exclude=["granted_count"])
class Coupon(models.Model):
    """What is taken off, from what, for whom and how long; members hold it as `CouponGrant`.

    amount: `amount_fen` off; percentage: `rate_bps` off, at most `cap_fen`; shipping: the shipping, at most
    `amount_fen` of it (0: all); gift: `gift_sku` as a line of its own; exchange: one piece of `gift_sku` in the cart
    costs nothing. `scope_ids` are products, categories or brands as `scope` says. `granted_count` is written by
    grants alone.
    """

    AMOUNT, PERCENTAGE, SHIPPING, GIFT, EXCHANGE = "amount", "percentage", "shipping", "gift", "exchange"
    KINDS = [
        (AMOUNT, _("amount off")),
        (PERCENTAGE, _("percentage off")),
        (SHIPPING, _("shipping off")),
        (GIFT, _("gift")),
        (EXCHANGE, _("exchange for goods")),
    ]
    ALL, PRODUCTS, CATEGORIES, BRANDS = "all", "products", "categories", "brands"
    SCOPES = [
        (ALL, _("all goods")),
        (PRODUCTS, _("certain products")),
        (CATEGORIES, _("certain categories")),
        (BRANDS, _("certain brands")),
    ]

    code = models.CharField(
        _("coupon code"),
        max_length=40,
        unique=True,
        help_text=_("Part of its claim link: letters, digits and hyphens."),
    )
    name = models.CharField(_("name"), max_length=60, help_text=_("Shoppers see it."))
    kind = models.CharField(_("kind"), max_length=12, choices=KINDS, default=AMOUNT)
    amount_fen = models.BigIntegerField(_("amount (fen)"), default=0)
    rate_bps = models.PositiveIntegerField(
        _("rate taken off (basis points)"), default=0, help_text=_("2000 takes off a fifth.")
    )
    cap_fen = models.BigIntegerField(_("at most (fen)"), null=True, blank=True)
    threshold_fen = models.BigIntegerField(
        _("from an amount of (fen)"),
        default=0,
        help_text=_("Of the goods it applies to; 0: from the first fen."),
    )
    gift_sku = models.ForeignKey(
        "shop.Sku",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("gift or exchanged SKU"),
    )
    scope = models.CharField(_("applies to"), max_length=12, choices=SCOPES, default=ALL)
    scope_ids = ArrayField(
        models.BigIntegerField(), verbose_name=_("products, categories or brands"), default=list, blank=True
    )
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    valid_days = models.PositiveIntegerField(
        _("days after receipt"), null=True, blank=True, help_text=_("Empty: until the date above.")
    )
    is_stackable = models.BooleanField(_("together with other coupons"), default=False)
    quota = models.PositiveIntegerField(
        _("how many in all"), null=True, blank=True, help_text=_("Empty: no limit.")
    )
    granted_count = models.PositiveIntegerField(_("granted"), default=0, editable=False)
    per_member_limit = models.PositiveIntegerField(_("how many per member"), default=1)
    returns_on_cancel = models.BooleanField(_("comes back when the order is cancelled"), default=True)
    returns_on_refund = models.BooleanField(_("comes back when the whole order is refunded"), default=True)
    is_claimable = models.BooleanField(
        _("may be claimed by link"), default=False, help_text=_("Otherwise it is given by the shop only.")
    )
    is_active = models.BooleanField(_("is given out"), default=True)
    created_at = models.DateTimeField(_("created at"), editable=False)

    class Meta:
        verbose_name = _("coupon")
        verbose_name_plural = _("coupons")
        constraints = [
            models.CheckConstraint(
                condition=Q(quota__isnull=True) | Q(granted_count__lte=F("quota")),
                name="coupon_grants_at_most_its_quota",
            ),
            models.CheckConstraint(
                condition=Q(amount_fen__gte=0, threshold_fen__gte=0)
                & (Q(cap_fen__isnull=True) | Q(cap_fen__gt=0)),
                name="coupon_amounts_never_negative",
            ),
            models.CheckConstraint(
                condition=Q(kind="amount", amount_fen__gt=0)
                | Q(kind="percentage", rate_bps__gte=1, rate_bps__lte=10_000)
                | Q(kind="shipping")
                | Q(kind__in=["gift", "exchange"], gift_sku__isnull=False),
                name="coupon_is_worth_something",
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=False) | Q(valid_days__gte=1),
                name="coupon_ends_some_day",
            ),
            models.CheckConstraint(
                condition=Q(per_member_limit__gte=1), name="coupon_is_for_at_least_one_each"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CouponGrant(models.Model):
    """One coupon in one member's hand. `key` names why she got it, once; `ordinal` counts hers of this coupon from 1,
    so that the unique key holds the limit per member. `order` is where it was used; an order that gives it back
    clears it, and `OrderDiscount` still tells what it took off.
    """

    HELD, USED, EXPIRED, REVOKED = "held", "used", "expired", "revoked"
    STATES = [
        (HELD, _("usable")),
        (USED, _("used")),
        (EXPIRED, _("expired")),
        (REVOKED, _("taken back")),
    ]

    coupon = models.ForeignKey(
        Coupon, models.PROTECT, related_name="grants", verbose_name=_("coupon"), db_index=False
    )
    member = models.ForeignKey(
        "crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"), db_index=False
    )
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=HELD)
    key = models.CharField(_("why"), max_length=120)
    ordinal = models.PositiveIntegerField(_("her number of this coupon"), default=1)
    valid_from = models.DateTimeField(_("valid from"))
    expires_at = models.DateTimeField(_("valid until"))
    granted_at = models.DateTimeField(_("received at"))
    order = models.ForeignKey(
        "shop.Order",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="coupon_grants",
        verbose_name=_("order"),
        db_index=False,
    )
    used_at = models.DateTimeField(_("used at"), null=True, blank=True)

    class Meta:
        verbose_name = _("held coupon")
        verbose_name_plural = _("held coupons")
        constraints = [
            models.UniqueConstraint(
                fields=["key"], opclasses=["varchar_pattern_ops"], name="coupon_is_granted_once_per_key"
            ),
            models.UniqueConstraint(
                fields=["coupon", "member", "ordinal"], name="coupon_is_counted_once_per_member"
            ),
            models.CheckConstraint(
                condition=Q(state="used", order__isnull=False, used_at__isnull=False)
                | Q(state__in=["held", "expired", "revoked"], order__isnull=True, used_at__isnull=True),
                name="coupon_is_used_on_an_order",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("valid_from")), name="coupon_grant_ends_after_it_begins"
            ),
        ]
        indexes = [
            models.Index(fields=["member", "state", "expires_at"], name="coupons_of_member"),
            models.Index(fields=["expires_at"], name="coupons_due", condition=Q(state="held")),
            models.Index(fields=["coupon", "state"], name="coupon_grants_by_state"),
            models.Index(fields=["order"], name="coupon_grants_of_order", condition=Q(order__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.coupon} · {self.member}"
