"""A person's say over her data: her requests with their deadline, how long things are kept, who looked at her phone."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Identity, Member


class DataRequest(models.Model):
    """What a member asked for on "my data". Correcting, exporting and withdrawing are done at once and kept here as
    proof; an erasure waits for its day, so that she can take it back.
    """

    CORRECT, EXPORT, WITHDRAW, ERASE = "correct", "export", "withdraw", "erase"
    KINDS = [
        (CORRECT, _("correct")),
        (EXPORT, _("export")),
        (WITHDRAW, _("withdraw a consent")),
        (ERASE, _("erase")),
    ]
    OPEN, DONE, TAKEN_BACK = "open", "done", "taken_back"
    STATES = [(OPEN, _("open")), (DONE, _("done")), (TAKEN_BACK, _("taken back by her"))]

    member = models.ForeignKey(Member, models.PROTECT, related_name="+", verbose_name=_("member"))
    kind = models.CharField(_("asked for"), max_length=8, choices=KINDS)
    state = models.CharField(_("state"), max_length=10, choices=STATES, default=OPEN)
    asked_at = models.DateTimeField(_("asked at"))
    acts_at = models.DateTimeField(_("carried out from"), null=True, blank=True)
    due_at = models.DateTimeField(_("to be answered until"))
    done_at = models.DateTimeField(_("done at"), null=True, blank=True)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("done by"),
    )
    obstacle = models.CharField(_("what stands in the way"), max_length=300, blank=True)
    result = models.JSONField(_("result"), default=dict, blank=True)

    class Meta:
        verbose_name = _("data request")
        verbose_name_plural = _("data requests")
        constraints = [
            models.UniqueConstraint(
                fields=["member"], condition=Q(kind="erase", state="open"), name="one_open_erasure_per_member"
            ),
            models.CheckConstraint(
                condition=Q(state="open", done_at__isnull=True)
                | (~Q(state="open") & Q(done_at__isnull=False)),
                name="answered_request_says_when",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="data_request_open", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} #{self.member_id}"


class RetentionRule(models.Model):
    """How long the rows of one kind are kept. Without a number they stay; the nightly task carries it out."""

    name = models.CharField(_("data"), max_length=40, primary_key=True)
    months = models.PositiveSmallIntegerField(
        _("kept for months"), null=True, blank=True, help_text=_("Empty: for ever. At least 1.")
    )
    removed = models.BigIntegerField(_("removed so far"), default=0)
    ran_at = models.DateTimeField(_("last run"), null=True, blank=True)

    class Meta:
        verbose_name = _("retention rule")
        verbose_name_plural = _("retention rules")
        constraints = [
            models.CheckConstraint(
                condition=Q(months__isnull=True) | Q(months__range=(1, 600)), name="retention_is_sensible"
            )
        ]

    def __str__(self) -> str:
        return self.name


class PhoneLook(models.Model):
    """Somebody was shown a whole phone number. Append-only; `count` numbers on one page are one row."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("who"),
    )
    who = models.CharField(_("as"), max_length=80, help_text=_("The name at that moment, or the API token."))
    member = models.ForeignKey(
        Member, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    subject = models.CharField(_("about"), max_length=80)
    page = models.CharField(_("page"), max_length=200)
    count = models.PositiveIntegerField(_("numbers"), default=1)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("look at a phone number")
        verbose_name_plural = _("looks at phone numbers")
        indexes = [models.Index(fields=["at"], name="phone_look_by_time")]

    def __str__(self) -> str:
        return f"{self.who} {self.subject}"


class AccountMatrix(Identity):
    """The same rows, for the table of who follows which account."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("account matrix")
        verbose_name_plural = _("account matrix")
