"""The points mall: what is on offer for points, and what members took."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


@pghistory.track(exclude=["taken"])
class MallItem(models.Model):
    """Goods from the warehouse, sent by parcel, or a coupon, for points.

    A service or a voucher is offered as a coupon that exchanges its SKU: her order of nothing then delivers it. `taken`
    counts the exchanges that were not taken back; a guarded update raises it, so that `quota` holds.
    """

    GOODS, COUPON = "goods", "coupon"
    KINDS = [(GOODS, _("goods by parcel")), (COUPON, _("coupon"))]

    name = models.CharField(_("name"), max_length=60, help_text=_("Shoppers see it."))
    kind = models.CharField(_("kind"), max_length=8, choices=KINDS, default=COUPON)
    sku = models.ForeignKey(
        "shop.Sku",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("SKU"),
        help_text=_("Taken from the central warehouse with each exchange."),
    )
    coupon = models.ForeignKey(
        "shop.Coupon",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("coupon"),
        help_text=_("Its own quota and limit per member count as well."),
    )
    points = models.PositiveIntegerField(_("points"))
    price_fen = models.BigIntegerField(
        _("and money (fen)"),
        default=0,
        help_text=_("Paid with WeChat Pay on top of the points."),
    )
    quota = models.PositiveIntegerField(
        _("how many in all"), null=True, blank=True, help_text=_("Empty: no limit.")
    )
    taken = models.PositiveIntegerField(_("times exchanged"), default=0, editable=False)
    per_member = models.PositiveSmallIntegerField(
        _("how many per member"), default=1, help_text=_("0: no limit.")
    )
    detail = models.TextField(_("description"), max_length=1_000, blank=True)
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("is offered"), default=True)

    class Meta:
        verbose_name = _("points mall item")
        verbose_name_plural = _("points mall items")
        ordering = ["position", "points", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="goods", sku__isnull=False, coupon__isnull=True)
                | Q(kind="coupon", coupon__isnull=False, sku__isnull=True),
                name="mall_item_is_goods_or_coupon",
            ),
            models.CheckConstraint(
                condition=Q(points__gte=1, points__lte=100_000_000)
                & (Q(quota__isnull=True) | Q(taken__lte=F("quota"))),
                name="mall_item_gives_at_most_its_quota",
            ),
            models.CheckConstraint(
                condition=Q(price_fen__gte=0, price_fen__lte=10_000_000),
                name="mall_price_is_sensible",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="mall_item_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> str:
        """What a member agrees to: points and money."""
        return f"{self.points}+{self.price_fen}"


class MallExchange(models.Model):
    """One exchange as it was: the points stand in the ledger as `mall:<id>`, what was returned as `mall:<id>:back`.

    waiting (goods to be sent) → done; a coupon is done at once. Staff take either back (returned) as long as the coupon
    was not used. What takes money as well is unpaid first: points and goods are hers already, and come back by
    themselves when she does not pay in time. A coupon is given when it is paid, or she could use it before (`coupon`
    says which); when none is left by then, points and money go back.
    """

    UNPAID, WAITING, DONE, RETURNED = "unpaid", "waiting", "done", "returned"
    STATES = [
        (UNPAID, _("waits for its payment")),
        (WAITING, _("waits for its parcel")),
        (DONE, _("exchange done")),
        (RETURNED, _("exchange taken back")),
    ]

    item = models.ForeignKey(
        MallItem, models.PROTECT, related_name="exchanges", verbose_name=_("points mall item")
    )
    member = models.ForeignKey(
        "crm.Member", models.PROTECT, related_name="+", db_index=False, verbose_name=_("member")
    )
    name = models.CharField(_("name"), max_length=60)
    points = models.PositiveIntegerField(_("points"))
    price_fen = models.BigIntegerField(_("and money"), default=0)
    payment = models.OneToOneField(
        "shop.DirectPayment",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="mall_exchange",
        verbose_name=_("payment"),
    )
    state = models.CharField(_("state"), max_length=8, choices=STATES)
    key = models.CharField(max_length=80, unique=True, editable=False)
    sku = models.ForeignKey(
        "shop.Sku", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("SKU")
    )
    coupon = models.ForeignKey(
        "shop.Coupon",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("coupon to be paid"),
    )
    grant = models.OneToOneField(
        "shop.CouponGrant",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("coupon"),
    )
    receiver = models.CharField(_("receiver"), max_length=40, blank=True)
    phone = models.CharField(_("phone"), max_length=20, blank=True)
    address = models.CharField(_("address"), max_length=330, blank=True)
    carrier = models.CharField(_("carrier"), max_length=40, blank=True)
    tracking_number = models.CharField(_("tracking number"), max_length=40, blank=True)
    reason = models.CharField(_("reason"), max_length=120, blank=True)
    is_back_in_stock = models.BooleanField(_("goods are back in stock"), default=False)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    at = models.DateTimeField(_("exchanged at"))
    done_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    returned_at = models.DateTimeField(_("taken back at"), null=True, blank=True)

    class Meta:
        verbose_name = _("points exchange")
        verbose_name_plural = _("points exchanges")
        constraints = [
            models.CheckConstraint(
                condition=Q(points__gte=1)
                & (
                    Q(sku__isnull=False, grant__isnull=True, coupon__isnull=True) & ~Q(address="")
                    | Q(sku__isnull=True, grant__isnull=False)
                    | Q(sku__isnull=True, coupon__isnull=False, state__in=["unpaid", "returned"])
                ),
                name="mall_exchange_gave_something",
            ),
            models.CheckConstraint(
                condition=Q(price_fen=0, payment__isnull=True) & ~Q(state="unpaid")
                | Q(price_fen__gte=1, payment__isnull=False),
                name="mall_exchange_with_a_price_has_its_payment",
            ),
            models.CheckConstraint(
                condition=Q(state="returned", returned_at__isnull=False)
                | (~Q(state="returned") & Q(returned_at__isnull=True, is_back_in_stock=False)),
                name="mall_exchange_says_when_it_was_taken_back",
            ),
        ]
        indexes = [
            models.Index(fields=["member", "-at"], name="mall_exchanges_of_member"),
            models.Index(fields=["at"], name="mall_exchanges_to_send", condition=Q(state="waiting")),
        ]

    def __str__(self) -> str:
        return f"{self.name} · {self.points}"
