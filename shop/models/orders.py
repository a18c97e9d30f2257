"""Orders: facts frozen at the moment of ordering, and a log of what happened to them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Right
from django.utils.translation import gettext_lazy as _

from shop import rules


class Order(models.Model):
    """What a member bought, at which prices, and how far it is. Prices change before payment only, by staff; the
    address before shipping only; both with an entry in the log.

    A presale is pending_payment until its balance is paid: `deposit_fen` and `deposit_paid_at` say how far it is, its
    terms are in `PresaleOrder`. `refund_requested_at` is set while a refund of the whole order, or of goods not shipped
    yet, is on its way: the order may not be shipped then. `due_at` is when the next automatic step looks at it (release
    when unpaid, receipt when shipped, the question for a review when received).
    """

    PENDING_PAYMENT, PAID, SHIPPED = rules.PENDING_PAYMENT, rules.PAID, rules.SHIPPED
    RECEIVED, CANCELLED, REFUNDED = rules.RECEIVED, rules.CANCELLED, rules.REFUNDED
    STATUSES = [
        (PENDING_PAYMENT, _("waiting for payment")),
        (PAID, _("to be shipped")),
        (SHIPPED, _("shipped")),
        (RECEIVED, _("received")),
        (CANCELLED, _("cancelled")),
        (REFUNDED, _("refunded")),
    ]

    SHIP, PICKUP = "ship", "pickup"
    DELIVERIES = [(SHIP, _("by parcel")), (PICKUP, _("collected in a store"))]

    number = models.CharField(_("order number"), max_length=32)
    member = models.ForeignKey(  # found by `orders_of_member`
        "crm.Member",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("member"),
        db_index=False,
    )
    status = models.CharField(_("status"), max_length=16, choices=STATUSES)
    channel = models.CharField(
        _("channel"),
        max_length=40,
        default="mall",
        help_text=_("mall, or import:NAME for history brought in."),
    )
    external_id = models.CharField(_("number in the other system"), max_length=80, blank=True)
    currency = models.CharField(
        _("currency"),
        max_length=3,
        default="CNY",
        db_default="CNY",
        help_text=_("Amounts are its smallest unit: fen, or cents and pence of history brought in."),
    )
    store = models.ForeignKey(
        "crm.Store", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("store")
    )
    items_fen = models.BigIntegerField(_("goods"))
    shipping_fen = models.BigIntegerField(_("shipping"), default=0)
    discount_fen = models.BigIntegerField(_("discount"), default=0)
    total_fen = models.BigIntegerField(_("total"))
    paid_fen = models.BigIntegerField(_("paid"), default=0)
    refunded_fen = models.BigIntegerField(_("refunded"), default=0)
    refunded_shipping_fen = models.BigIntegerField(_("shipping refunded"), default=0, db_default=0)
    delivery = models.CharField(
        _("delivery"), max_length=8, choices=DELIVERIES, default=SHIP, db_default=SHIP
    )
    deposit_fen = models.BigIntegerField(
        _("deposit"), default=0, db_default=0, help_text=_("Of a presale, paid first; 0: paid at once.")
    )
    deposit_paid_at = models.DateTimeField(_("deposit paid at"), null=True, blank=True)
    points_used = models.BigIntegerField(_("points used"), default=0, db_default=0)
    receiver = models.CharField(_("receiver"), max_length=40, blank=True)
    phone = models.CharField(_("phone"), max_length=20, blank=True)
    region = models.CharField(_("region"), max_length=130, blank=True)
    street = models.CharField(_("street and house number"), max_length=200, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=10, blank=True)
    note = models.CharField(_("note of the buyer"), max_length=200, blank=True)
    merchant_note = models.CharField(
        _("note of the shop"),
        max_length=500,
        blank=True,
        db_default="",
        help_text=_("Shoppers never see it."),
    )
    idempotency_key = models.CharField(max_length=64, null=True, editable=False)
    cancel_reason = models.CharField(_("why cancelled"), max_length=200, blank=True)
    placed_at = models.DateTimeField(_("ordered at"))
    expires_at = models.DateTimeField(_("to be paid until"), null=True, blank=True)
    paid_at = models.DateTimeField(_("paid at"), null=True, blank=True)
    shipped_at = models.DateTimeField(_("shipped at"), null=True, blank=True)
    received_at = models.DateTimeField(_("received at"), null=True, blank=True)
    cancelled_at = models.DateTimeField(_("cancelled at"), null=True, blank=True)
    refund_requested_at = models.DateTimeField(_("refund requested at"), null=True, blank=True)
    refunded_at = models.DateTimeField(_("refunded at"), null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            # Found by the whole number and by how it begins, in one index.
            models.UniqueConstraint(
                fields=["number"], opclasses=["varchar_pattern_ops"], name="order_number_is_given_once"
            ),
            models.UniqueConstraint(
                fields=["member", "idempotency_key"], name="order_is_placed_once_per_key"
            ),
            models.UniqueConstraint(
                fields=["channel", "external_id"],
                condition=~Q(external_id=""),
                name="order_is_imported_once_per_channel",
            ),
            models.CheckConstraint(
                condition=Q(total_fen=F("items_fen") + F("shipping_fen") - F("discount_fen")),
                name="order_total_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(total_fen__gte=0, items_fen__gte=0, shipping_fen__gte=0, discount_fen__gte=0),
                name="order_amounts_never_negative",
            ),
            models.CheckConstraint(
                condition=Q(refunded_fen__gte=0) & Q(refunded_fen__lte=F("paid_fen")),
                name="order_refunds_at_most_what_was_paid",
            ),
            models.CheckConstraint(
                condition=Q(refunded_shipping_fen__gte=0) & Q(refunded_shipping_fen__lte=F("shipping_fen")),
                name="order_gives_back_at_most_its_shipping",
            ),
            models.CheckConstraint(
                condition=Q(deposit_fen=0, deposit_paid_at__isnull=True)
                | Q(deposit_fen__gte=1, deposit_fen__lt=F("total_fen")),
                name="order_deposit_is_a_part_of_it",
            ),
            models.CheckConstraint(
                condition=Q(status__in=rules.ORDER_STATUSES), name="order_status_is_a_known_word"
            ),
        ]
        permissions = [("change_order_price", "Can change the price of an unpaid order")]
        indexes = [
            models.Index(fields=["member", "-placed_at"], name="orders_of_member"),
            models.Index(fields=["-placed_at"], name="orders_by_time"),
            models.Index(fields=["status", "-placed_at"], name="orders_by_status"),
            models.Index(
                fields=["paid_at"], name="orders_by_payment_time", condition=Q(paid_at__isnull=False)
            ),
            models.Index(
                fields=["due_at"],
                name="orders_due",
                condition=Q(status__in=["pending_payment", "shipped", "received"]),
            ),
            models.Index(Right("phone", 4), name="orders_by_phone_end"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_refunding(self) -> bool:
        """Money for the whole order, or for goods not shipped yet, was asked back and is not back yet."""
        return self.refund_requested_at is not None and self.status != self.REFUNDED

    def can_pay(self, at: datetime) -> bool:
        """WeChat wants at least a minute for a payment."""
        return (
            self.status == self.PENDING_PAYMENT
            and self.expires_at is not None
            and at + timedelta(minutes=1) <= self.expires_at
        )

    @property
    def awaits_balance(self) -> bool:
        """A presale whose deposit is paid: to the rules an unpaid order, with the balance's window for its time."""
        return self.status == self.PENDING_PAYMENT and self.deposit_paid_at is not None

    @property
    def payment_stage(self) -> str:
        """Which of its payments is the next: `Payment.DEPOSIT`, `Payment.BALANCE`, "" for an order paid at once."""
        if not self.deposit_fen:
            return ""
        return "deposit" if self.deposit_paid_at is None else "balance"

    @property
    def due_fen(self) -> int:
        """What its next payment costs."""
        if not self.deposit_fen:
            return self.total_fen
        return self.deposit_fen if self.deposit_paid_at is None else self.total_fen - self.deposit_fen

    @property
    def status_label(self) -> str:
        if self.awaits_balance:
            return str(_("deposit paid, balance open"))
        return str(_("refunding")) if self.is_refunding else str(self.get_status_display())


