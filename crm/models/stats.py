"""The narrow table of numbers about members: what segments, filters and rules read."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class MemberStats(models.Model):
    """One row per member, written in the transaction that changes the facts. Amounts in fen.

    `marketing_consent`: the latest answer; NULL means that she was never asked.

    No figure has an index, so that an order rewrites the row where it stands and touches no other page: who has which
    figures is asked of the bitmaps, or of the whole narrow table.
    """

    member = models.OneToOneField(
        Member,
        models.PROTECT,
        primary_key=True,
        db_constraint=False,  # ADR 20: checked by the trigger `rows_have_their_member`
        related_name="stats",
        verbose_name=_("member"),
    )
    orders_count = models.PositiveIntegerField(_("orders"), default=0)
    paid_fen = models.BigIntegerField(_("paid"), default=0)
    refunded_fen = models.BigIntegerField(_("refunded"), default=0)
    first_paid_at = models.DateTimeField(_("first order at"), null=True, blank=True)
    last_paid_at = models.DateTimeField(_("last order at"), null=True, blank=True)
    last_active_at = models.DateTimeField(_("last active at"), null=True, blank=True)
    last_touch_at = models.DateTimeField(_("last touch at"), null=True, blank=True)
    last_visit_at = models.DateTimeField(_("last visit at"), null=True, blank=True)
    visits_count = models.PositiveIntegerField(_("visits"), default=0)
    marketing_consent = models.BooleanField(_("agreed to marketing"), null=True, blank=True)
    consent_at = models.DateTimeField(_("consent answered at"), null=True, blank=True)

    class Meta:
        verbose_name = _("member's figures")
        verbose_name_plural = _("members' figures")
        constraints = [
            models.CheckConstraint(
                condition=Q(paid_fen__gte=0) & Q(refunded_fen__gte=0), name="member_amounts_never_negative"
            )
        ]

    def __str__(self) -> str:
        return f"{self.member_id}"

    @property
    def net_fen(self) -> int:
        return self.paid_fen - self.refunded_fen
