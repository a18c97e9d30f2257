"""Vouchers: a paid piece of a service, redeemed once in a store."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Voucher(models.Model):
    """One paid piece of a service order line, `number` 1 to its quantity. Whose it is, its order says.

    Made in the transaction that marks the order paid. It is redeemed or given back (void), never both: each is a
    guarded update of the same column. `code` is twelve digits, unique for ever.
    """

    UNUSED, REDEEMED, VOID, EXPIRED = "unused", "redeemed", "void", "expired"
    STATES = [
        (UNUSED, _("not used yet")),
        (REDEEMED, _("redeemed")),
        (VOID, _("paid back")),
        (EXPIRED, _("expired")),
    ]

    line = models.ForeignKey(
        "shop.OrderLine", models.PROTECT, related_name="vouchers", verbose_name=_("order line")
    )
    number = models.PositiveIntegerField(_("number"))
    code = models.CharField(_("voucher code"), max_length=12, unique=True)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=UNUSED)
    valid_from = models.DateTimeField(_("valid from"))
    expires_at = models.DateTimeField(_("valid until"))
    created_at = models.DateTimeField(_("paid at"))
    redeemed_at = models.DateTimeField(_("redeemed at"), null=True, blank=True)
    store = models.ForeignKey(
        "crm.Store",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("redeemed in"),
    )
    actor = models.CharField(_("redeemed by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    # When she is reminded of it, or asked about again; null: no more. And how that went.
    remind_at = models.DateTimeField(_("reminded at"), null=True, blank=True)
    reminder = models.CharField(_("reminder"), max_length=24, blank=True, default="", db_default="")
    voided_at = models.DateTimeField(_("given back at"), null=True, blank=True)

    class Meta:
        verbose_name = _("voucher")
        verbose_name_plural = _("vouchers")
        constraints = [
            models.UniqueConstraint(fields=["line", "number"], name="a_paid_piece_has_one_voucher"),
            models.CheckConstraint(
                condition=Q(code__regex=r"^[0-9]{12}$", number__gte=1), name="voucher_code_is_twelve_digits"
            ),
            models.CheckConstraint(
                condition=Q(
                    state="redeemed", redeemed_at__isnull=False, store__isnull=False, voided_at__isnull=True
                )
                | Q(state="void", redeemed_at__isnull=True, voided_at__isnull=False)
                | Q(state__in=["unused", "expired"], redeemed_at__isnull=True, voided_at__isnull=True),
                name="voucher_is_redeemed_or_given_back",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("valid_from")), name="voucher_ends_after_it_begins"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="vouchers_to_expire", condition=Q(state="unused")),
            models.Index(fields=["store", "-redeemed_at"], name="vouchers_redeemed"),
            models.Index(
                fields=["remind_at"],
                name="vouchers_to_remind_of",
                condition=Q(state="unused", remind_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"…{self.code[-4:]}"

    @property
    def shown_code(self) -> str:
        return f"{self.code[:4]} {self.code[4:8]} {self.code[8:]}"
