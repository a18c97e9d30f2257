"""Accounts on the platforms, what the platforms told us, and what we tell people through them."""

from typing import Any, ClassVar

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from core.secrets import SecretField


@pghistory.track(exclude=["secret", "token", "aes_key", "apiv3_key", "merchant_key"])
class Account(models.Model):
    """One official account, WeCom app or Pay merchant of the brand."""

    SERVICE, SUBSCRIPTION, WORK, PAY, MINI = "service", "subscription", "work", "pay", "mini"
    KINDS = [
        (SERVICE, _("service account")),
        (SUBSCRIPTION, _("subscription account")),
        (WORK, _("WeCom")),
        (PAY, _("WeChat Pay")),
        (MINI, _("mini program")),
    ]
    PLAIN, COMPATIBLE, SAFE = "plain", "compatible", "safe"
    MODES = [(PLAIN, _("plain text")), (COMPATIBLE, _("compatible")), (SAFE, _("safe (AES)"))]
    OFFICIAL = (SERVICE, SUBSCRIPTION)
    # What the brand keeps an account for; in the order of the account matrix.
    BRAND, EVENT, EXECUTIVE, STORE = "official", "event", "executive", "store"
    ROLES = [
        (BRAND, pgettext_lazy("role of an account", "official")),
        (EVENT, pgettext_lazy("role of an account", "event")),
        (EXECUTIVE, pgettext_lazy("role of an account", "executive")),
        (STORE, pgettext_lazy("role of an account", "store")),
    ]
    SECRET_FIELDS = ("secret", "token", "aes_key", "apiv3_key", "merchant_key")

    kind = models.CharField(_("kind"), max_length=12, choices=KINDS)
    key = models.SlugField(_("key"), max_length=40, help_text=_("Part of the webhook address."))
    name = models.CharField(_("name"), max_length=80, blank=True)
    role = models.CharField(
        _("role"),
        max_length=12,
        choices=ROLES,
        default=BRAND,
        db_default=BRAND,
        help_text=_("What members follow it for; the account matrix groups by it."),
    )
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
    mode = models.CharField(_("callback mode"), max_length=12, choices=MODES, default=SAFE)
    apiv3_key = SecretField(_("APIv3 key"), blank=True)
    merchant_key = SecretField(_("merchant private key (PEM)"), blank=True)
    merchant_serial = models.CharField(_("merchant certificate serial"), max_length=64, blank=True)
    public_key = models.TextField(_("WeChat Pay public key (PEM)"), blank=True)
    public_key_id = models.CharField(_("public key id"), max_length=80, blank=True)
    api_base = models.URLField(_("API base address"), blank=True, help_text=_("Empty: the vendor's own."))
    jssdk_url = models.URLField(_("JS-SDK address"), blank=True, help_text=_("Empty: the vendor's own."))
    daily_limits = models.JSONField(
        _("daily limits"),
        default=dict,
        blank=True,
        help_text=_(
            'Messages a day by channel, where the platform grants other numbers: {"template": 100000}.'
        ),
    )

    class Meta:
        verbose_name = _("WeChat account")
        verbose_name_plural = _("WeChat accounts")
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], name="account_key_once_per_kind"),
            models.UniqueConstraint(
                fields=["key"],
                condition=Q(kind__in=["service", "subscription"]),
                name="official_account_key_names_one_webhook",
            ),
            # Nobody follows a merchant: it has no role of its own.
            models.CheckConstraint(
                condition=Q(role="official") | Q(role__in=["event", "executive", "store"]) & ~Q(kind="pay"),
                name="account_role_is_known_and_followed",
            ),
        ]

    # Raised by every save in this process, so that what webhooks remember of accounts is forgotten at once.
    generation: ClassVar[int] = 0

    def __str__(self) -> str:
        return self.name or f"{self.kind}:{self.key}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        Account.generation += 1

    @property
    def is_official(self) -> bool:
        return self.kind in self.OFFICIAL

    @property
    def receive_id(self) -> str:
        """Who encrypted callbacks must be addressed to."""
        return self.corpid if self.kind == self.WORK else self.appid


class AccessToken(models.Model):
    """An access token or JS ticket shared by all processes. The lease lets one of them fetch the next one."""

    ACCESS, JSAPI, AGENT = "access", "jsapi", "agent"

    account = models.ForeignKey(Account, models.CASCADE, verbose_name=_("WeChat account"))
    kind = models.CharField(max_length=8)
    value = SecretField(blank=True)
    fetched_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    failure_code = models.CharField(max_length=40, blank=True)
    failure_detail = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "kind"], name="one_token_per_account_and_kind")
        ]

    def __str__(self) -> str:
        return f"{self.account_id}:{self.kind}"


