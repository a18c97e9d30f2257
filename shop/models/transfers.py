"""Goods on their way from one store to another."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Transfer(models.Model):
    """Taken from the sender's stock when sent, added to the receiver's as counted there; the rest is a difference."""

    DRAFT, SENT, RECEIVED, CANCELLED = "draft", "sent", "received", "cancelled"
    STATES = [
        (DRAFT, _("being put together")),
        (SENT, _("on the way")),
        (RECEIVED, _("received")),
        (CANCELLED, _("cancelled")),
    ]

    sender = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("from"))
    receiver = models.ForeignKey("crm.Store", models.PROTECT, related_name="+", verbose_name=_("to"))
    state = models.CharField(_("status"), max_length=10, choices=STATES, default=DRAFT)
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_by = models.CharField(_("made by"), max_length=80, blank=True)
    created_at = models.DateTimeField(_("made at"))
    sent_by = models.CharField(_("sent by"), max_length=80, blank=True)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    received_by = models.CharField(_("received by"), max_length=80, blank=True)
    received_at = models.DateTimeField(_("received at"), null=True, blank=True)

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        constraints = [
            models.CheckConstraint(condition=~Q(sender=F("receiver")), name="transfer_goes_to_another_store"),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "cancelled"])
                | Q(state="sent", sent_at__isnull=False)
                | Q(state="received", sent_at__isnull=False, received_at__isnull=False),
                name="transfer_has_the_moments_of_its_state",
            ),
        ]
        indexes = [models.Index(fields=["-created_at"], name="transfers_by_time")]

    def __str__(self) -> str:
        return f"{self.sender} → {self.receiver} #{self.pk}"


class TransferLine(models.Model):
    """One SKU of a transfer; `received` is null until the receiver has counted."""

    transfer = models.ForeignKey(Transfer, models.CASCADE, related_name="lines", verbose_name=_("transfer"))
    sku = models.ForeignKey("shop.Sku", models.PROTECT, related_name="+", verbose_name=_("SKU"))
    quantity = models.PositiveIntegerField(_("pieces"))
    received = models.PositiveIntegerField(_("arrived"), null=True, blank=True)

    class Meta:
        verbose_name = _("transferred SKU")
        verbose_name_plural = _("transferred SKUs")
        constraints = [
            models.UniqueConstraint(fields=["transfer", "sku"], name="a_sku_is_once_in_a_transfer"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=1_000_000), name="transfer_moves_something"
            ),
            models.CheckConstraint(
                condition=Q(received__isnull=True) | Q(received__lte=1_000_000),
                name="transfer_arrives_sensibly",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} ×{self.quantity}"

    @property
    def difference(self) -> int | None:
        """Negative: fewer arrived than were sent; None while they are on the way."""
        return None if self.received is None else self.received - self.quantity
