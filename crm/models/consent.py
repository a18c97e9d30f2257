"""What a person agreed to, when, to which text; append-only, the latest row of a purpose counts."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class Consent(models.Model):
    """One giving or one withdrawing. Source of the fields: the personal information law's record-keeping.

    `account` is the channel that it is about: marketing can be refused on one account and stay welcome on another
    (`Identity.takes_marketing` is the latest answer there). Without one it is about all. `channel` is where she
    said it.
    """

    MARKETING, PERSONALISATION, PHONE = "marketing", "personalisation", "phone"
    PURPOSES = [
        (MARKETING, _("marketing messages")),
        (PERSONALISATION, _("personal recommendations")),
        (PHONE, _("use of the phone number")),
    ]

    member = models.ForeignKey(
        Member,
        models.PROTECT,
        db_index=False,
        db_constraint=False,  # ADR 20: checked by the trigger `rows_have_their_member`
        related_name="consents",
        verbose_name=_("member"),
    )
    purpose = models.CharField(_("purpose"), max_length=16, choices=PURPOSES)
    account = models.ForeignKey(
        "wechat.Account",
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="+",
        verbose_name=_("on the account"),
        help_text=_("Empty: on all."),
    )
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
        db_index=False,
        related_name="+",
        verbose_name=_("by"),
    )

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) | models.Q(purpose="marketing"),
                name="only_marketing_is_answered_by_channel",
            )
        ]
        indexes = [
            models.Index(fields=["member", "purpose", "-at"], name="consent_latest"),
            models.Index(
                fields=["recorded_by"],
                name="consent_by_recorder",
                condition=models.Q(recorded_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {'+' if self.is_given else '-'}"
