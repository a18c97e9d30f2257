"""What a house wants to know of its members beyond our columns: fields of its own, and their values."""

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track()
class MemberField(models.Model):
    """One field, of one kind for ever; switched off it is neither shown nor asked, and its values stay."""

    TEXT, NUMBER, DATE, CHOICE = "text", "number", "date", "choice"
    KINDS = [(TEXT, _("text")), (NUMBER, _("number")), (DATE, _("date")), (CHOICE, _("choice"))]

    name = models.CharField(_("name"), max_length=30, unique=True)
    kind = models.CharField(_("kind"), max_length=6, choices=KINDS, default=TEXT)
    choices = ArrayField(
        models.CharField(max_length=60),
        verbose_name=_("choices"),
        default=list,
        blank=True,
        help_text=_("Separated by commas; only of a choice."),
    )
    sort = models.PositiveSmallIntegerField(_("position"), default=0)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("member field")
        verbose_name_plural = _("member fields")
        ordering = ["sort", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="choice") & ~Q(choices=[])
                | Q(kind__in=["text", "number", "date"], choices=[]),
                name="only_a_choice_has_choices",
            )
        ]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class MemberFieldValue(models.Model):
    """What is known of one member in one field; exactly one of the columns is filled. No row: nothing is known."""

    member = models.ForeignKey(
        Member, models.PROTECT, db_index=False, related_name="field_values", verbose_name=_("member")
    )
    field = models.ForeignKey(
        MemberField, models.PROTECT, related_name="values", verbose_name=_("member field")
    )
    text = models.CharField(_("text"), max_length=200, null=True, blank=True)
    number = models.DecimalField(_("number"), max_digits=16, decimal_places=4, null=True, blank=True)
    date = models.DateField(_("date"), null=True, blank=True)
    origin = models.CharField(
        _("told by"),
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text=_("guide:3, or empty: staff."),
    )

    class Meta:
        verbose_name = _("value of a member field")
        verbose_name_plural = _("values of member fields")
        constraints = [
            models.UniqueConstraint(fields=["member", "field"], name="member_has_one_value_per_field"),
            models.CheckConstraint(
                condition=Q(text__isnull=False, number__isnull=True, date__isnull=True) & ~Q(text="")
                | Q(text__isnull=True, number__isnull=False, date__isnull=True)
                | Q(text__isnull=True, number__isnull=True, date__isnull=False),
                name="member_field_value_is_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member_id}:{self.field_id}"
