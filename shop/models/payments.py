"""Money in and out, and the parcels."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core import clock
from shop import logistics
from shop.models.money import MoneyIn, MoneyOut


class Payment(MoneyIn):
    """A part of an order's money, from one source.

    At WeChat Pay (`WECHAT`) it is one out_trade_no, committed before the platform is called. From the shop's own
    ledger (`INTERNAL`: stored value, a gift card) it stands on holds that are captured when the order is paid.
    `none` is the proof that an order of nothing was paid. An order is paid when its paid payments sum to its total.
    """

    JSAPI, NATIVE, H5 = "jsapi", "native", "h5"
    STORED_VALUE, GIFT_CARD, NONE = "stored_value", "gift_card", "none"
    WECHAT, INTERNAL = (JSAPI, NATIVE, H5), (STORED_VALUE, GIFT_CARD)
    KINDS = [
        (JSAPI, _("WeChat Pay")),
        (NATIVE, _("WeChat Pay by QR code")),
        (H5, _("WeChat Pay from a browser")),
        (STORED_VALUE, _("stored value")),
        (GIFT_CARD, _("gift card")),
        (NONE, _("nothing to pay")),
    ]
    DEPOSIT, BALANCE = "deposit", "balance"
    STAGES = [("", _("all at once")), (DEPOSIT, _("deposit")), (BALANCE, _("final payment"))]

    order = models.ForeignKey("shop.Order", models.PROTECT, related_name="payments", verbose_name=_("order"))
    stage = models.CharField(_("stage"), max_length=8, choices=STAGES, blank=True, default="", db_default="")
    kind = models.CharField(_("paid by"), max_length=12, choices=KINDS, default=JSAPI, db_default=JSAPI)
    account = models.ForeignKey(
        "wechat.Account",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("pay account"),
    )
    gift_card = models.ForeignKey(
        "shop.GiftCard",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="payments",
        verbose_name=_("gift card"),
    )

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints = [
            models.CheckConstraint(
                condition=Q(stage__in=["", "deposit", "balance"]), name="payment_stage_is_a_known_word"
            ),
            # Two open sheets could both take money, and two holds could both be captured.
            models.UniqueConstraint(
                fields=["order"],
                condition=Q(status="open", kind__in=["jsapi", "native", "h5"]),
                name="one_open_wechat_payment_per_order",
            ),
            models.UniqueConstraint(
                fields=["order", "kind"],
                condition=Q(status="open", kind__in=["stored_value", "gift_card", "none"]),
                name="one_open_tender_per_order_and_kind",
            ),
            models.CheckConstraint(
                condition=~Q(status="paid", kind__in=["jsapi", "native", "h5"])
                | Q(transaction_id__isnull=False),
                name="paid_payment_has_its_number",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["jsapi", "native", "h5"], account__isnull=False)
                | Q(
                    kind__in=["stored_value", "gift_card", "none"],
                    account__isnull=True,
                    transaction_id__isnull=True,
                    openid="",
                ),
                name="wechat_payment_has_its_account",
            ),
            models.CheckConstraint(
                condition=~Q(kind="jsapi") | ~Q(openid=""), name="payment_inside_wechat_has_its_payer"
            ),
            models.CheckConstraint(
                condition=Q(kind="gift_card", gift_card__isnull=False)
                | (~Q(kind="gift_card") & Q(gift_card__isnull=True)),
                name="gift_card_payment_has_its_card",
            ),
            models.CheckConstraint(
                condition=Q(kind="none", amount_fen=0) | (~Q(kind="none") & Q(amount_fen__gt=0)),
                name="payment_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["jsapi", "native", "h5"])
                | Q(status="paid", paid_fen=F("amount_fen"))
                | (Q(paid_fen=0) & ~Q(status__in=["paid", "mismatch"])),
                name="tender_is_paid_in_full_or_not_at_all",
            ),
            models.CheckConstraint(
                condition=Q(refunded_fen__gte=0) & Q(refunded_fen__lte=F("paid_fen")),
                name="payment_gives_back_at_most_what_it_took",
            ),
        ]
        indexes = [
            models.Index(fields=["next_query_at"], name="payments_to_ask_about", condition=Q(status="open")),
            models.Index(fields=["id"], name="payments_with_difference", condition=~Q(difference="")),
            models.Index(fields=["-created_at"], name="payments_by_time"),
        ]

    def __str__(self) -> str:
        return self.out_trade_no

    @property
    def is_wechat(self) -> bool:
        return self.kind in self.WECHAT


class Refund(MoneyOut):
    """Money of an order that goes back.

    A payment may be given back in several refunds, together at most what it paid: asking for one claims its amount on
    the payment (`Payment.refunded_fen`) and its pieces on the lines; a refund that WeChat closes frees them again.
    `cause` makes a request happen once ("aftersale:12", "duplicate").
    """

    ORDER, LATE, DUPLICATE, MISMATCH = "order", "late", "duplicate", "mismatch"
    DEPOSIT = "deposit"
    KINDS = [
        (ORDER, _("order")),
        (LATE, _("paid after cancellation")),
        (DUPLICATE, _("paid twice")),
        (MISMATCH, _("did not match")),
        (DEPOSIT, _("deposit of a closed presale")),
    ]

    order = models.ForeignKey("shop.Order", models.PROTECT, related_name="refunds", verbose_name=_("order"))
    payment = models.ForeignKey(Payment, models.PROTECT, related_name="refunds", verbose_name=_("payment"))
    aftersale = models.ForeignKey(
        "shop.AfterSale",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="refunds",
        verbose_name=_("after-sale"),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=KINDS)
    cause = models.CharField(max_length=60, blank=True, db_default="", editable=False)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        constraints = [
            # What WeChat refused may be asked for anew; anything else is given back once per cause.
            models.UniqueConstraint(
                fields=["payment", "cause"],
                condition=~Q(status="closed") & ~Q(cause=""),
                name="a_payment_is_refunded_once_per_cause",
            ),
            models.CheckConstraint(condition=Q(amount_fen__gte=0), name="refund_never_negative"),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                name="refunds_due",
                condition=Q(status__in=["pending", "processing"]),
            ),
            models.Index(fields=["-requested_at"], name="refunds_by_time"),
        ]

    def __str__(self) -> str:
        return self.out_refund_no


class RefundLine(models.Model):
    """What a refund of an order gives back: pieces of a line and their money, or (`line` null) shipping.

    `quantity` 0 with an amount: money without goods (price protection), or the rest of a line whose pieces another
    payment's refund carries. Append-only; the pieces count while the refund is not closed.
    """

    refund = models.ForeignKey(Refund, models.CASCADE, related_name="lines", verbose_name=_("refund"))
    line = models.ForeignKey(
        "shop.OrderLine",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="refund_lines",
        verbose_name=_("order line"),
    )
    quantity = models.PositiveIntegerField(_("quantity"), default=0)
    amount_fen = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("refund line")
        verbose_name_plural = _("refund lines")
        constraints = [
            models.UniqueConstraint(
                fields=["refund", "line"], nulls_distinct=False, name="a_refund_names_a_line_once"
            ),
            models.CheckConstraint(
                condition=Q(amount_fen__gte=0) & ~Q(amount_fen=0, quantity=0),
                name="refund_line_gives_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.line or _('shipping')} ×{self.quantity}"


class Shipment(models.Model):
    """One parcel of an order.

    Orders that travel in one parcel have a row each, with its carrier and number: the first leads, the others name it
    as their `leader`. The carrier is asked about the leader; what it says is kept with every one of them.
    """

    order = models.ForeignKey("shop.Order", models.PROTECT, related_name="shipments", verbose_name=_("order"))
    fulfilment = models.ForeignKey(
        "shop.Fulfilment",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="shipments",
        verbose_name=_("fulfilment"),
        help_text=_("Empty: the parcel holds what several stores sent off together."),
    )
    leader = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="companions",
        verbose_name=_("in one parcel with"),
    )
    company = models.ForeignKey(
        "shop.Carrier",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("carrier"),
        help_text=_("Empty: one that is not in the list of carriers, known by its name alone."),
    )
    # Its name when the parcel was sent, which stays when the list changes.
    carrier = models.CharField(_("carrier"), max_length=40)
    tracking_number = models.CharField(_("tracking number"), max_length=40, db_index=True)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    shipped_at = models.DateTimeField(_("shipped at"))
    state = models.CharField(
        _("state"), max_length=12, choices=logistics.STATES, default=logistics.SENT, db_default=logistics.SENT
    )
    signed_at = models.DateTimeField(_("signed for at"), null=True, blank=True)
    # When the carrier is asked again, null: no more. A new parcel is asked about with the next round.
    next_ask_at = models.DateTimeField(_("asked again at"), null=True, blank=True, default=clock.now)
    asked_in_vain = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    last_answer = models.CharField(_("last answer"), max_length=200, blank=True, db_default="")

    class Meta:
        verbose_name = _("shipment")
        verbose_name_plural = _("shipments")
        constraints = [
            models.UniqueConstraint(
                fields=["order", "carrier", "tracking_number"], name="parcel_once_per_order"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[word for word, _label in logistics.STATES]),
                name="parcel_state_is_a_known_word",
            ),
            models.CheckConstraint(
                condition=~Q(state=logistics.PICKED) | Q(signed_at__isnull=False),
                name="signed_parcel_says_when",
            ),
            models.CheckConstraint(
                condition=Q(leader__isnull=True) | (Q(next_ask_at__isnull=True) & ~Q(leader=F("id"))),
                name="carriers_are_asked_about_the_leader_alone",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_ask_at"],
                name="parcels_to_ask_about",
                condition=Q(next_ask_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.carrier} {self.tracking_number}"
