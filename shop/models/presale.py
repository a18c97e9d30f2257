"""Presale (预售): the terms of an offer that is paid in two stages, and the orders that were placed under them."""

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


@pghistory.track()
class Presale(models.Model):
    """Terms of an offer of the kind presale: a deposit while the offer runs, the balance in a later window.

    All amounts are for one piece. The deposit may count for more than it is (定金膨胀): whoever pays ¥50 that are
    worth ¥100 pays the offer's price less ¥50 in the end.
    """

    offer = models.OneToOneField(
        "shop.Offer", models.CASCADE, related_name="presale", verbose_name=_("offer")
    )
    deposit_fen = models.BigIntegerField(_("deposit (fen)"))
    worth_fen = models.BigIntegerField(
        _("deposit counts as (fen)"), null=True, blank=True, help_text=_("Empty: as much as it is.")
    )
    balance_starts_at = models.DateTimeField(_("balance from"))
    balance_ends_at = models.DateTimeField(_("balance until"))
    ships_by = models.DateField(_("shipped by"), null=True, blank=True)
    keeps_deposit = models.BooleanField(
        _("the deposit is kept when the balance is not paid"),
        default=True,
        help_text=_(
            "Shoppers have to agree to it before they pay; otherwise the deposit is returned by itself."
        ),
    )

    class Meta:
        verbose_name = _("presale")
        verbose_name_plural = _("presales")
        constraints = [
            models.CheckConstraint(condition=Q(deposit_fen__gte=1), name="presale_takes_a_deposit"),
            models.CheckConstraint(
                condition=Q(worth_fen__isnull=True) | Q(worth_fen__gte=F("deposit_fen")),
                name="presale_deposit_is_worth_itself_at_least",
            ),
            models.CheckConstraint(
                condition=Q(balance_ends_at__gt=F("balance_starts_at")),
                name="presale_balance_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return str(self.offer)

    @property
    def gain_fen(self) -> int:
        """What the deposit counts for beyond itself."""
        return (self.worth_fen or self.deposit_fen) - self.deposit_fen


class PresaleOrder(models.Model):
    """The terms under which one order was placed, frozen, and what became of its deposit.

    How far the order is stands in the order itself: `Order.deposit_fen` and `deposit_paid_at`.
    """

    KEPT, RETURNED = "kept", "returned"
    OUTCOMES = [("", _("undecided")), (KEPT, _("kept")), (RETURNED, _("deposit returned"))]

    order = models.OneToOneField(
        "shop.Order", models.PROTECT, related_name="presale", verbose_name=_("order")
    )
    offer = models.ForeignKey(
        "shop.Offer", models.PROTECT, related_name="presale_orders", verbose_name=_("offer")
    )
    worth_fen = models.BigIntegerField(_("deposit counts as (fen)"))
    balance_starts_at = models.DateTimeField(_("balance from"))
    balance_ends_at = models.DateTimeField(_("balance until"))
    ships_by = models.DateField(_("shipped by"), null=True, blank=True)
    keeps_deposit = models.BooleanField(_("deposit is kept"))
    agreed_at = models.DateTimeField(_("agreed that it is kept"), null=True, blank=True)
    outcome = models.CharField(_("deposit"), max_length=8, choices=OUTCOMES, blank=True, default="")
    remind_at = models.DateTimeField(_("reminded at"), null=True, blank=True)
    reminder = models.CharField(_("reminder"), max_length=24, blank=True, default="")

    class Meta:
        verbose_name = _("presale order")
        verbose_name_plural = _("presale orders")
        constraints = [
            models.CheckConstraint(
                condition=Q(keeps_deposit=False) | Q(agreed_at__isnull=False),
                name="kept_deposit_was_agreed_to",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["", "kept", "returned"])
                & (~Q(outcome="kept") | Q(keeps_deposit=True)),
                name="deposit_is_kept_as_agreed_only",
            ),
            models.CheckConstraint(
                condition=Q(balance_ends_at__gt=F("balance_starts_at")),
                name="presale_order_balance_ends_after_it_starts",
            ),
        ]
        indexes = [
            models.Index(
                fields=["remind_at"], name="balances_to_remind_of", condition=Q(remind_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return str(self.order)
