"""What a buyer gets for a piece that is no parcel: a text, a code of a pool, or a voucher for a store."""

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core.secrets import SecretField


@pghistory.track(exclude=["taken"])
class GoodsTerms(models.Model):
    """How pieces of one virtual or service SKU are delivered, and how many there are.

    `taken` counts the pieces of all orders that were not cancelled or given back; `services.take_pieces` alone raises
    it, with a guarded update. Of codes there are as many as lie in the pool: `quota` is then counted, not typed.
    """

    TEXT, CODE, VOUCHER = "text", "code", "voucher"
    DELIVERIES = [
        (TEXT, _("a text or link, the same for everybody")),
        (CODE, _("a code of its own for each piece")),
        (VOUCHER, _("a voucher for each piece, redeemed in a store")),
    ]

    sku = models.OneToOneField("shop.Sku", models.PROTECT, related_name="terms", verbose_name=_("SKU"))
    delivers = models.CharField(_("the buyer gets"), max_length=8, choices=DELIVERIES)
    text = models.TextField(
        _("text"),
        blank=True,
        max_length=2_000,
        help_text=_("Shown to the buyer once the order is paid: the link, or how to use it."),
    )
    quota = models.PositiveIntegerField(
        _("pieces there are"), null=True, blank=True, help_text=_("Empty: without limit.")
    )
    taken = models.PositiveIntegerField(_("pieces taken"), default=0, editable=False)
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True, help_text=_("Empty: at once."))
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    valid_days = models.PositiveIntegerField(
        _("days after payment"), null=True, blank=True, help_text=_("Instead of a fixed end.")
    )
    stores = models.ManyToManyField(
        "crm.Store",
        blank=True,
        related_name="+",
        verbose_name=_("redeemed in"),
        help_text=_("Empty: in every store."),
    )

    class Meta:
        verbose_name = _("terms of delivery")
        verbose_name_plural = _("virtual and service goods")
        constraints = [
            models.CheckConstraint(
                condition=Q(quota__isnull=True) | Q(taken__lte=F("quota")),
                name="no_more_pieces_are_taken_than_there_are",
            ),
            models.CheckConstraint(
                condition=Q(delivers="voucher", valid_days__isnull=True, valid_until__isnull=False)
                | Q(delivers="voucher", valid_days__gte=1, valid_days__lte=3_650, valid_until__isnull=True)
                | Q(
                    delivers__in=["text", "code"],
                    valid_days__isnull=True,
                    valid_until__isnull=True,
                    valid_from__isnull=True,
                ),
                name="vouchers_alone_end_and_in_one_way",
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True)
                | Q(valid_until__isnull=True)
                | Q(valid_until__gt=F("valid_from")),
                name="vouchers_end_after_they_begin",
            ),
            models.CheckConstraint(
                condition=~Q(delivers="code") | Q(quota__isnull=False), name="codes_are_counted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku}"


class VirtualCode(models.Model):
    """One code of a SKU's pool, given to one order line at most, and never to a second.

    The text is kept encrypted; `digest` (HMAC) keeps it from coming into a pool twice. A code whose piece was paid
    back is void: its buyer has seen it.
    """

    FREE, GIVEN, VOID = "free", "given", "void"
    STATES = [(FREE, _("not given yet")), (GIVEN, _("given to a buyer")), (VOID, _("void"))]

    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="codes", verbose_name=_("SKU"))
    code = SecretField(editable=False)
    code_end = models.CharField(_("last characters"), max_length=4)
    digest = models.CharField(max_length=64, editable=False)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=FREE)
    line = models.ForeignKey(
        "shop.OrderLine",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="codes",
        verbose_name=_("order line"),
    )
    added_at = models.DateTimeField(_("added at"))
    given_at = models.DateTimeField(_("given at"), null=True, blank=True)

    class Meta:
        verbose_name = _("virtual code")
        verbose_name_plural = _("virtual codes")
        constraints = [
            models.UniqueConstraint(fields=["sku", "digest"], name="a_code_is_in_its_pool_once"),
            models.CheckConstraint(
                condition=Q(state="free", line__isnull=True, given_at__isnull=True)
                | Q(state="given", line__isnull=False, given_at__isnull=False)
                | Q(state="void"),
                name="a_code_is_free_or_has_its_line",
            ),
        ]
        indexes = [
            models.Index(fields=["sku", "id"], name="virtual_codes_free", condition=Q(state="free")),
        ]

    def __str__(self) -> str:
        return f"…{self.code_end}"
