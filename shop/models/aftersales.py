"""After-sales: what a shopper wants back or exchanged, how far it is, what she shows for it."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.files import PrivateStorage
from shop import aftersales_rules as rules


class AfterSale(models.Model):
    """One application of a shopper. Whose it is, its order says.

    `due_at` is when the next step happens by itself: approved, closed, or paid back (see `aftersales_rules.due_at`).
    `amount_fen` is what the shopper was told; refunds say what went back. `restocked_at`: the goods that came back
    are on the shelf again.
    """

    KINDS = [
        (rules.REFUND_ONLY, _("money back, keep nothing or not received")),
        (rules.RETURN_REFUND, _("return and money back")),
        (rules.EXCHANGE, _("exchange")),
        (rules.PRICE_PROTECTION, _("price protection")),
    ]
    STATUSES = [
        (rules.APPLIED, _("to be answered")),
        (rules.APPROVED, _("approved")),
        (rules.REFUSED, _("refused")),
        (rules.RETURNED, _("on its way back")),
        (rules.RECEIVED, _("received by the shop")),
        (rules.REFUNDING, _("money on its way")),
        (rules.REFUNDED, _("refunded")),
        (rules.EXCHANGED, _("exchanged")),
        (rules.CLOSED, _("closed")),
    ]

    number = models.CharField(_("after-sale number"), max_length=40, unique=True)
    order = models.ForeignKey(
        "shop.Order", models.PROTECT, related_name="aftersales", verbose_name=_("order")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=KINDS)
    status = models.CharField(_("status"), max_length=10, choices=STATUSES, default=rules.APPLIED)
    reason = models.CharField(_("reason"), max_length=80)
    description = models.CharField(_("in her words"), max_length=rules.MAX_DESCRIPTION, blank=True)
    amount_fen = models.BigIntegerField(_("amount"), default=0)
    was_shipped = models.BooleanField(_("shipped before"), default=False)
    answer = models.CharField(_("answer of the shop"), max_length=300, blank=True)
    return_address = models.CharField(_("return address"), max_length=300, blank=True)
    carrier = models.CharField(_("return carrier"), max_length=40, blank=True)
    tracking_number = models.CharField(_("return parcel"), max_length=40, blank=True)
    new_carrier = models.CharField(_("carrier of the exchange"), max_length=40, blank=True)
    new_tracking_number = models.CharField(_("parcel of the exchange"), max_length=40, blank=True)
    idempotency_key = models.CharField(max_length=64, editable=False)
    applied_at = models.DateTimeField(_("applied at"))
    due_at = models.DateTimeField(_("next step by itself at"), null=True, blank=True)
    restocked_at = models.DateTimeField(_("on the shelf again at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("over at"), null=True, blank=True)

    class Meta:
        verbose_name = _("after-sale")
        verbose_name_plural = _("after-sales")
        constraints = [
            models.UniqueConstraint(
                fields=["order", "idempotency_key"], name="aftersale_is_applied_for_once_per_key"
            ),
            models.CheckConstraint(
                condition=Q(status__in=rules.STATUSES), name="aftersale_status_is_a_known_word"
            ),
            models.CheckConstraint(condition=Q(kind__in=rules.KINDS), name="aftersale_kind_is_a_known_word"),
            models.CheckConstraint(condition=Q(amount_fen__gte=0), name="aftersale_amount_never_negative"),
            models.CheckConstraint(
                condition=Q(status__in=rules.OVER, finished_at__isnull=False)
                | (~Q(status__in=rules.OVER) & Q(finished_at__isnull=True)),
                name="aftersale_that_is_over_says_when",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="aftersales_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["status", "-applied_at"], name="aftersales_by_status"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_over(self) -> bool:
        return self.status in rules.OVER


class AfterSaleLine(models.Model):
    """Pieces of an order line that an after-sale is about. `new_sku`: what an exchange sends instead.

    `held_sku`: what comes back, when an earlier exchange gave her something else than the line says; NULL: the line's.
    `is_open` is false once the after-sale is over; a line is in one open after-sale at a time.
    """

    aftersale = models.ForeignKey(
        AfterSale, models.CASCADE, related_name="lines", verbose_name=_("after-sale")
    )
    line = models.ForeignKey(
        "shop.OrderLine", models.PROTECT, related_name="aftersale_lines", verbose_name=_("order line")
    )
    quantity = models.PositiveIntegerField(_("quantity"))
    amount_fen = models.BigIntegerField(_("amount"), default=0)
    new_sku = models.ForeignKey(
        "shop.Sku", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("exchange for")
    )
    held_sku = models.ForeignKey(
        "shop.Sku",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("exchanged before for"),
    )
    # Where what is given in exchange lies; empty: where the line came from.
    new_store = models.ForeignKey(
        "crm.Store", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("sent from")
    )
    is_open = models.BooleanField(default=True, editable=False)

    class Meta:
        verbose_name = _("after-sale line")
        verbose_name_plural = _("after-sale lines")
        constraints = [
            models.UniqueConstraint(fields=["aftersale", "line"], name="an_aftersale_names_a_line_once"),
            models.UniqueConstraint(
                fields=["line"], condition=Q(is_open=True), name="a_line_is_in_one_open_aftersale"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, amount_fen__gte=0), name="aftersale_line_is_about_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line} → {self.quantity}"

    @property
    def sends_from(self) -> int | None:
        """The store that sends what is given in exchange."""
        return self.new_store_id or self.line.store_id

    @property
    def variant(self) -> str:
        """The name of what it is about: what she holds by now, or what the line says."""
        return self.line.sku_name if self.held_sku is None else self.held_sku.name


class AfterSalePhoto(models.Model):
    """A picture that shows what is wrong: made anew as a JPEG, without what the camera wrote into it. No address."""

    aftersale = models.ForeignKey(
        AfterSale, models.CASCADE, related_name="photos", verbose_name=_("after-sale")
    )
    file = models.FileField(
        _("picture"), upload_to="aftersales/%Y/%m/", storage=PrivateStorage(), max_length=200
    )
    width = models.PositiveIntegerField(_("width"))
    height = models.PositiveIntegerField(_("height"))

    class Meta:
        verbose_name = _("evidence photo")
        verbose_name_plural = _("evidence photos")

    def __str__(self) -> str:
        return f"{self.aftersale} {self.pk}"


class AfterSaleLog(models.Model):
    """One step of an after-sale, who took it and why. Append-only."""

    aftersale = models.ForeignKey(AfterSale, models.CASCADE, related_name="log", verbose_name=_("after-sale"))
    status = models.CharField(_("what"), max_length=10, choices=AfterSale.STATUSES)
    actor = models.CharField(_("who"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    note = models.CharField(_("why"), max_length=300, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("after-sale log entry")
        verbose_name_plural = _("after-sale log")
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.aftersale_id} {self.status}"
