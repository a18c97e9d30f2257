"""What a person agreed to, when, to which text; append-only, the latest row of a purpose counts."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class Consent(models.Model):
    """One giving or one withdrawing. Source of the fields: the personal information law's record-keeping."""

    MARKETING, PERSONALISATION, PHONE = "marketing", "personalisation", "phone"
    PURPOSES = [
        (MARKETING, _("marketing messages")),
        (PERSONALISATION, _("personal recommendations")),
        (PHONE, _("use of the phone number")),
    ]

    member = models.ForeignKey(
        Member, models.PROTECT, db_index=False, related_name="consents", verbose_name=_("member")
    )
    purpose = models.CharField(_("purpose"), max_length=16, choices=PURPOSES)
    is_given = models.BooleanField(_("given"))
    channel = models.CharField(_("where"), max_length=20, help_text=_("page, message, store, import"))
    text_version = models.CharField(_("version of the text"), max_length=40)
    proof = models.CharField(_("proof"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"))
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        indexes = [models.Index(fields=["member", "purpose", "-at"], name="consent_latest")]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {'+' if self.is_given else '-'}"