class OrderLine(models.Model):
    """One SKU of an order as it was then. `store` is where its stock is reserved; null when nothing is: imported
    history, and what is no parcel (virtual and service goods). `discount_fen` is the sum of its `OrderDiscount` rows.
    """

    GOODS, GIFT, PART = "goods", "gift", "part"
    KINDS = [(GOODS, _("goods")), (GIFT, _("gift")), (PART, _("part of a bundle"))]

    order = models.ForeignKey(Order, models.CASCADE, related_name="lines", verbose_name=_("order"))
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="order_lines", verbose_name=_("SKU"))
    store = models.ForeignKey(
        "crm.Store",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("store"),
        db_index=False,  # lines are found by their order
    )
    product_name = models.CharField(_("product"), max_length=120)
    sku_name = models.CharField(_("variant"), max_length=80, blank=True)
    image = models.CharField(_("image"), max_length=200, blank=True)
    unit_price_fen = models.BigIntegerField(_("unit price"))
    quantity = models.PositiveIntegerField(_("quantity"))
    discount_fen = models.BigIntegerField(_("discount"), default=0)
    total_fen = models.BigIntegerField(_("total"))
    kind = models.CharField(_("kind"), max_length=8, choices=KINDS, default=GOODS, db_default=GOODS)
    bundle = models.ForeignKey(
        "shop.OrderBundle",
        models.RESTRICT,
        null=True,
        blank=True,
        related_name="lines",
        verbose_name=_("bundle"),
        db_index=False,
    )
    # A word of `shop.routing.Reason`: why `store` serves it.
    routing_reason = models.CharField(max_length=12, blank=True, default="", db_default="", editable=False)
    refunded_quantity = models.PositiveIntegerField(_("returned"), default=0, db_default=0)
    refunded_fen = models.BigIntegerField(_("refunded"), default=0, db_default=0)

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")
        indexes = [
            models.Index(fields=["bundle"], name="order_lines_of_bundle", condition=Q(bundle__isnull=False))
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded_quantity__lte=F("quantity"))
                & Q(refunded_fen__gte=0)
                & Q(refunded_fen__lte=F("total_fen")),
                name="order_line_returns_at_most_what_was_sold",
            ),
            models.CheckConstraint(
                condition=Q(total_fen=F("unit_price_fen") * F("quantity") - F("discount_fen")),
                name="order_line_total_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, unit_price_fen__gte=0, discount_fen__gte=0, total_fen__gte=0),
                name="order_line_amounts_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.product_name} {self.sku_name} ×{self.quantity}"

    @property
    def image_url(self) -> str:
        return default_storage.url(self.image) if self.image else ""


class OrderDiscount(models.Model):
    """What one step of pricing took off one line (`line` null: off the shipping), to the fen. Append-only.

    `source` names the rule ("promotion:3", "coupon:12" with the grant's id, "offer:5", "points"); `step` is a word of
    `shop.pricing.types.STEPS`. Refunds and reports read these rows, never the rules, which may have changed since.
    There are many: they are found by their order, a line's among those of its order, and the database does not look at
    both again for each of them. They are written with their order alone; the audit looks whether it is there.
    """

    order = models.ForeignKey(
        Order, models.CASCADE, related_name="discounts", verbose_name=_("order"), db_constraint=False
    )
    line = models.ForeignKey(
        OrderLine,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="discounts",
        verbose_name=_("order line"),
        db_index=False,
        db_constraint=False,
    )
    step = models.CharField(_("step"), max_length=12)
    source = models.CharField(_("source"), max_length=40)
    title = models.CharField(_("title"), max_length=80, blank=True)
    amount_fen = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("order discount")
        verbose_name_plural = _("order discounts")
        constraints = [
            models.CheckConstraint(condition=Q(amount_fen__gt=0), name="order_discount_is_positive")
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.amount_fen}"


class EffectReversal(models.Model):
    """Which effects of an order went back when a part of it was refunded, once per cause. Append-only.

    `parts` is {"line id": quantity}; `points` went back to the member. The share of a next part is counted against
    what is here, so that all parts together give back exactly what the order took.
    """

    order = models.ForeignKey(Order, models.CASCADE, related_name="effect_reversals", verbose_name=_("order"))
    cause = models.CharField(_("cause"), max_length=100)
    parts = models.JSONField(_("lines and quantities"))
    points = models.BigIntegerField(_("points given back"), default=0)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("reversed effects")
        verbose_name_plural = _("reversed effects")
        constraints = [
            models.UniqueConstraint(fields=["order", "cause"], name="effects_are_reversed_once_per_cause"),
            models.CheckConstraint(condition=Q(points__gte=0), name="effect_reversal_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.cause}"


class OrderLog(models.Model):
    """One thing that happened to an order, who did it and why. Append-only."""

    ACTIONS = [
        ("placed", _("placed")),
        ("payment_started", _("payment started")),
        ("paid", _("paid")),
        ("deposit_paid", _("deposit paid")),
        ("deposit_kept", _("deposit kept")),
        ("paid_late", _("paid after cancellation")),
        ("difference", _("payment does not match")),
        ("duplicate", _("paid twice")),
        ("cancelled", _("cancelled")),
        ("shipped", _("shipped")),
        ("ready", _("ready to be collected")),
        ("handed_over", _("handed over")),
        ("uncollected", _("not collected in time")),
        ("rerouted", _("served by another store")),
        ("received", _("received")),
        ("delivered", _("delivered with the payment")),
        ("redeemed", _("voucher redeemed")),
        ("refund_requested", _("refund requested")),
        ("refunded", _("refunded")),
        ("refund_failed", _("refund failed")),
        ("imported", _("imported")),
        ("merged", _("moved to another member")),
        ("noted", _("note of the shop changed")),
        ("price_changed", _("price changed")),
        ("address_changed", _("address changed")),
        ("aftersale", _("after-sale")),
    ]

    order = models.ForeignKey(
        Order, models.CASCADE, related_name="log", verbose_name=_("order"), db_constraint=False
    )
    action = models.CharField(_("what"), max_length=20, choices=ACTIONS)
    actor = models.CharField(
        _("who"), max_length=80, blank=True, help_text=_("member, system, or a user's name")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
        db_index=False,
    )
    note = models.CharField(_("why"), max_length=300, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("order log entry")
        verbose_name_plural = _("order log")
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["user"], name="order_log_of_user", condition=Q(user__isnull=False))]

    def __str__(self) -> str:
        return f"{self.order_id} {self.action}"
