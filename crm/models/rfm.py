"""RFM month by month: the bands of each month's end, who stood in which square, how the groups flowed."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.lifecycle import CELLS, LifeDefinition
from crm.models.people import Member

CELL_CHOICES = [(word, label) for word, (_highs, label) in CELLS.items()]


class RfmMonth(models.Model):
    """RFM as it was when a month ended, with the bands by which it was counted. Never counted again."""

    month = models.DateField(_("month"), unique=True)  # its first day
    counted_at = models.DateTimeField(_("counted at"))
    bands = models.CharField(_("bands of RFM"), max_length=10, choices=LifeDefinition.METHODS)
    days_ends = ArrayField(models.IntegerField(), verbose_name=_("days since"), size=4)
    purchases_ends = ArrayField(models.IntegerField(), verbose_name=_("purchases"), size=4)
    spend_ends_fen = ArrayField(models.BigIntegerField(), verbose_name=_("amount"), size=4)
    members_count = models.PositiveIntegerField(_("members"))

    class Meta:
        verbose_name = _("RFM of a month")
        verbose_name_plural = _("RFM by month")
        constraints = [
            models.CheckConstraint(condition=Q(month__day=1), name="rfm_month_is_its_first_day"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"


class RfmMember(models.Model):
    """A member's score (111 to 555) when a month ended. Kept for two years."""

    member = models.ForeignKey(
        Member,
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="rfm_months",
        verbose_name=_("member"),
    )
    month = models.DateField(_("month"), db_index=True)
    rfm = models.PositiveSmallIntegerField(_("RFM"))

    class Meta:
        verbose_name = _("member's RFM of a month")
        verbose_name_plural = _("members' RFM by month")
        constraints = [
            models.UniqueConstraint(fields=["member", "month"], name="rfm_member_once_a_month"),
            models.CheckConstraint(condition=Q(rfm__range=(111, 555)), name="rfm_score_has_three_digits"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.month:%Y-%m} {self.rfm}"


class RfmFlow(models.Model):
    """How many members were in one group a month before and in another at a month's end, the same one included.

    "" before: she had not bought then; "" after: what she bought is no more (refunded, or merged into another).
    """

    month = models.DateField(_("month"))
    from_cell = models.CharField(_("from"), max_length=12, choices=CELL_CHOICES, blank=True)
    to_cell = models.CharField(_("to"), max_length=12, choices=CELL_CHOICES, blank=True)
    members_count = models.PositiveIntegerField(_("members"))

    class Meta:
        verbose_name = _("flow between RFM groups")
        verbose_name_plural = _("flows between RFM groups")
        constraints = [
            models.UniqueConstraint(fields=["month", "from_cell", "to_cell"], name="rfm_flow_counted_once"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.from_cell}→{self.to_cell}"
