"""Segments: named groups of members described by rules; the live ones store who is in them."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track(exclude=["members_count", "counted_at", "refreshed_at", "filled_at"])
class Segment(models.Model):
    """`rules` is the tree that `crm.segments` documents and checks.

    A live segment's members are stored (SegmentMember) as of `refreshed_at`; `filled_at` is when all of them were
    last compared, NULL while the first filling after a change of rules is due. Any other is computed when needed.
    """

    name = models.CharField(_("name"), max_length=60, unique=True)
    note = models.CharField(_("note"), max_length=200, blank=True)
    rules = models.JSONField(_("rules"), default=dict)
    is_live = models.BooleanField(
        _("live"),
        default=False,
        db_default=False,
        help_text=_("Kept up to date every minute; entering and leaving is recorded and starts automations."),
    )
    is_shown_to_guides = models.BooleanField(
        _("shown to guides"),
        default=False,
        db_default=False,
        help_text=_("Guides see which of their members are in it, and why."),
    )
    members_count = models.PositiveIntegerField(_("members"), null=True, editable=False)
    counted_at = models.DateTimeField(_("counted at"), null=True, editable=False)
    refreshed_at = models.DateTimeField(_("refreshed at"), null=True, editable=False)
    filled_at = models.DateTimeField(_("all compared at"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )

    class Meta:
        verbose_name = _("segment")
        verbose_name_plural = _("segments")
        permissions = [("export_segment", _("Can export the members of segments"))]
        indexes = [models.Index(fields=["refreshed_at"], name="segment_live", condition=Q(is_live=True))]

    def __str__(self) -> str:
        return self.name


class SegmentMember(models.Model):
    """She is in this live segment since then. Rows go with `services.delete_segment`.

    Filling a segment writes tens of thousands of rows while somebody waits: there is a key and nothing else. Where one
    member is, is asked of each live segment by the key.
    """

    pk = models.CompositePrimaryKey("segment_id", "member_id")
    segment = models.ForeignKey(
        Segment, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="stored"
    )
    member = models.ForeignKey(
        Member, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    since = models.DateTimeField(_("since"))

    class Meta:
        verbose_name = _("member of a segment")
        verbose_name_plural = _("members of segments")

    def __str__(self) -> str:
        return f"{self.segment_id}:{self.member_id}"


class SegmentChange(models.Model):
    """She entered or left a live segment because her facts or the day changed. Kept for 90 days."""

    segment = models.ForeignKey(Segment, models.DO_NOTHING, db_index=False, related_name="changes")
    member = models.ForeignKey(
        Member, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    is_entry = models.BooleanField(_("entered"))
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("change of a segment")
        verbose_name_plural = _("changes of segments")
        indexes = [
            models.Index(fields=["segment", "-id"], name="segment_changes_latest"),
            models.Index(fields=["at"], name="segment_changes_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.segment_id}:{'+' if self.is_entry else '-'}{self.member_id}"


class SegmentDay(models.Model):
    """How many members a segment had at the last count of a day of the shop, and how many came and went."""

    segment = models.ForeignKey(Segment, models.DO_NOTHING, db_index=False, related_name="days")
    day = models.DateField(_("day"))
    members_count = models.PositiveIntegerField(_("members"))
    entered = models.PositiveIntegerField(_("entered"), default=0, db_default=0)
    left = models.PositiveIntegerField(_("left it"), default=0, db_default=0)

    class Meta:
        verbose_name = _("day of a segment")
        verbose_name_plural = _("days of segments")
        constraints = [models.UniqueConstraint(fields=["segment", "day"], name="segment_day_once")]

    def __str__(self) -> str:
        return f"{self.segment_id} {self.day}"


@pghistory.track(
    pghistory.InsertEvent(),
    pghistory.DeleteEvent(),
    fields=["name", "note", "members_count", "made_at", "made_by"],
    model_name="SegmentSnapshotEvent",
)
class SegmentSnapshot(models.Model):
    """A frozen list of members: `members` is a roaring bitmap of their ids (portable serialisation).

    Members who were merged since stand under their old id; who reads the list finds the living ones.
    """

    name = models.CharField(_("name"), max_length=80, unique=True)
    note = models.CharField(_("note"), max_length=200, blank=True)
    segment = models.ForeignKey(
        Segment, models.SET_NULL, null=True, related_name="snapshots", verbose_name=_("segment")
    )
    rules = models.JSONField(_("rules"), null=True)
    members = models.BinaryField(_("members"))
    members_count = models.PositiveIntegerField(_("members"))
    made_at = models.DateTimeField(_("frozen at"))
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("by")
    )

    class Meta:
        verbose_name = _("segment snapshot")
        verbose_name_plural = _("segment snapshots")

    def __str__(self) -> str:
        return self.name


@pghistory.track(pghistory.InsertEvent())
class SegmentExport(models.Model):
    """Somebody took a list of members out of the house. Append-only."""

    name = models.CharField(_("what"), max_length=80)
    segment = models.ForeignKey(
        Segment, models.SET_NULL, null=True, related_name="exports", verbose_name=_("segment")
    )
    snapshot = models.ForeignKey(
        SegmentSnapshot,
        models.SET_NULL,
        null=True,
        related_name="exports",
        verbose_name=_("segment snapshot"),
    )
    members_count = models.PositiveIntegerField(_("members"))
    has_whole_phones = models.BooleanField(_("with whole phone numbers"))
    at = models.DateTimeField(_("at"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("by")
    )

    class Meta:
        verbose_name = _("segment export")
        verbose_name_plural = _("segment exports")

    def __str__(self) -> str:
        return f"{self.name} {self.at:%Y-%m-%d}"
