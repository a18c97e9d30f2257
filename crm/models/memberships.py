"""Paid membership: what is for sale, and the terms that members bought."""

import pghistory
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _

from core import money
from crm.models.people import Member


@pghistory.track()
class MembershipPlan(models.Model):
    """A tier for so many days at a price. A change counts for who buys after it."""

    name = models.CharField(
        _("name"), max_length=40, help_text=_("Members see it: annual card, for example.")
    )
    tier = models.CharField(_("member tier"), max_length=40)
    price_fen = models.BigIntegerField(_("price (fen)"))
    days = models.PositiveSmallIntegerField(
        _("days"), default=365, help_text=_("To the end of the last day. Who buys again goes on from there.")
    )
    benefits = models.TextField(_("benefits"), max_length=500, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("for sale"), default=True)

    class Meta:
        verbose_name = _("membership plan")
        verbose_name_plural = _("membership plans")
        ordering = ["position", "price_fen", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(price_fen__gte=1, price_fen__lte=10_000_000, days__gte=1, days__lte=3_650)
                & ~Q(tier="")
                & ~Q(name=""),
                name="membership_plan_within_reason",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} · ¥{money.yuan(self.price_fen)}"


class Membership(models.Model):
    """One term that a member bought, as it was sold; `cause` names the payment ("direct:12"), once.

    It counts from `begins_at` until `ends_at`, a midnight; `ended_at`: it was given back before. Terms of one tier
    follow each other. `ran_beside`: it was over when two accounts became one, and had run beside one of the other.
    """

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="memberships", db_index=False, verbose_name=_("member")
    )
    plan = models.ForeignKey(
        MembershipPlan,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="memberships",
        verbose_name=_("membership plan"),
    )
    cause = models.CharField(_("cause"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=40)
    tier = models.CharField(_("member tier"), max_length=40)
    begins_at = models.DateTimeField(_("begins at"))
    ends_at = models.DateTimeField(_("ends at"))
    ended_at = models.DateTimeField(_("given back at"), null=True, blank=True)
    ran_beside = models.BooleanField(_("ran beside another"), default=False, db_default=False, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("begins_at")), name="membership_has_its_days"),
            ExclusionConstraint(
                expressions=[
                    ("member", RangeOperators.EQUAL),
                    ("tier", RangeOperators.EQUAL),
                    (Func("begins_at", "ends_at", function="tstzrange"), RangeOperators.OVERLAPS),
                ],
                condition=Q(ended_at__isnull=True, ran_beside=False),
                name="memberships_of_a_tier_follow_each_other",
            ),
        ]
        indexes = [models.Index(fields=["member", "-ends_at"], name="memberships_of_member")]

    def __str__(self) -> str:
        return f"{self.member_id} {self.name}"
