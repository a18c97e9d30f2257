"""Two rows that are one person: what was merged and what moved with it, and which pairs somebody should look at."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class MemberMerge(models.Model):
    """One merge: who became whom, why, and what is needed to undo it. Rows are kept as the log of the house.

    `figures`: the merged member's counts at that moment. `filled`: the kept member's fields that the merge changed,
    as {field: [before, after]}. `tombstones`: earlier merged members that were pointed at the kept one. `rest`: what
    an undo could not bring back, by kind of balance. `standing`: tier, since and protection of the kept member before.
    """

    UNIONID, PHONE, OPERATOR, PROPOSAL = "unionid", "phone", "operator", "proposal"
    REASONS = [
        (UNIONID, _("the same unionid")),
        (PHONE, _("the same confirmed phone")),
        (OPERATOR, _("merged by staff")),
        (PROPOSAL, _("a proposal that staff accepted")),
    ]

    kept = models.ForeignKey(Member, models.PROTECT, related_name="+", verbose_name=_("kept member"))
    merged = models.ForeignKey(Member, models.PROTECT, related_name="+", verbose_name=_("merged member"))
    reason = models.CharField(_("reason"), max_length=12, choices=REASONS)
    merged_at = models.DateTimeField(_("merged at"))
    merged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("merged by"),
    )
    figures = models.JSONField(_("figures"), default=dict, blank=True)
    filled = models.JSONField(_("filled fields"), default=dict, blank=True)
    standing = models.JSONField(_("tier before"), default=dict, blank=True)
    tombstones = models.JSONField(_("earlier tombstones"), default=list, blank=True)
    undone_at = models.DateTimeField(_("undone at"), null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("undone by"),
    )
    rest = models.JSONField(_("not brought back"), default=dict, blank=True)
    is_sealed = models.BooleanField(
        _("cannot be undone any more"),
        default=False,
        db_default=False,
        help_text=_("Her data was erased or the time is over: what moved is no longer kept."),
    )

    class Meta:
        verbose_name = _("member merge")
        verbose_name_plural = _("member merges")
        constraints = [
            models.UniqueConstraint(
                fields=["merged"], condition=Q(undone_at__isnull=True), name="member_is_merged_once_at_a_time"
            ),
            models.CheckConstraint(condition=~Q(kept=F("merged")), name="merge_is_of_two_members"),
        ]
        indexes = [models.Index(fields=["merged_at"], name="merge_by_time")]

    def __str__(self) -> str:
        return f"#{self.merged_id} → #{self.kept_id}"


class MergeMove(models.Model):
    """What one room moved for one merge, so that an undo brings back exactly that.

    `moved`: table → keys of the rows that changed their owner. `gone`: [table, row] of rows that the merge deleted,
    because both had the same. `changed`: [table, key, column, before, after] of what else the move changed.
    """

    merge = models.ForeignKey(
        MemberMerge, models.CASCADE, related_name="moves", verbose_name=_("member merge")
    )
    room = models.CharField(_("room"), max_length=20)
    moved = models.JSONField(_("moved rows"), default=dict)
    gone = models.JSONField(_("rows that both had"), default=list)
    changed = models.JSONField(_("changed values"), default=list)
    returned_at = models.DateTimeField(_("brought back at"), null=True, blank=True)

    class Meta:
        verbose_name = _("moved rows")
        verbose_name_plural = _("moved rows")

    def __str__(self) -> str:
        return f"{self.merge_id} {self.room}"

    @property
    def count(self) -> int:
        return sum(len(keys) for keys in self.moved.values())


class MergeProposal(models.Model):
    """Weak evidence that two members are one person: an operator decides, the system never does.

    The pair is ordered (`elder` has the lower number) and proposed once: what was dismissed stays dismissed.
    """

    TYPED_PHONE, SAME_PHONE, SAME_NUMBER = "typed_phone", "same_phone", "same_number"
    UNDONE = "undone"
    KINDS = [
        (TYPED_PHONE, _("typed the phone that the other confirmed")),
        (SAME_PHONE, _("typed the same phone under the same name")),
        (SAME_NUMBER, _("the same number and name in two imports")),
        (UNDONE, _("the platform says one person, but a merge was undone")),
    ]
    OPEN, MERGED, DISMISSED = "open", "merged", "dismissed"
    STATES = [(OPEN, _("to be decided")), (MERGED, _("merged")), (DISMISSED, _("two persons"))]

    elder = models.ForeignKey(Member, models.PROTECT, related_name="+", verbose_name=_("member"))
    younger = models.ForeignKey(Member, models.PROTECT, related_name="+", verbose_name=_("other member"))
    kind = models.CharField(_("evidence"), max_length=12, choices=KINDS)
    confidence_bps = models.PositiveSmallIntegerField(_("confidence"), help_text=_("10,000 is certain."))
    state = models.CharField(_("state"), max_length=9, choices=STATES, default=OPEN)
    found_at = models.DateTimeField(_("found at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
    )

    class Meta:
        verbose_name = _("merge proposal")
        verbose_name_plural = _("merge proposals")
        constraints = [
            models.UniqueConstraint(fields=["elder", "younger"], name="pair_is_proposed_once"),
            models.CheckConstraint(condition=Q(elder__lt=F("younger")), name="proposed_pair_is_ordered"),
            models.CheckConstraint(
                condition=Q(confidence_bps__lte=10_000), name="proposal_is_at_most_certain"
            ),
            models.CheckConstraint(
                condition=Q(state="open", decided_at__isnull=True)
                | (~Q(state="open") & Q(decided_at__isnull=False)),
                name="decided_proposal_says_when",
            ),
        ]
        indexes = [
            models.Index(fields=["-confidence_bps"], name="proposal_open", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"#{self.elder_id} = #{self.younger_id}?"
