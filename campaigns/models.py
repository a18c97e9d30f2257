"""Broadcasts with one row per recipient; win-back rules with one row per spell of silence."""

import pghistory
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from campaigns import rules

CHANNELS = [
    (rules.CUSTOM, _("customer-service message")),
    (rules.SUBSCRIBE, _("subscription notice")),
    (rules.TEMPLATE, _("template message")),
    (rules.MASS, _("mass message")),
    (rules.WORK_MASS, _("WeCom message by the guide")),
]


LINK = RegexValidator(
    r"^(https?://[^\s]+|/[^\s/\\][^\s]*|/)$", _("Give a full address (https://…) or a path of the shop (/…).")
)


class Content(models.Model):
    """What is said: a text, a link card or a template; a template may stand beside a text for subscribers."""

    KINDS = [
        (rules.TEXT, _("text")),
        (rules.LINK, _("link card")),
        (rules.TEMPLATE_MESSAGE, _("template message")),
    ]

    kind = models.CharField(_("form"), max_length=10, choices=KINDS, default=rules.LINK)
    text = models.TextField(
        _("text"),
        blank=True,
        help_text=_("{{name}} becomes the member's name, {{url}} her tracked link."),
    )
    title = models.CharField(_("title"), max_length=64, blank=True)
    description = models.CharField(_("description"), max_length=170, blank=True)
    url = models.CharField(
        _("link"),
        max_length=1000,
        blank=True,
        validators=[LINK],
        help_text=_("Where the tracked link leads: a full address, or a path of the shop such as /p/12/."),
    )
    image_url = models.CharField(
        _("picture"),
        max_length=1000,
        blank=True,
        validators=[LINK],
        help_text=_("An address, or a path such as /media/…."),
    )
    template_id = models.CharField(
        _("template id"),
        max_length=80,
        blank=True,
        help_text=_("Subscription notice or template message: the id in the official account."),
    )
    template_fields = models.JSONField(
        _("template fields"),
        default=dict,
        blank=True,
        help_text=_('For example {"thing1": "New perfume", "time2": "2026-11-22"}.'),
    )

    class Meta:
        abstract = True


