"""Stored value that operators credited. The balances themselves are accounts of the ledger."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core import money


class StoredValueCredit(models.Model):
    """One credit to a member: what she paid for (principal) and what the shop added (bonus), kept apart. Append-only.

    Both stand in the ledger under the causes `credit:<id>:stored_value` and `credit:<id>:stored_value.bonus`.
    """

    member = models.ForeignKey("crm.Member", models.PROTECT, related_name="+", verbose_name=_("member"))
    principal_fen = models.BigIntegerField(_("principal"), default=0)
    bonus_fen = models.BigIntegerField(_("bonus"), default=0)
    bonus_expires_at = models.DateTimeField(_("bonus expires at"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=120)
    idempotency_key = models.CharField(max_length=64, unique=True, editable=False)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    at = models.DateTimeField(_("at"), db_index=True)

    class Meta:
        verbose_name = _("stored value credit")
        verbose_name_plural = _("stored value credits")
        constraints = [
            models.CheckConstraint(
                condition=Q(principal_fen__gte=0, bonus_fen__gte=0)
                & (Q(principal_fen__gt=0) | Q(bonus_fen__gt=0))
                & Q(principal_fen__lte=10_000_000, bonus_fen__lte=10_000_000),
                name="stored_value_credit_is_sound",
            )
        ]

    def __str__(self) -> str:
        return f"{self.member} · ¥{money.yuan(self.principal_fen + self.bonus_fen)}"
