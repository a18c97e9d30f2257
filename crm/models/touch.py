"""Touches that were booked, and the policy that allows them."""

import datetime

import pghistory
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core import clock
from crm.models.people import Member


@pghistory.track()
class TouchPolicy(models.Model):
    """The one policy of the house: when, how often and to whom a message may go that nobody asked for."""

    IMPLIED, EXPLICIT = "implied", "explicit"
    CONSENT_RULES = [
        (IMPLIED, _("following counts as consent until withdrawn")),
        (EXPLICIT, _("only members who agreed expressly")),
    ]

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    quiet_from = models.TimeField(_("quiet from"), default=datetime.time(21, 30))
    quiet_until = models.TimeField(
        _("quiet until"),
        default=datetime.time(8, 30),
        help_text=_("In the member's time zone. The same hour twice: no quiet hours."),
    )
    max_per_day = models.PositiveSmallIntegerField(_("at most in one day"), default=1)
    max_per_week = models.PositiveSmallIntegerField(_("at most in 7 days"), default=3)
    max_per_month = models.PositiveSmallIntegerField(_("at most in 30 days"), default=8)
    consent_rule = models.CharField(_("consent"), max_length=10, choices=CONSENT_RULES, default=IMPLIED)
    rests_on_holidays = models.BooleanField(_("rest on the days of the table"), default=True)

    class Meta:
        verbose_name = _("touch policy")
        verbose_name_plural = _("touch policy")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_touch_policy")]

    def __str__(self) -> str:
        return str(_("touch policy"))


@pghistory.track()
class Holiday(models.Model):
    """A day on which nothing of marketing is sent (mourning days, festivals the brand leaves alone)."""

    policy = models.ForeignKey(
        TouchPolicy, models.CASCADE, related_name="holidays", default=1, editable=False
    )
    day = models.DateField(_("day"), unique=True)
    name = models.CharField(_("name"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("day of rest")
        verbose_name_plural = _("days of rest")
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day} {self.name}".strip()


class Touch(models.Model):
    """One message that counts against a member's budget, or the reason why she did not get it.

    `origin` names the sender ("broadcast:12", "winback:3:…"): once per member.
    """

    SENT, SKIPPED, DEFERRED = "send", "skip", "defer"
    ANSWERS = [(SENT, _("sent")), (SKIPPED, _("skipped")), (DEFERRED, _("deferred"))]
    MARKETING, SERVICE = "marketing", "service"
    PURPOSES = [(MARKETING, _("marketing")), (SERVICE, _("service"))]

    member = models.ForeignKey(
        Member, models.PROTECT, db_index=False, related_name="touches", verbose_name=_("member")
    )
    purpose = models.CharField(_("purpose"), max_length=10, choices=PURPOSES)
    channel = models.CharField(_("channel"), max_length=12, blank=True)
    origin = models.CharField(_("origin"), max_length=60)
    answer = models.CharField(_("verdict"), max_length=5, choices=ANSWERS, default=SENT)
    reason = models.CharField(_("reason"), max_length=24, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("touch")
        verbose_name_plural = _("touches")
        constraints = [
            models.UniqueConstraint(fields=["origin", "member"], name="member_touched_once_per_origin")
        ]
        indexes = [
            models.Index(fields=["member", "-at"], name="touch_by_member"),
            # Rows come in order of time: a block range index finds the last month and costs a bulk insert nothing.
            BrinIndex(fields=["at"], name="touch_by_time", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"{self.member} {clock.local(self.at):%Y-%m-%d %H:%M}"
