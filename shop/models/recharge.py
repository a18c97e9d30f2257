"""Recharging stored value: what is offered, what a member bought, and in which order the two parts are spent."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core import money


@pghistory.track()
class RechargePolicy(models.Model):
    """How stored value is spent: one row, or none for the default, in proportion.

    In proportion every payment takes principal and bonus as they stand in her balance, rounded in favour of the bonus
    lasting longer. It is the default for two reasons. Accounting (企业会计准则第14号——收入): what she paid in is a
    contract liability for goods worth principal and bonus together, so each sale earns the same share of it; principal
    first would book full prices and then sales for nothing. And the field: Taobao's 购物金 uses principal and
    bonus up in proportion and returns principal only, which leaves nobody better off by spending one part first.
    """

    PROPORTION, PRINCIPAL = "proportion", "principal"
    ORDERS = [(PROPORTION, _("principal and bonus in proportion")), (PRINCIPAL, _("principal first"))]

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    spending = models.CharField(_("spending order"), max_length=10, choices=ORDERS, default=PROPORTION)

    class Meta:
        verbose_name = _("stored value rules")
        verbose_name_plural = _("stored value rules")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_recharge_policy")]

    def __str__(self) -> str:
        return str(_("stored value rules"))


@pghistory.track()
class RechargeOffer(models.Model):
    """Pay so much, get a bonus on top. A change counts for who recharges after it."""

    name = models.CharField(_("name"), max_length=40, blank=True, help_text=_("Shoppers see it."))
    pay_fen = models.BigIntegerField(_("is paid (fen)"))
    bonus_fen = models.BigIntegerField(_("bonus (fen)"), default=0)
    bonus_days = models.PositiveSmallIntegerField(
        _("bonus ends after (days)"), default=0, help_text=_("To the end of the last day. 0: never.")
    )
    per_member = models.PositiveSmallIntegerField(
        _("times per member"), default=0, help_text=_("1: for the first recharge of this kind. 0: no limit.")
    )
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("is offered"), default=True)

    class Meta:
        verbose_name = _("recharge offer")
        verbose_name_plural = _("recharge offers")
        ordering = ["position", "pay_fen", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(pay_fen__gte=1, pay_fen__lte=10_000_000, bonus_fen__gte=0)
                & Q(bonus_fen__lte=10_000_000, bonus_days__lte=3_650),
                name="recharge_offer_within_reason",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True)
                | Q(ends_at__isnull=True)
                | Q(ends_at__gt=models.F("starts_at")),
                name="recharge_offer_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"¥{money.yuan(self.pay_fen)} + ¥{money.yuan(self.bonus_fen)}"

    @property
    def terms(self) -> str:
        """What a shopper agrees to: paid, bonus and its days."""
        return f"{self.pay_fen}+{self.bonus_fen}/{self.bonus_days}"


class Recharge(models.Model):
    """One recharge as it was promised when its payment was made: principal is what is paid.

    In the ledger as `recharge:<id>:stored_value` and `recharge:<id>:stored_value.bonus` once it is paid. `counts`: it
    takes one of the times that each member may use the offer.
    """

    payment = models.OneToOneField(
        "shop.DirectPayment",
        models.PROTECT,
        primary_key=True,
        related_name="recharge",
        verbose_name=_("payment"),
    )
    offer = models.ForeignKey(
        RechargeOffer,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="recharges",
        verbose_name=_("recharge offer"),
    )
    principal_fen = models.BigIntegerField(_("principal"))
    bonus_fen = models.BigIntegerField(_("bonus"), default=0)
    bonus_days = models.PositiveSmallIntegerField(_("bonus ends after (days)"), default=0)
    counts = models.BooleanField(_("counts for the offer"), default=False)

    class Meta:
        verbose_name = _("recharge")
        verbose_name_plural = _("recharges")
        constraints = [
            models.CheckConstraint(
                condition=Q(principal_fen__gt=0, bonus_fen__gte=0), name="recharge_is_positive"
            )
        ]

    def __str__(self) -> str:
        return f"¥{money.yuan(self.principal_fen)} + ¥{money.yuan(self.bonus_fen)}"
