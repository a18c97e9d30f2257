"""A member says that a number is hers: with a code sent there, or without one where nobody sends codes."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.secrets import SecretField
from crm.models.people import Member

MOST_A_DAY = 5
"""So many claims has a member on a day of the shop, and a number, whoever names it."""

MOST_TRIES = 5


class PhoneClaim(models.Model):
    """One number that a member gave. `digest` is its keyed hash; the number itself is there (encrypted) only while the
    claim is open, the code (encrypted) only until it is sent: the row is the outbox. `code_digest` is the keyed hash of
    the code, empty where none is asked.

    `member_place` and `phone_place` number the claims of a day: the unique keys hold the limits. Rows are kept for two
    days, and stay with the member of their moment when she is merged.
    """

    OPEN, DONE, OVER = "open", "done", "over"
    STATES = [(OPEN, _("waits for the code")), (DONE, _("done")), (OVER, _("over"))]

    member = models.ForeignKey(
        Member, models.PROTECT, related_name="+", db_index=False, verbose_name=_("member")
    )
    digest = models.CharField(_("keyed hash"), max_length=64)
    phone = SecretField(blank=True, default="", editable=False)
    code = SecretField(blank=True, default="", editable=False)
    code_digest = models.CharField(max_length=64, blank=True, editable=False)
    state = models.CharField(_("state"), max_length=4, choices=STATES, default=OPEN)
    day = models.DateField(_("day"))
    member_place = models.PositiveSmallIntegerField()
    phone_place = models.PositiveSmallIntegerField()
    asked_at = models.DateTimeField(_("asked at"))
    expires_at = models.DateTimeField(_("until"))
    tries = models.PositiveSmallIntegerField(_("codes tried"), default=0)
    due_at = models.DateTimeField(_("to be sent at"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("last error"), max_length=80, blank=True)

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("phone claim")
        verbose_name_plural = _("phone claims")
        constraints = [
            models.UniqueConstraint(
                fields=["member", "day", "member_place"], name="phone_claims_of_a_member"
            ),
            models.UniqueConstraint(fields=["digest", "day", "phone_place"], name="phone_claims_of_a_number"),
            models.UniqueConstraint(
                fields=["member"], condition=Q(state="open"), name="one_open_phone_claim_per_member"
            ),
            models.CheckConstraint(
                condition=Q(
                    member_place__range=(1, MOST_A_DAY),
                    phone_place__range=(1, MOST_A_DAY),
                    tries__lte=MOST_TRIES,
                ),
                name="phone_claims_within_their_limits",
            ),
            models.CheckConstraint(
                condition=(Q(state="open") & ~Q(phone="") & ~Q(code_digest=""))
                | (~Q(state="open") & Q(phone="", code="", due_at__isnull=True)),
                name="phone_is_kept_while_its_claim_is_open",
            ),
            models.CheckConstraint(
                condition=Q(due_at__isnull=True, code="") | Q(due_at__isnull=False) & ~Q(code=""),
                name="code_is_kept_until_it_is_sent",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="phone_codes_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["day"], name="phone_claims_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.digest[:8]}…"
