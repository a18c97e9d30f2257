"""Addresses and numbers of people who were erased: known again without being kept."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.secrets import SecretField


class ErasedAddress(models.Model):
    """Under this openid or external userid somebody was a member, until she asked to be forgotten.

    `digest` is a keyed hash of the address: a reading of the platform passes it by, until she herself does something
    towards the account. `address` is there (encrypted) only while her tags at the platform are still to be taken off;
    the row is the outbox.
    """

    account = models.ForeignKey("wechat.Account", models.CASCADE, related_name="+", verbose_name=_("account"))
    digest = models.CharField(_("keyed hash"), max_length=64)
    erased_at = models.DateTimeField(_("erased at"))
    address = SecretField(blank=True, default="", editable=False)
    due_at = models.DateTimeField(_("tags to be taken off at"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("last error"), max_length=300, blank=True)

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("erased address")
        verbose_name_plural = _("erased addresses")
        constraints = [
            models.UniqueConstraint(fields=["account", "digest"], name="address_is_erased_once"),
            models.CheckConstraint(
                condition=Q(due_at__isnull=True, address="") | Q(due_at__isnull=False) & ~Q(address=""),
                name="erased_address_is_kept_while_due",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="erased_tags_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}:{self.digest[:8]}…"


class ErasedNumber(models.Model):
    """Under this number of another system somebody was a member, until she asked to be forgotten: a file that is
    brought in again makes no member of her. `digest` is a keyed hash of source and number; `source` names the system.
    `bucket` are twelve bits of another keyed sum: of a million numbers a few hundred share it, and only these have to
    be hashed to see whether one is hers.
    """

    source = models.CharField(_("source"), max_length=128)
    digest = models.CharField(_("keyed hash"), max_length=64)
    bucket = models.PositiveSmallIntegerField()
    erased_at = models.DateTimeField(_("erased at"))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("erased number")
        verbose_name_plural = _("erased numbers")
        constraints = [models.UniqueConstraint(fields=["source", "digest"], name="number_is_erased_once")]

    def __str__(self) -> str:
        return f"{self.source}:{self.digest[:8]}…"
