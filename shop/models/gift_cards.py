"""Gift cards: made in batches, handed out as codes, bound to one member, spent like money."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from core.secrets import SecretField


class GiftCardBatch(models.Model):
    """Cards of one value, made together. Their codes can be exported once; then only their hashes are left."""

    name = models.CharField(_("name"), max_length=60)
    value_fen = models.BigIntegerField(_("face value"))
    count = models.PositiveIntegerField(_("number of cards"))
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    idempotency_key = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("created by"),
    )
    created_at = models.DateTimeField(_("created at"))
    exported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("exported by"),
    )
    exported_at = models.DateTimeField(_("exported at"), null=True, blank=True)

    class Meta:
        verbose_name = _("gift card batch")
        verbose_name_plural = _("gift card batches")
        permissions = [("export_giftcardbatch", "Can export the codes of gift cards")]
        constraints = [
            models.CheckConstraint(
                condition=Q(value_fen__gt=0, value_fen__lte=1_000_000), name="gift_card_batch_has_a_value"
            ),
            models.CheckConstraint(
                condition=Q(count__gt=0, count__lte=5_000), name="gift_card_batch_has_a_size"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GiftCard(models.Model):
    """One card. The code is found by its hash (HMAC); its text is kept encrypted until the batch is exported.

    Its value enters the ledger when it is bound: account `gift_card:<id>`, from the house. From then on only its
    member can spend it, in parts, until it expires.
    """

    NEW, BOUND, VOID = "new", "bound", "void"
    STATES = [(NEW, _("not bound yet")), (BOUND, _("bound")), (VOID, _("void"))]

    batch = models.ForeignKey(
        GiftCardBatch, models.PROTECT, related_name="cards", verbose_name=_("gift card batch")
    )
    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    code = SecretField(blank=True, default="", editable=False)
    code_end = models.CharField(_("last digits"), max_length=4)
    value_fen = models.BigIntegerField(_("face value"))
    state = models.CharField(_("state"), max_length=8, choices=STATES, default=NEW)
    member = models.ForeignKey(
        "crm.Member", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    bound_at = models.DateTimeField(_("bound at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)

    class Meta:
        verbose_name = _("gift card")
        verbose_name_plural = _("gift cards")
        constraints = [
            models.CheckConstraint(
                condition=Q(state="bound", member__isnull=False, bound_at__isnull=False)
                | (~Q(state="bound") & Q(member__isnull=True, bound_at__isnull=True)),
                name="gift_card_is_bound_to_a_member",
            ),
            models.CheckConstraint(condition=Q(value_fen__gt=0), name="gift_card_has_a_value"),
        ]
        indexes = [
            models.Index(
                fields=["member", "expires_at"],
                name="gift_cards_of_member",
                condition=Q(member__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"…{self.code_end}"


class GiftCardGuess(models.Model):
    """How many wrong codes a member has typed since `since`: guessing is slowed down to a few an hour."""

    member = models.OneToOneField(
        "crm.Member", models.CASCADE, primary_key=True, related_name="+", verbose_name=_("member")
    )
    since = models.DateTimeField(_("since"))
    wrong = models.PositiveSmallIntegerField(_("wrong codes"), default=0)

    class Meta:
        verbose_name = _("gift card guesses")
        verbose_name_plural = _("gift card guesses")
        constraints = [models.CheckConstraint(condition=Q(wrong__lte=5), name="gift_card_guesses_are_few")]

    def __str__(self) -> str:
        return f"{self.member_id}: {self.wrong}"
