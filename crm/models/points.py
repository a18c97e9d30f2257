"""Points and growth: the rules of earning, what was earned and taken back, daily sign-ins, what staff corrected.

The balances themselves are accounts of `core.ledger` (kinds points, points.frozen and growth; the owner is the member).
"""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member

POINTS, FROZEN, GROWTH = "points", "points.frozen", "growth"


@pghistory.track()
class PointsRules(models.Model):
    """How members earn: one row, or none while they earn nothing. A change counts for what is earned after it."""

    DAY, MONTH = "day", "month"
    BIRTHDAYS = [(DAY, _("on her birthday")), (MONTH, _("in the month of her birthday"))]

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    is_active = models.BooleanField(_("switched on"), default=True)
    points_per_100_yuan = models.PositiveIntegerField(
        _("points per ¥100 paid"), default=100, help_text=_("100: one point for each yuan. 0: none.")
    )
    growth_per_100_yuan = models.PositiveIntegerField(_("growth per ¥100 paid"), default=100)
    least_fen = models.PositiveBigIntegerField(
        _("least amount (fen)"), default=0, help_text=_("Orders whose goods cost less earn nothing.")
    )
    birthday_bps = models.PositiveIntegerField(
        _("birthday multiplier (per ten thousand)"),
        default=20_000,
        help_text=_("20,000: twice the points. Growth is not multiplied."),
    )
    birthday_when = models.CharField(_("birthday counts"), max_length=5, choices=BIRTHDAYS, default=DAY)
    freeze_days = models.PositiveSmallIntegerField(
        _("frozen after receipt (days)"),
        default=15,
        help_text=_("Points of an order can be spent when its goods cannot be returned any more."),
    )
    months = models.PositiveSmallIntegerField(
        _("expire after (months)"),
        default=12,
        help_text=_("Counted from the day on which they can be spent, to the end of that day. 0: never."),
    )
    remind_days = models.PositiveSmallIntegerField(
        _("remind before expiry (days)"), default=7, help_text=_("0: no reminder.")
    )
    signin_points = models.PositiveIntegerField(_("points for signing in"), default=5)
    streak_days = models.PositiveSmallIntegerField(
        _("days in a row for the bonus"), default=7, help_text=_("0: no bonus.")
    )
    streak_points = models.PositiveIntegerField(_("bonus points"), default=20)
    review_points = models.PositiveIntegerField(_("points for a review that is shown"), default=20)
    profile_points = models.PositiveIntegerField(_("points for a complete profile"), default=50)

    class Meta:
        verbose_name = _("earning of points")
        verbose_name_plural = _("earning of points")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="there_is_one_row_of_points_rules"),
            models.CheckConstraint(
                condition=Q(
                    points_per_100_yuan__lte=100_000,
                    growth_per_100_yuan__lte=100_000,
                    birthday_bps__gte=10_000,
                    birthday_bps__lte=100_000,
                    freeze_days__lte=90,
                    months__lte=120,
                    remind_days__lte=60,
                    streak_days__lte=366,
                ),
                name="points_rules_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return str(_("earning of points"))


class Earning(models.Model):
    """What one cause gave a member, once: points or growth. `given` never changes; refunds raise `taken`.

    `frozen`: the part that cannot be spent yet; the sweeper looks at it at `due_at`. `owed`: the part of `taken` that
    she had spent already; her next points settle it. `basis` says how `given` came to be.
    """

    KINDS = [(POINTS, _("points")), (GROWTH, _("growth"))]
    ORDER, SIGNIN, STREAK, REVIEW, PROFILE, STAFF = "order", "signin", "streak", "review", "profile", "adjust"
    TASK = "task"
    SOURCES = [
        (ORDER, _("an order")),
        (SIGNIN, _("daily sign-in")),
        (STREAK, _("days in a row")),
        (REVIEW, _("a review")),
        (PROFILE, _("a complete profile")),
        (TASK, _("a task")),
        (STAFF, _("given by staff")),
    ]

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="earnings", db_index=False, verbose_name=_("member")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=KINDS)
    cause = models.CharField(_("cause"), max_length=60)
    source = models.CharField(_("source"), max_length=8, choices=SOURCES)
    given = models.BigIntegerField(_("given"))
    taken = models.BigIntegerField(_("taken back"), default=0)
    frozen = models.BigIntegerField(_("frozen"), default=0)
    owed = models.BigIntegerField(_("owed"), default=0)
    months = models.PositiveSmallIntegerField(_("expire after (months)"), default=0)
    basis = models.JSONField(_("basis"), default=dict, blank=True)
    earned_at = models.DateTimeField(_("earned at"))
    due_at = models.DateTimeField(_("can be spent from"), null=True, blank=True)

    class Meta:
        verbose_name = _("earning")
        verbose_name_plural = _("earnings")
        constraints = [
            models.UniqueConstraint(fields=["cause", "kind"], name="earned_once_per_cause"),
            models.CheckConstraint(
                condition=Q(given__gt=0, taken__gte=0, taken__lte=F("given"))
                & Q(frozen__gte=0, frozen__lte=F("given") - F("taken"))
                & Q(owed__gte=0, owed__lte=F("taken")),
                name="earning_takes_at_most_what_it_gave",
            ),
            models.CheckConstraint(
                condition=Q(frozen=0) | Q(kind=POINTS, due_at__isnull=False), name="frozen_points_have_a_day"
            ),
        ]
        indexes = [
            models.Index(fields=["member", "kind", "earned_at"], name="earnings_of_member"),
            models.Index(fields=["due_at"], name="earnings_due", condition=Q(frozen__gt=0)),
            models.Index(fields=["member"], name="earnings_owed", condition=Q(owed__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.cause} {self.given}"


class EarningTake(models.Model):
    """A part of an earning that was taken back, once per cause: where it came from. Append-only."""

    earning = models.ForeignKey(
        Earning, models.PROTECT, related_name="takes", db_index=False, verbose_name=_("earning")
    )
    cause = models.CharField(_("cause"), max_length=60)
    from_frozen = models.BigIntegerField(_("from frozen points"), default=0)
    from_balance = models.BigIntegerField(_("from the balance"), default=0)
    left_owed = models.BigIntegerField(_("left owed"), default=0)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("points taken back")
        verbose_name_plural = _("points taken back")
        constraints = [
            models.UniqueConstraint(fields=["earning", "cause"], name="taken_back_once_per_cause"),
            models.CheckConstraint(
                condition=Q(from_frozen__gte=0, from_balance__gte=0, left_owed__gte=0),
                name="taken_back_never_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.earning_id} {self.cause}"


class SignIn(models.Model):
    """A member signed in on a day of the shop's calendar; `streak` counts the days in a row, this one included."""

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="sign_ins", db_index=False, verbose_name=_("member")
    )
    day = models.DateField(_("day"))
    streak = models.PositiveIntegerField(_("days in a row"), default=1)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("sign-in")
        verbose_name_plural = _("sign-ins")
        constraints = [
            models.UniqueConstraint(fields=["member", "day"], name="signs_in_once_a_day"),
            models.CheckConstraint(condition=Q(streak__gte=1), name="a_streak_has_a_day"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.day}"


class PointsAdjustment(models.Model):
    """Points or growth that staff gave (positive) or took (negative), with the reason that the member reads."""

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="points_adjustments", verbose_name=_("member")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Earning.KINDS, default=POINTS)
    amount = models.BigIntegerField(_("amount"), help_text=_("Negative: taken away."))
    reason = models.CharField(_("reason"), max_length=120)
    actor = models.CharField(_("by"), max_length=80, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    at = models.DateTimeField(_("at"))
    idempotency_key = models.CharField(max_length=64, unique=True, editable=False)

    class Meta:
        verbose_name = _("adjustment of points")
        verbose_name_plural = _("adjustments of points")
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0) & ~Q(reason=""), name="adjustment_has_a_reason")
        ]

    def __str__(self) -> str:
        return f"{self.amount:+d} {self.reason}"
