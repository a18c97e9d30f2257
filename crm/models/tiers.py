"""Member tiers: the levels and what reaches them, where each member stands, how she got there.

`Member.tier` is the word that prices read; only it decides what she pays.
"""

import pghistory
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track()
class TierPolicy(models.Model):
    """By which value members rise, and how long a tier is kept. One row, or none while tiers are given by hand only."""

    GROWTH, SPEND = "growth", "spend"
    BASES = [(GROWTH, _("growth value")), (SPEND, _("spend, less refunds"))]

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    is_active = models.BooleanField(_("switched on"), default=True)
    basis = models.CharField(_("tiers go by"), max_length=6, choices=BASES, default=GROWTH)
    window_days = models.PositiveSmallIntegerField(
        _("of the last (days)"), default=365, help_text=_("0: of all time.")
    )
    keep_days = models.PositiveSmallIntegerField(
        _("a tier is kept for (days)"),
        default=365,
        help_text=_(
            "After that she keeps it when she still reaches it, else she goes to the tier she reaches."
        ),
    )

    class Meta:
        verbose_name = _("tier policy")
        verbose_name_plural = _("tier policy")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="there_is_one_tier_policy"),
            models.CheckConstraint(
                condition=Q(window_days__lte=3_650, keep_days__gte=1, keep_days__lte=3_650),
                name="tier_policy_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return str(_("tier policy"))


@pghistory.track()
class TierRule(models.Model):
    """One level. `threshold` is growth value, or fen when the policy goes by spend; higher tiers need more."""

    name = models.CharField(_("member tier"), max_length=40, unique=True)
    threshold = models.BigIntegerField(_("begins at"), unique=True)
    points_bps = models.PositiveIntegerField(
        _("points multiplier (per ten thousand)"),
        default=10_000,
        help_text=_("15,000: one and a half times."),
    )
    benefits = models.TextField(_("benefits"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("tier")
        verbose_name_plural = _("tiers")
        ordering = ["threshold"]
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold__gte=0, points_bps__lte=100_000) & ~Q(name=""),
                name="tier_rule_within_reason",
            )
        ]

    def __str__(self) -> str:
        return self.name


class MemberTier(models.Model):
    """Where the rules have put a member; `protected_until` is the end of a day, before which she does not fall.

    `paid_tier`: what a paid membership gives her until `paid_until`; she carries the higher one of both.
    """

    member = models.OneToOneField(
        Member, models.PROTECT, primary_key=True, related_name="standing", verbose_name=_("member")
    )
    tier = models.CharField(_("member tier"), max_length=40, blank=True)
    since = models.DateTimeField(_("since"))
    protected_until = models.DateTimeField(_("protected until"))
    paid_tier = models.CharField(
        _("tier by paid membership"), max_length=40, blank=True, default="", db_default=""
    )
    paid_until = models.DateTimeField(_("paid until"), null=True, blank=True)

    class Meta:
        verbose_name = _("member's tier")
        verbose_name_plural = _("members' tiers")
        indexes = [
            models.Index(fields=["protected_until"], name="member_tier_due"),
            models.Index(
                fields=["paid_until"], name="member_tier_paid_due", condition=Q(paid_until__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.tier}"


class TierChange(models.Model):
    """A member's tier changed. Append-only; `value` is what she had reached then."""

    UP, DOWN, RULES, MERGED, PAID, ENDED = "up", "down", "rules", "merged", "paid", "ended"
    REASONS = [
        (UP, _("reached")),
        (DOWN, _("not reached again")),
        (RULES, _("the rules changed")),
        (MERGED, _("put together with another account")),
        (PAID, _("paid membership")),
        (ENDED, _("paid membership ended")),
    ]

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="tier_changes", db_index=False, verbose_name=_("member")
    )
    old = models.CharField(_("old tier"), max_length=40, blank=True)
    new = models.CharField(_("new tier"), max_length=40, blank=True)
    reason = models.CharField(_("reason"), max_length=6, choices=REASONS)
    value = models.BigIntegerField(_("value"))
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("tier change")
        verbose_name_plural = _("tier changes")
        constraints = [
            models.CheckConstraint(condition=~Q(old=models.F("new")), name="tier_change_changes_the_tier")
        ]
        indexes = [models.Index(fields=["member", "-at"], name="tier_changes_of_member")]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"
