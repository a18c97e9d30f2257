"""Accounts on the platforms; their notices and messages."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.secrets import SecretField


class Account(models.Model):
    """One official account, WeCom app or Pay merchant of the brand."""

    SERVICE, SUBSCRIPTION, WORK, PAY = "service", "subscription", "work", "pay"
    KINDS = [
        (SERVICE, _("service account")),
        (SUBSCRIPTION, _("subscription account")),
        (WORK, _("WeCom")),
        (PAY, _("WeChat Pay")),
    ]
    MODES = [("plain", _("plain text")), ("compatible", _("compatible")), ("safe", _("safe (AES)"))]

    kind = models.CharField(_("kind"), max_length=12, choices=KINDS)
    key = models.SlugField(_("key"), max_length=40, help_text=_("Part of the webhook address."))
    name = models.CharField(_("name"), max_length=80, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    appid = models.CharField(
        _("appid"), max_length=64, blank=True, help_text=_("Pay: the account that takes payments.")
    )
    corpid = models.CharField(_("corpid"), max_length=64, blank=True)
    agentid = models.CharField(_("agentid"), max_length=32, blank=True)
    mchid = models.CharField(_("mchid"), max_length=32, blank=True)
    secret = SecretField(_("secret"), blank=True)
    token = SecretField(_("callback token"), blank=True)
    aes_key = SecretField(_("EncodingAESKey"), blank=True)
    mode = models.CharField(_("callback mode"), max_length=12, choices=MODES, default="safe")
    apiv3_key = SecretField(_("APIv3 key"), blank=True)
    merchant_key = SecretField(_("merchant private key (PEM)"), blank=True)
    merchant_serial = models.CharField(_("merchant certificate serial"), max_length=64, blank=True)
    public_key = models.TextField(_("WeChat Pay public key (PEM)"), blank=True)
    public_key_id = models.CharField(_("public key id"), max_length=80, blank=True)
    api_base = models.URLField(_("API base address"), blank=True, help_text=_("Empty: the vendor's own."))
    jssdk_url = models.URLField(_("JS-SDK address"), blank=True, help_text=_("Empty: the vendor's own."))

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], name="account_key_once_per_kind"),
            models.UniqueConstraint(
                fields=["key"],
                condition=Q(kind__in=["service", "subscription"]),
                name="official_account_key_names_one_webhook",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind}:{self.key}"