class Notice(models.Model):
    """What a platform told us, verbatim, once. The row is the queue of its handler."""

    NEW, DONE, IGNORED, FAILED = "new", "done", "ignored", "failed"
    STATUSES = [(NEW, _("waiting")), (DONE, _("done")), (IGNORED, _("ignored")), (FAILED, _("given up"))]

    account = models.ForeignKey(Account, models.PROTECT, verbose_name=_("WeChat account"), db_index=False)
    fingerprint = models.UUIDField(_("fingerprint"), help_text=_("Hash of all that identifies the notice."))
    topic = models.CharField(_("topic"), max_length=80)
    sender = models.CharField(_("sender"), max_length=128, blank=True)
    body = models.BinaryField(_("body as received"))
    content = models.TextField(_("decrypted content"), blank=True)
    headers = models.JSONField(_("headers"), default=dict)
    received_at = models.DateTimeField(_("arrived at"))
    deliveries = models.PositiveIntegerField(_("deliveries"), default=1)
    last_received_at = models.DateTimeField(_("last arrived at"))
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=NEW)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"))
    handler = models.CharField(_("handled by"), max_length=80, blank=True)
    error = models.TextField(_("error"), blank=True)
    handled_at = models.DateTimeField(_("handled at"), null=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        constraints = [
            models.UniqueConstraint(fields=["account", "fingerprint"], name="notice_is_stored_once")
        ]
        indexes = [
            models.Index(fields=["next_attempt_at", "id"], name="notice_due", condition=Q(status="new")),
            models.Index(fields=["id"], name="notice_given_up", condition=Q(status="failed")),
        ]

    def __str__(self) -> str:
        return f"{self.topic} #{self.pk}"


class ReplyWindow(models.Model):
    """How many customer-service messages a person may still get, and until when (contract A6)."""

    MESSAGE, MENU, FOLLOW, SCAN = "message", "menu", "follow", "scan"
    TRIGGERS = [
        (MESSAGE, _("message")),
        (MENU, _("menu click")),
        (FOLLOW, _("follow")),
        (SCAN, _("scan")),
    ]

    account = models.ForeignKey(Account, models.CASCADE, verbose_name=_("WeChat account"), db_index=False)
    openid = models.CharField(_("openid"), max_length=64)
    trigger = models.CharField(_("trigger"), max_length=8, choices=TRIGGERS)
    opened_at = models.DateTimeField(_("opened at"))
    expires_at = models.DateTimeField(_("expires at"))
    remaining = models.PositiveSmallIntegerField(_("remaining"))

    class Meta:
        verbose_name = _("reply window")
        verbose_name_plural = _("reply windows")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "openid", "trigger"], name="one_reply_window_per_person_and_trigger"
            )
        ]
        indexes = [
            models.Index(
                fields=["account", "expires_at"], name="reply_window_open", condition=Q(remaining__gt=0)
            )
        ]

    def __str__(self) -> str:
        return f"{self.openid} {self.trigger} {self.remaining}"


class SubscriptionQuota(models.Model):
    """How many subscription notifications of a template a person has accepted and not yet got (contract A8)."""

    account = models.ForeignKey(Account, models.CASCADE, verbose_name=_("WeChat account"), db_index=False)
    openid = models.CharField(_("openid"), max_length=64)
    template_id = models.CharField(_("template"), max_length=64)
    # The moments of the unspent accepts: only with them a refusal that arrives late can be put in its place.
    accepted_ats = ArrayField(models.DateTimeField(), default=list)
    refused_at = models.DateTimeField(_("refused at"), null=True)
    remaining = models.PositiveIntegerField(_("remaining"), default=0)

    class Meta:
        verbose_name = _("subscription quota")
        verbose_name_plural = _("subscription quotas")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "template_id", "openid"], name="one_subscription_quota_per_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.openid} {self.template_id} {self.remaining}"


