"""Tag rules: who carries a tag because of what she did."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.tags import Tag


@pghistory.track(exclude=["ran_at", "running_until", "members_count", "error"])
class TagRule(models.Model):
    """One tag for the members of one condition, kept true by events and once a day. Its tags say "rule:<id>".

    What the columns mean is the kind's: `days` is the window ("within the last so many days"; of a time rule, the days
    that must have passed), `choice` what an app offers (a code, a category, a sender of links), `words` one or more
    keywords.
    """

    SCAN, SPEND, PURCHASE, LINK = "scan", "spend", "purchase", "link"
    KEYWORD, TIME = "keyword", "time"
    KINDS = [
        (SCAN, _("scanned a code")),
        (SPEND, _("paid an amount")),
        (PURCHASE, _("bought from a category")),
        (LINK, _("opened a link")),
        (KEYWORD, _("wrote a word in the chat")),
        (TIME, _("so long since")),
    ]
    ORDER, ACTIVE, JOINED = "order", "active", "joined"
    MOMENTS = [
        (ORDER, _("the last order")),
        (ACTIVE, _("her last doing")),
        (JOINED, _("she became a member")),
    ]

    name = models.CharField(_("name"), max_length=60)
    tag = models.ForeignKey(Tag, models.PROTECT, related_name="rules", verbose_name=_("tag"))
    kind = models.CharField(_("when a member"), max_length=8, choices=KINDS, default=SPEND)
    amount_fen = models.BigIntegerField(_("at least"), default=0)
    times = models.PositiveIntegerField(_("at least so many times"), default=1)
    choice = models.CharField(_("of"), max_length=60, blank=True)
    words = models.CharField(
        _("words"),
        max_length=300,
        blank=True,
        help_text=_("Several are separated by commas; one of them is enough."),
    )
    moment = models.CharField(_("since"), max_length=8, choices=MOMENTS, default=ORDER)
    days = models.PositiveIntegerField(
        _("days"),
        null=True,
        blank=True,
        help_text=_(
            "Only what happened in the last so many days counts; empty: everything. "
            "Of “so long since”: after how many days."
        ),
    )
    removes = models.BooleanField(
        _("takes it off again"),
        default=False,
        help_text=_("When it is no longer true. Only tags that this rule has put are taken off."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created at"), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("by"),
    )
    # Booked when a run is through, by the moment it began: a run that died is due still.
    ran_at = models.DateTimeField(_("last run over everybody"), null=True, editable=False)
    running_until = models.DateTimeField(_("held by a run until"), null=True, editable=False)
    members_count = models.PositiveIntegerField(_("members"), null=True, editable=False)
    error = models.CharField(_("last error"), max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = _("tag rule")
        verbose_name_plural = _("tag rules")
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="spend", amount_fen__gte=1)
                | Q(kind="purchase") & ~Q(choice="")
                | Q(kind__in=["link", "scan"])
                | Q(kind="keyword") & ~Q(words="")
                | Q(kind="time", days__gte=1),
                name="tag_rule_says_when",
            ),
            models.CheckConstraint(
                condition=Q(amount_fen__gte=0, times__gte=1)
                & (Q(days__isnull=True) | Q(days__gte=1, days__lte=3650)),
                name="tag_rule_numbers_are_sensible",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        return f"rule:{self.pk}"


class TagRuleHit(models.Model):
    """A run under way: who shall get the rule's tag (`puts`) or lose it, and was not reached yet."""

    rule = models.ForeignKey(TagRule, models.CASCADE, db_index=False, related_name="+")
    member_id = models.BigIntegerField()
    puts = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rule", "puts", "member_id"], name="tag_rule_reaches_her_once")
        ]

    def __str__(self) -> str:
        return f"{self.rule_id}:{self.member_id}"
