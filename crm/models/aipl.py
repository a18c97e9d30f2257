"""How near members are to the brand (AIPL): what the four steps mean, who is in which, and how many moved."""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from crm.models.lifecycle import LifeMove
from crm.models.people import Member
from crm.models.timeline import Activity

AWARE, INTERESTED, BOUGHT, LOYAL = "aware", "interested", "bought", "loyal"
STEPS = [
    (AWARE, pgettext_lazy("nearness", "aware")),
    (INTERESTED, pgettext_lazy("nearness", "interested")),
    (BOUGHT, pgettext_lazy("nearness", "bought")),
    (LOYAL, pgettext_lazy("nearness", "loyal")),
]

_KINDS = dict(Activity.KINDS)
INTERESTS: list[tuple[str, Any]] = [
    (kind, _KINDS[kind])
    for kind in (
        *(Activity.VISITED, Activity.VIEWED_PRODUCT, Activity.ADDED_TO_CART, Activity.MESSAGE, Activity.MENU),
        *(
            Activity.SCANNED,
            Activity.JOINED_GROUP,
            Activity.CONTACT_ADDED,
            Activity.OPENED,
            Activity.SUBSCRIBED,
        ),
    )
]
"""What a member does that may count as interest; purchases are the next step."""


def default_interests() -> list[str]:
    return [kind for kind, _label in INTERESTS if kind != Activity.SCANNED]


class AiplDefinition(models.Model):
    """One version of what the steps mean. The newest is in force; none is changed by people.

    Windows are days of the shop, today included. `counted_on`: when everybody was last judged by it; NULL until then.
    """

    interest_kinds = ArrayField(
        models.CharField(max_length=16), verbose_name=_("what shows interest"), default=default_interests
    )
    interest_facts = models.PositiveSmallIntegerField(_("times"), default=2)
    interest_days = models.PositiveSmallIntegerField(_("in so many days"), default=30)
    bought_days = models.PositiveSmallIntegerField(_("bought in the last days"), default=365)
    loyal_purchases = models.PositiveSmallIntegerField(_("loyal from so many purchases"), default=2)
    loyal_days = models.PositiveSmallIntegerField(_("in the last days"), default=365)
    loyal_fen = models.BigIntegerField(_("and paid at least"), default=0)
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
    counted_on = models.DateField(_("counted on"), null=True, editable=False)

    class Meta:
        verbose_name = _("AIPL definition")
        verbose_name_plural = _("AIPL")
        constraints = [
            models.CheckConstraint(
                condition=Q(interest_facts__range=(1, 100), interest_days__range=(1, 730))
                & Q(bought_days__range=(1, 3650), loyal_days__range=(1, 3650))
                & Q(loyal_purchases__range=(2, 100), loyal_fen__gte=0),
                name="aipl_windows_are_sensible",
            )
        ]

    def __str__(self) -> str:
        return f"v{self.pk}"


class MemberAipl(models.Model):
    """One row per living member: her step, and the day on which time alone may change it.

    `seen_*` are her figures when she was judged: she is judged again when they differ. No key to the member in the
    database, as in MemberLife.
    """

    member = models.OneToOneField(
        Member,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="aipl",
        verbose_name=_("member"),
    )
    step = models.CharField(_("step"), max_length=10, choices=STEPS)
    since = models.DateField(_("since"))
    due_on = models.DateField(_("judged again on"), null=True)
    seen_orders = models.IntegerField()
    seen_refunded_fen = models.BigIntegerField()
    seen_visits = models.IntegerField()
    seen_active_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("member's AIPL step")
        verbose_name_plural = _("members' AIPL steps")
        indexes = [models.Index(fields=["step"], name="aipl_by_step")]

    def __str__(self) -> str:
        return f"{self.member_id} {self.step}"


class AiplMove(models.Model):
    """How many members went from one step to another on a day: the transition matrix. "" is outside."""

    day = models.DateField(_("day"))
    cause = models.CharField(_("cause"), max_length=5, choices=LifeMove.CAUSES)
    from_step = models.CharField(_("from"), max_length=10, choices=STEPS, blank=True)
    to_step = models.CharField(_("to"), max_length=10, choices=STEPS, blank=True)
    members_count = models.PositiveIntegerField(_("members"))

    class Meta:
        verbose_name = _("move between AIPL steps")
        verbose_name_plural = _("moves between AIPL steps")
        constraints = [
            models.UniqueConstraint(
                fields=["day", "cause", "from_step", "to_step"], name="aipl_move_counted_once"
            ),
            models.CheckConstraint(condition=~Q(from_step=F("to_step")), name="aipl_move_leads_elsewhere"),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.from_step}→{self.to_step}"
