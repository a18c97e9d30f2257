"""Where members stand in their life as customers: what the stages mean, who is in which, and how many moved."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from crm.models.people import Member

NEW, ACTIVE, COOLING, DORMANT, LOST = "new", "active", "cooling", "dormant", "lost"
STAGES = [
    (NEW, pgettext_lazy("lifecycle stage", "new")),
    (ACTIVE, pgettext_lazy("lifecycle stage", "active")),
    (COOLING, pgettext_lazy("lifecycle stage", "cooling")),
    (DORMANT, pgettext_lazy("lifecycle stage", "dormant")),
    (LOST, pgettext_lazy("lifecycle stage", "lost")),
]

# Five bands of recency, frequency and amount: A. M. Hughes (1994), "Strategic Database Marketing". The eight cells as
# Chinese retail names them: is her recency, frequency, amount high (4 or 5)?
CELLS: dict[str, tuple[tuple[bool, bool, bool], Any]] = {
    "key_valued": ((True, True, True), _("key, valued")),
    "key_growing": ((True, False, True), _("key, to be developed")),
    "key_fading": ((False, True, True), _("key, to be kept")),
    "key_leaving": ((False, False, True), _("key, to be won back")),
    "valued": ((True, True, False), _("general, valued")),
    "growing": ((True, False, False), _("general, to be developed")),
    "fading": ((False, True, False), _("general, to be kept")),
    "leaving": ((False, False, False), _("general, to be won back")),
}
HIGH = 4


def rfm_cell(rfm: int) -> str:
    """545 → "key_valued"."""
    digits = tuple(int(digit) >= HIGH for digit in f"{rfm:03d}")
    return next(word for word, (highs, _label) in CELLS.items() if highs == digits)


def cell_scores(cells: Iterable[str]) -> list[int]:
    """The scores (111 to 555) that belong to these cells."""
    wanted = set(cells)
    scores = (r * 100 + f * 10 + m for r in range(1, 6) for f in range(1, 6) for m in range(1, 6))
    return [score for score in scores if rfm_cell(score) in wanted]


def default_days() -> list[int]:
    return [30, 60, 120, 240]


def default_purchases() -> list[int]:
    return [1, 2, 4, 8]


def default_spend() -> list[int]:
    return [100_00, 300_00, 1_000_00, 3_000_00]


class LifeDefinition(models.Model):
    """One version of what the stages and the bands of RFM mean. The newest is in force; none is changed by people.

    Each member has a vigour from 0 to 10,000 bps (see `crm.alive.vigour`); the stage is the band that it falls into.
    The bands of RFM end where the next begins: a value equal to an end is still inside. With quantiles the ends are
    counted anew each night and written here.
    """

    FIXED, QUANTILES = "fixed", "quantiles"
    METHODS = [(QUANTILES, _("five equal parts of the members")), (FIXED, _("fixed ends"))]

    cooling_below_bps = models.PositiveSmallIntegerField(_("cooling below"), default=7_000)
    dormant_below_bps = models.PositiveSmallIntegerField(_("dormant below"), default=4_000)
    lost_below_bps = models.PositiveSmallIntegerField(_("lost below"), default=1_500)
    bands = models.CharField(_("bands of RFM"), max_length=10, choices=METHODS, default=QUANTILES)
    days_ends = ArrayField(models.IntegerField(), verbose_name=_("days since"), size=4, default=default_days)
    purchases_ends = ArrayField(
        models.IntegerField(), verbose_name=_("purchases"), size=4, default=default_purchases
    )
    spend_ends_fen = ArrayField(
        models.BigIntegerField(), verbose_name=_("amount"), size=4, default=default_spend
    )
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created at"), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
    )

    class Meta:
        verbose_name = _("lifecycle definition")
        verbose_name_plural = _("lifecycle")
        constraints = [
            models.CheckConstraint(
                condition=Q(lost_below_bps__lt=F("dormant_below_bps"))
                & Q(dormant_below_bps__lt=F("cooling_below_bps"))
                & Q(cooling_below_bps__lte=10_000)
                & Q(lost_below_bps__gte=1),
                name="life_stages_descend",
            )
        ]

    def __str__(self) -> str:
        return f"v{self.pk}"


class LifeFit(models.Model):
    """One fit of the models to the brand's own purchases. Times in days, `v` in fen.

    `calibration`: [{frequency, members, predicted, actual}]: mean purchases in the holdout per member, by the repeat
    purchases before it (7 stands for 7 and more); empty when the history is too short to hold anything out.
    """

    as_of = models.DateField(_("as of"))
    fitted_at = models.DateTimeField(_("fitted at"))
    r = models.FloatField()
    alpha = models.FloatField()
    a = models.FloatField()
    b = models.FloatField()
    log_likelihood = models.FloatField()
    p = models.FloatField(null=True)
    q = models.FloatField(null=True)
    v = models.FloatField(null=True)
    converged = models.BooleanField()
    members_count = models.PositiveIntegerField(_("buyers"))
    repeaters_count = models.PositiveIntegerField(_("bought again"))
    holdout_days = models.PositiveSmallIntegerField(_("days held out"), default=0)
    calibration = models.JSONField(_("calibration"), default=list)
    # Nights after the fit go by it until everybody is judged again (`crm.services.lifecycle`).
    definition = models.ForeignKey(
        LifeDefinition, models.SET_NULL, null=True, related_name="+", verbose_name=_("lifecycle definition")
    )
    counted_on = models.DateField(_("counted on"), null=True)

    class Meta:
        verbose_name = _("lifecycle fit")
        verbose_name_plural = _("lifecycle fits")

    def __str__(self) -> str:
        return f"{self.as_of}"


class MemberLife(models.Model):
    """One row per member who bought. Computed from the timeline as a whole, never edited.

    A purchase is a calendar day of the shop on which something was paid that was not refunded in full; `frequency`
    counts those after the first. A row is rewritten when it says something new; `scored_on` is the day of that,
    `due_on` the next one without her doing anything, by the same fit (None: not before everybody is judged again).
    `seen_*` are her figures when her purchases were read: they are read again when those differ.
    No key to the member in the database: the nightly run would wait for who is being merged, and she for it.
    """

    member = models.OneToOneField(
        Member,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="life",
        verbose_name=_("member"),
    )
    frequency = models.PositiveIntegerField(_("repeat purchases"))
    first_day = models.DateField(_("first purchase"))
    last_day = models.DateField(_("last purchase"))
    spent_fen = models.BigIntegerField(_("paid and kept"))
    repeat_fen = models.BigIntegerField(_("paid on repeat days"))
    chance_bps = models.PositiveSmallIntegerField(_("chance alive"))
    vigour_bps = models.PositiveSmallIntegerField(_("vigour"))
    orders_milli = models.PositiveIntegerField(_("thousandths of purchases expected in 90 days"))
    value_fen = models.BigIntegerField(_("expected in 90 days"), null=True)
    rfm = models.PositiveSmallIntegerField(_("RFM"))
    stage = models.CharField(_("stage"), max_length=8, choices=STAGES)
    since = models.DateField(_("in this stage since"))
    scored_on = models.DateField(_("scored on"))
    due_on = models.DateField(_("judged again on"), null=True, editable=False)
    seen_orders = models.IntegerField(default=0, db_default=0, editable=False)
    seen_paid_fen = models.BigIntegerField(default=0, db_default=0, editable=False)
    seen_refunded_fen = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        verbose_name = _("member's lifecycle")
        verbose_name_plural = _("members' lifecycles")
        constraints = [
            models.CheckConstraint(
                condition=Q(first_day__lte=F("last_day"))
                & (Q(frequency=0, first_day=F("last_day")) | Q(frequency__gt=0, first_day__lt=F("last_day"))),
                name="life_days_fit_frequency",
            ),
            models.CheckConstraint(
                condition=Q(chance_bps__lte=10_000) & Q(vigour_bps__lte=10_000),
                name="life_chances_are_shares",
            ),
            models.CheckConstraint(
                condition=Q(repeat_fen__gte=0) & Q(spent_fen__gte=F("repeat_fen")),
                name="life_amounts_never_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["stage"], name="life_by_stage"),
            models.Index(fields=["rfm"], name="life_by_rfm"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.stage}"


class LifeMove(models.Model):
    """How many members went from one stage to another on a day: the transition matrix.

    "" as `from_stage` is a first purchase, as `to_stage` one that is no more (refunded in full, or merged).
    """

    TIME, RULES = "time", "rules"
    CAUSES = [(TIME, _("what members did")), (RULES, _("a new definition"))]

    day = models.DateField(_("day"))
    cause = models.CharField(_("cause"), max_length=5, choices=CAUSES)
    from_stage = models.CharField(_("from"), max_length=8, choices=STAGES, blank=True)
    to_stage = models.CharField(_("to"), max_length=8, choices=STAGES, blank=True)
    members_count = models.PositiveIntegerField(_("members"))

    class Meta:
        verbose_name = _("move between stages")
        verbose_name_plural = _("moves between stages")
        constraints = [
            models.UniqueConstraint(
                fields=["day", "cause", "from_stage", "to_stage"], name="life_move_counted_once"
            ),
            models.CheckConstraint(condition=~Q(from_stage=F("to_stage")), name="life_move_leads_elsewhere"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.from_stage}→{self.to_stage}"