@pghistory.track(exclude=["bodies"])
class Broadcast(Content):
    """One message to many, planned before it goes: each recipient has a row that says what became of her."""

    DRAFT, PLANNED, SCHEDULED, SENDING, PAUSED, DONE, CANCELLED = (
        "draft", "planned", "scheduled", "sending", "paused", "done", "cancelled",
    )  # fmt: skip
    STATUSES = [
        (DRAFT, _("draft")),
        (PLANNED, _("planned")),
        (SCHEDULED, _("scheduled")),
        (SENDING, _("sending")),
        (PAUSED, _("paused")),
        (DONE, _("done")),
        (CANCELLED, _("cancelled")),
    ]
    EVERYONE, SEGMENT = "everyone", "segment"
    AUDIENCES = [(EVERYONE, _("everybody who follows")), (SEGMENT, _("a segment"))]
    PURPOSES = [(rules.MARKETING, _("marketing")), (rules.SERVICE, _("service"))]
    CHANNEL_CHOICES = [(rules.AUTO, _("automatic (best channel for each member)")), *CHANNELS]

    name = models.CharField(_("name"), max_length=80, help_text=_("Only the team sees it."))
    purpose = models.CharField(_("purpose"), max_length=10, choices=PURPOSES, default=rules.MARKETING)
    audience = models.CharField(_("audience"), max_length=10, choices=AUDIENCES, default=EVERYONE)
    segment = models.ForeignKey(
        "crm.Segment", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("segment")
    )
    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("official account")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNEL_CHOICES, default=rules.AUTO)
    patience_hours = models.PositiveSmallIntegerField(
        _("give up after (hours)"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 14)],
        help_text=_(
            "Whoever could not be reached by then (quiet hours, caps) is skipped: late news is no news."
        ),
    )
    status = models.CharField(_("status"), max_length=10, choices=STATUSES, default=DRAFT, editable=False)
    scheduled_at = models.DateTimeField(_("scheduled for"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), editable=False)
    planned_at = models.DateTimeField(_("planned at"), null=True, editable=False)
    started_at = models.DateTimeField(_("started at"), null=True, editable=False)
    finished_at = models.DateTimeField(_("finished at"), null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
    )
    bodies = models.JSONField(default=dict, editable=False)  # channel → id of the wechat body, once started

    class Meta:
        verbose_name = _("broadcast")
        verbose_name_plural = _("broadcasts")
        permissions = [
            ("send_broadcast", _("Can start, pause and cancel broadcasts")),
            ("export_broadcast", _("Can export the results of broadcasts")),
        ]
        indexes = [
            models.Index(
                fields=["status"],
                name="broadcast_open",
                condition=Q(status__in=["scheduled", "sending", "paused"]),
            ),
            models.Index(fields=["-started_at"], name="broadcast_by_start"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(audience="everyone") | Q(segment__isnull=False),
                name="broadcast_to_a_segment_names_it",
            ),
            models.CheckConstraint(
                condition=~Q(status="scheduled") | Q(scheduled_at__isnull=False),
                name="scheduled_broadcast_knows_when",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        """How its messages, touches and facts name it."""
        return f"broadcast:{self.pk}"

    @property
    def is_editable(self) -> bool:
        return self.status in (self.DRAFT, self.PLANNED)


class BroadcastRecipient(models.Model):
    """What becomes of one member in one broadcast. Released at most once: the unique keys see to it."""

    PLANNED, SKIPPED, RELEASED, CANCELLED = "planned", "skipped", "released", "cancelled"
    STATUSES = [
        (PLANNED, _("planned")),
        (SKIPPED, _("skipped")),
        (RELEASED, _("handed over")),
        (CANCELLED, _("cancelled")),
    ]

    broadcast = models.ForeignKey(
        Broadcast, models.CASCADE, related_name="recipients", verbose_name=_("broadcast"), db_index=False
    )
    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    status = models.CharField(_("status"), max_length=9, choices=STATUSES)
    reason = models.CharField(_("reason"), max_length=32, blank=True, default="")
    not_before = models.DateTimeField(_("not before"), null=True)
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS, blank=True, default="")
    to = models.CharField(_("address"), max_length=128, blank=True, default="")
    released_at = models.DateTimeField(_("handed over at"), null=True)
    opened_at = models.DateTimeField(_("opened at"), null=True)

    class Meta:
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")
        constraints = [
            models.UniqueConstraint(fields=["broadcast", "member"], name="broadcast_reaches_a_member_once"),
            models.CheckConstraint(
                condition=~Q(status="released") | Q(released_at__isnull=False, channel__gt=""),
                name="released_recipient_knows_when_and_how",
            ),
        ]
        indexes = [
            models.Index(fields=["broadcast", "id"], name="recipient_waiting", condition=Q(status="planned")),
        ]

    def __str__(self) -> str:
        return f"{self.broadcast} → {self.member}"


@pghistory.track(exclude=["bodies", "last_run_at"])
class WinBackRule(Content):
    """Members who bought and then were silent for so many days get this, once per spell of silence."""

    name = models.CharField(_("name"), max_length=80)
    is_active = models.BooleanField(_("active"), default=False)
    silent_days = models.PositiveSmallIntegerField(
        _("silent for (days)"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text=_("No order and no visit, message or click since."),
    )
    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("official account")
    )
    channels = models.JSONField(
        _("channels in order"),
        default=list,
        help_text=_("The first one on which the platform lets her be reached is used."),
    )
    return_days = models.PositiveSmallIntegerField(
        _("counts as come back within (days)"),
        default=7,
        validators=[MinValueValidator(1), MaxValueValidator(90)],
    )
    daily_limit = models.PositiveIntegerField(
        _("at most per day"), default=1000, validators=[MinValueValidator(1)]
    )
    created_at = models.DateTimeField(_("created at"), editable=False)
    last_run_at = models.DateTimeField(_("last run"), null=True, editable=False)
    bodies = models.JSONField(default=dict, editable=False)  # channel → [fingerprint, id of the wechat body]

    class Meta:
        verbose_name = _("win-back rule")
        verbose_name_plural = _("win-back rules")

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        return f"winback:{self.pk}"


class WinBackSpell(models.Model):
    """One member's one spell of silence under one rule: one message, or the reason why not (yet)."""

    WAITING, SENT, ENDED, GAVE_UP = "waiting", "sent", "ended", "gave_up"
    STATUSES = [
        (WAITING, _("waiting")),
        (SENT, _("handed over")),
        (ENDED, _("came back by herself")),
        (GAVE_UP, _("given up")),
    ]

    rule = models.ForeignKey(WinBackRule, models.CASCADE, related_name="spells", verbose_name=_("rule"))
    member = models.ForeignKey("crm.Member", models.CASCADE, related_name="+", verbose_name=_("member"))
    spell_started_at = models.DateTimeField(_("silent since"))
    found_at = models.DateTimeField(_("found at"))
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=WAITING)
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS, blank=True, default="")
    to = models.CharField(_("address"), max_length=128, blank=True, default="")
    reason = models.CharField(_("reason"), max_length=32, blank=True, default="")
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    released_at = models.DateTimeField(_("handed over at"), null=True)
    opened_at = models.DateTimeField(_("opened at"), null=True)

    class Meta:
        verbose_name = _("win-back")
        verbose_name_plural = _("win-backs")
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "member", "spell_started_at"], name="one_win_back_per_spell_of_silence"
            ),
            models.CheckConstraint(
                condition=~Q(status="sent") | Q(released_at__isnull=False, channel__gt=""),
                name="sent_win_back_knows_when_and_how",
            ),
            models.CheckConstraint(
                condition=Q(found_at__gte=F("spell_started_at")), name="spell_is_found_after_it_began"
            ),
        ]
        indexes = [
            models.Index(fields=["next_try_at"], name="win_back_waiting", condition=Q(status="waiting")),
            models.Index(fields=["rule", "-released_at"], name="win_back_by_release"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} → {self.member}"


class WinBackDecision(models.Model):
    """Why a win-back went, waited or was given up, each time it was looked at. Append-only."""

    spell = models.ForeignKey(
        WinBackSpell, models.CASCADE, related_name="decisions", verbose_name=_("win-back")
    )
    at = models.DateTimeField(_("at"))
    answer = models.CharField(
        _("answer"),
        max_length=8,
        choices=[
            ("sent", _("handed over")),
            ("later", _("later")),
            ("gave_up", _("given up")),
            ("ended", _("ended")),
        ],
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS, blank=True, default="")
    reason = models.CharField(_("reason"), max_length=32, blank=True, default="")
    until = models.DateTimeField(_("until"), null=True)

    class Meta:
        verbose_name = _("win-back decision")
        verbose_name_plural = _("win-back decisions")

    def __str__(self) -> str:
        return f"{self.spell_id}: {self.answer} {self.reason}".strip()
