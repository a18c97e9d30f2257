"""Tasks: what a member may do for points, how far she is, and each event that counted."""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track()
class PointsTask(models.Model):
    """Points for something that a member does: once, or once in each day, week or month of the shop's calendar.

    What she can be (a follower, known by a birthday) counts once in her life. What she can do again counts event by
    event; `times` of them are one fulfilment. A change counts for what happens after it.
    """

    FOLLOW, CONTACT, PHONE, BIRTHDAY, GROUP = "follow", "contact", "phone", "birthday", "group"
    REVIEW, ORDER, SHARE = "review", "order", "share"
    KINDS = [
        (FOLLOW, _("follows the official account")),
        (CONTACT, _("adds a guide in WeCom")),
        (PHONE, _("leaves her phone number")),
        (BIRTHDAY, _("tells her birthday")),
        (GROUP, _("joins a customer group")),
        (REVIEW, _("writes a review that is shown")),
        (ORDER, _("receives an order")),
        (SHARE, _("a friend opens what she shared")),
    ]
    LASTING = (FOLLOW, CONTACT, PHONE, BIRTHDAY, GROUP)
    ONCE, DAY, WEEK, MONTH = "once", "day", "week", "month"
    PERIODS = [(ONCE, _("once")), (DAY, _("each day")), (WEEK, _("each week")), (MONTH, _("each month"))]

    name = models.CharField(_("name"), max_length=30, help_text=_("Members see it."))
    detail = models.CharField(_("description"), max_length=120, blank=True)
    kind = models.CharField(_("what counts"), max_length=8, choices=KINDS)
    times = models.PositiveSmallIntegerField(
        _("how many times"), default=1, help_text=_("So many of them are one fulfilment.")
    )
    period = models.CharField(_("rewarded"), max_length=5, choices=PERIODS, default=ONCE)
    points = models.PositiveIntegerField(_("points"))
    link = models.CharField(
        _("link"),
        max_length=300,
        blank=True,
        help_text=_(
            "Where its button leads, for example a page with your guide's code. Empty: the usual page."
        ),
    )
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("switched on"), default=True)

    class Meta:
        verbose_name = _("task for points")
        verbose_name_plural = _("tasks for points")
        ordering = ["position", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(times__range=(1, 100), points__range=(1, 1_000_000)),
                name="points_task_within_reason",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["follow", "contact", "phone", "birthday", "group"])
                | Q(times=1, period="once"),
                name="what_lasts_counts_once",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True)
                | Q(ends_at__isnull=True)
                | Q(ends_at__gt=models.F("starts_at")),
                name="points_task_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PointsTaskRun(models.Model):
    """A member's way through a task in one period ("" once, "2026-03-04", "2026-W10", "2026-03").

    Fulfilled, it says when and how many points that gave: the earning `task:<id>`. Its lock makes the count exact.
    """

    task = models.ForeignKey(PointsTask, models.PROTECT, related_name="runs", verbose_name=_("task"))
    member = models.ForeignKey(
        Member, models.PROTECT, related_name="+", db_index=False, verbose_name=_("member")
    )
    period = models.CharField(_("period"), max_length=10, blank=True)
    points = models.PositiveIntegerField(_("points"), default=0)
    done_at = models.DateTimeField(_("fulfilled at"), null=True, blank=True)

    class Meta:
        verbose_name = _("task of a member")
        verbose_name_plural = _("tasks of members")
        constraints = [
            models.UniqueConstraint(fields=["member", "task", "period"], name="task_is_run_once_a_period"),
            models.CheckConstraint(
                condition=Q(done_at__isnull=True, points=0) | Q(done_at__isnull=False, points__gte=1),
                name="fulfilled_task_gave_points",
            ),
        ]
        indexes = [models.Index(fields=["-done_at"], name="tasks_by_fulfilment")]

    def __str__(self) -> str:
        return f"{self.task_id} {self.member_id} {self.period}".rstrip()


class PointsTaskStep(models.Model):
    """One event that counted for a member, once: `key` names it ("order:12", "friend:7"). Append-only."""

    task = models.ForeignKey(
        PointsTask, models.PROTECT, related_name="+", db_index=False, verbose_name=_("task")
    )
    member = models.ForeignKey(
        Member, models.PROTECT, related_name="+", db_index=False, verbose_name=_("member")
    )
    period = models.CharField(_("period"), max_length=10, blank=True)
    key = models.CharField(_("event"), max_length=60)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("step of a task")
        verbose_name_plural = _("steps of tasks")
        constraints = [
            models.UniqueConstraint(fields=["member", "task", "key"], name="an_event_counts_once_for_a_task")
        ]

    def __str__(self) -> str:
        return f"{self.task_id} {self.member_id} {self.key}"