class ChannelUse(models.Model):
    """Messages (or calls, for mass channels) of one channel on one day of the account."""

    account = models.ForeignKey(Account, models.CASCADE, verbose_name=_("WeChat account"), db_index=False)
    channel = models.CharField(_("channel"), max_length=10)
    day = models.DateField(_("day"))
    used = models.PositiveIntegerField(_("used"), default=0)
    paused_until = models.DateTimeField(_("paused until"), null=True)
    pause_reason = models.CharField(_("reason of the pause"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("daily use")
        verbose_name_plural = _("daily use")
        constraints = [
            models.UniqueConstraint(fields=["account", "channel", "day"], name="one_use_per_channel_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.channel} {self.day}: {self.used}"


class MassUse(models.Model):
    """Mass messages that one person was sent in a calendar month (contract A9, B7)."""

    account = models.ForeignKey(Account, models.CASCADE, verbose_name=_("WeChat account"), db_index=False)
    month = models.DateField(_("month"))
    recipient = models.CharField(_("recipient"), max_length=64)
    used = models.PositiveSmallIntegerField(_("used"), default=0)

    class Meta:
        verbose_name = _("mass message use")
        verbose_name_plural = _("mass message use")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "month", "recipient"], name="one_mass_use_per_person_and_month"
            )
        ]

    def __str__(self) -> str:
        return f"{self.recipient} {self.month:%Y-%m}: {self.used}"


class OutboundBody(models.Model):
    """What is said, shared by all messages that say it; `{{name}}` is filled from the message's own `vars`."""

    content = models.JSONField(_("content"))
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("message content")
        verbose_name_plural = _("message contents")

    def __str__(self) -> str:
        content: dict[str, Any] = self.content
        return str(content.get("text") or content.get("title") or content.get("template_id") or self.pk)[:60]


class OutboundBatch(models.Model):
    """One platform call for many recipients (mass sending). Its key makes repeating the call harmless."""

    SENDING, SENT, DONE, FAILED, UNKNOWN = "sending", "sent", "done", "failed", "unknown"
    STATES = [
        (SENDING, _("sending")),
        (SENT, _("handed over")),
        (DONE, _("finished")),
        (FAILED, _("failed")),
        (UNKNOWN, _("outcome unknown")),
    ]

    account = models.ForeignKey(Account, models.PROTECT, verbose_name=_("WeChat account"))
    channel = models.CharField(_("channel"), max_length=10)
    body = models.ForeignKey(OutboundBody, models.PROTECT, verbose_name=_("content"))
    client_id = models.CharField(_("idempotency key"), max_length=64, unique=True)
    platform_id = models.CharField(_("platform id"), max_length=64, blank=True)
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=SENDING)
    recipients = models.PositiveIntegerField(_("recipients"), default=0)
    result = models.JSONField(_("result"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created at"))
    checked_at = models.DateTimeField(_("checked at"), null=True)

    class Meta:
        verbose_name = _("mass sending")
        verbose_name_plural = _("mass sendings")
        indexes = [
            models.Index(
                fields=["account", "platform_id"],
                name="batch_by_platform_id",
                condition=~Q(platform_id=""),
            ),
            models.Index(fields=["checked_at"], name="batch_unfinished", condition=Q(state="sent")),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.platform_id or self.client_id}"


class OutboundMessage(models.Model):
    """One message to one person. The row is the job; a message is never sent twice by guessing."""

    PENDING, HELD, SENDING, SENT = "pending", "held", "sending", "sent"
    FAILED, UNKNOWN, CANCELLED = "failed", "unknown", "cancelled"
    STATES = [
        (PENDING, _("waiting")),
        (HELD, _("held")),
        (SENDING, _("sending")),
        (SENT, _("sent")),
        (FAILED, _("failed")),
        (UNKNOWN, _("outcome unknown")),
        (CANCELLED, _("cancelled")),
    ]
    CUSTOM, TEMPLATE, SUBSCRIBE, MASS = "custom", "template", "subscribe", "mass"
    WELCOME, WORK_MASS = "welcome", "work_mass"
    CHANNELS = [
        (CUSTOM, _("customer-service message")),
        (TEMPLATE, _("template message")),
        (SUBSCRIBE, _("subscription notification")),
        (MASS, _("mass message")),
        (WELCOME, _("WeCom welcome")),
        (WORK_MASS, _("WeCom mass message")),
    ]

    account = models.ForeignKey(Account, models.PROTECT, verbose_name=_("WeChat account"), db_index=False)
    body = models.ForeignKey(OutboundBody, models.PROTECT, verbose_name=_("content"), db_index=False)
    batch = models.ForeignKey(
        OutboundBatch, models.SET_NULL, null=True, verbose_name=_("mass sending"), db_index=False
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    to = models.CharField(_("recipient"), max_length=128, db_column="recipient")
    vars = models.JSONField(_("values"), null=True)
    origin = models.CharField(_("origin"), max_length=60)
    origin_id = models.BigIntegerField(_("row of the origin"))
    dedupe_key = models.CharField(_("once per"), max_length=120, null=True)
    state = models.CharField(_("state"), max_length=9, choices=STATES, default=PENDING)
    is_urgent = models.BooleanField(_("urgent"), default=False)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"))
    lease_until = models.DateTimeField(_("claimed until"), null=True)
    reason_code = models.CharField(_("reason code"), max_length=40, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    platform_id = models.CharField(_("platform id"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"))
    sent_at = models.DateTimeField(_("sent at"), null=True)

    class Meta:
        verbose_name = _("outgoing message")
        verbose_name_plural = _("outgoing messages")
        constraints = [
            models.UniqueConstraint(fields=["origin", "origin_id"], name="origin_sends_a_row_once"),
            models.UniqueConstraint(
                fields=["dedupe_key"], condition=~Q(dedupe_key=None), name="message_once_per_dedupe_key"
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "channel", "next_attempt_at", "id"],
                name="outbound_waiting",
                condition=Q(state="pending"),
            ),
            models.Index(
                fields=["next_attempt_at"],
                name="outbound_urgent",
                condition=Q(state="pending", is_urgent=True),
            ),
            models.Index(fields=["lease_until"], name="outbound_in_flight", condition=Q(state="sending")),
            models.Index(
                fields=["account", "platform_id"],
                name="outbound_by_platform_id",
                condition=~Q(platform_id=""),
            ),
            models.Index(fields=["batch", "to"], name="outbound_of_batch", condition=~Q(batch=None)),
            # What the retention clock has still to empty; written in order of time.
            models.Index(fields=["created_at"], name="outbound_names_somebody", condition=~Q(to="erased")),
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} #{self.pk}"
