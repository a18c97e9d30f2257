"""Events and their deliveries, jobs, the ledger, API tokens."""

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class DomainEvent(models.Model):
    """Something that happened, written with the change itself. Append-only."""

    name = models.CharField(_("event"), max_length=80)
    key = models.CharField(_("about"), max_length=80, blank=True)
    payload = models.JSONField(_("payload"))
    occurred_at = models.DateTimeField(_("occurred at"))

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [models.Index(fields=["key"], name="domain_event_by_key", condition=~Q(key=""))]

    def __str__(self) -> str:
        return f"{self.name} {self.key}".strip()


class EventDelivery(models.Model):
    """One handler's copy of an event: the row is the queue."""

    PENDING, DONE, DEAD = "pending", "done", "dead"
    STATUSES = [(PENDING, _("pending")), (DONE, _("done")), (DEAD, _("given up"))]

    event = models.ForeignKey(
        DomainEvent, models.CASCADE, related_name="deliveries", verbose_name=_("event"), db_index=False
    )
    handler = models.CharField(_("handler"), max_length=160)
    queue = models.CharField(_("queue"), max_length=20)
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"))
    last_error = models.TextField(_("last error"), blank=True)
    done_at = models.DateTimeField(_("done at"), null=True)

    class Meta:
        verbose_name = _("event delivery")
        verbose_name_plural = _("event deliveries")
        constraints = [
            models.UniqueConstraint(fields=["event", "handler"], name="event_reaches_a_handler_once")
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at", "id"], name="event_delivery_due", condition=Q(status="pending")
            ),
            models.Index(fields=["id"], name="event_delivery_dead", condition=Q(status="dead")),
        ]

    def __str__(self) -> str:
        return f"{self.event} → {self.handler}"


class Job(models.Model):
    """Long work that people wait for: an import, an export. Claimed by lease, resumed from its checkpoint."""

    QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
    STATUSES = [
        (QUEUED, _("queued")),
        (RUNNING, _("running")),
        (DONE, _("done")),
        (FAILED, _("failed")),
        (CANCELLED, _("cancelled")),
    ]

    kind = models.CharField(_("kind"), max_length=60)
    params = models.JSONField(_("parameters"), default=dict, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=STATUSES, default=QUEUED)
    total = models.BigIntegerField(_("steps in total"), null=True, blank=True)
    done = models.BigIntegerField(_("steps done"), default=0)
    checkpoint = models.JSONField(_("checkpoint"), default=dict, blank=True)
    result = models.JSONField(_("result"), default=dict, blank=True)
    error = models.TextField(_("error"), blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    lease_until = models.DateTimeField(_("claimed until"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, verbose_name=_("created by")
    )

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        indexes = [
            models.Index(
                fields=["lease_until"], name="job_open", condition=Q(status__in=["queued", "running"])
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk}"

    @property
    def percent(self) -> int:
        """0 to 100; 100 only when everything is done."""
        if self.status == self.DONE:
            return 100
        return min(99, self.done * 100 // self.total) if self.total else 0


class LedgerAccount(models.Model):
    """One holder's balance of one kind ("points", "stored_value"); units are the kind's (points, fen).

    Customer accounts carry a checked balance. System accounts (owner_id 0) are sums: a stored balance on them would
    be a hot row.
    """

    kind = models.CharField(_("kind"), max_length=40)
    owner_id = models.BigIntegerField(_("owner"), help_text=_("0: the house itself"))
    balance = models.BigIntegerField(_("balance"), default=0)
    held = models.BigIntegerField(_("held"), default=0)

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "owner_id"], name="one_ledger_account_per_kind_and_owner"
            ),
            models.CheckConstraint(condition=Q(balance__gte=0), name="ledger_account_never_negative"),
            models.CheckConstraint(
                condition=Q(held__gte=0) & Q(held__lte=F("balance")),
                name="ledger_account_holds_only_what_it_has",
            ),
            models.CheckConstraint(
                condition=Q(owner_id__gt=0) | Q(balance=0, held=0),
                name="system_ledger_account_keeps_no_balance",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}:{self.owner_id}"

    @property
    def is_system(self) -> bool:
        return self.owner_id == 0


class LedgerTransfer(models.Model):
    """One amount from one account to another, once. Append-only: a mistake is put right by a reverse transfer."""

    cause = models.CharField(_("cause"), max_length=120)
    # ADR 22: checked by the trigger `transfers_have_their_accounts`
    debit = models.ForeignKey(
        LedgerAccount, models.PROTECT, db_constraint=False, related_name="debits", verbose_name=_("from")
    )
    credit = models.ForeignKey(
        LedgerAccount, models.PROTECT, db_constraint=False, related_name="credits", verbose_name=_("to")
    )
    amount = models.BigIntegerField(_("amount"))
    reverses = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="reversals",
        db_index=False,
        verbose_name=_("reverses"),
    )
    posted_at = models.DateTimeField(_("posted at"))

    class Meta:
        verbose_name = _("ledger transfer")
        verbose_name_plural = _("ledger transfers")
        constraints = [
            # Found by the whole cause and by how it begins, in one index.
            models.UniqueConstraint(
                fields=["cause"],
                opclasses=["varchar_pattern_ops"],
                name="ledger_transfer_happens_once_per_cause",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="ledger_transfer_is_positive"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="ledger_transfer_moves_between_two"),
        ]
        indexes = [
            models.Index(
                fields=["reverses"], name="ledger_transfer_reversals", condition=Q(reverses__isnull=False)
            ),
            # Rows are written in order of time: who moved lately is read from the end, and writing pays nothing for it.
            BrinIndex(
                fields=["posted_at"], name="ledger_transfer_by_time", pages_per_range=32, autosummarize=True
            ),
        ]

    def __str__(self) -> str:
        return self.cause


class LedgerHold(models.Model):
    """A part of a balance set aside for what may be taken back; captured (spent) or released."""

    OPEN, CAPTURED, RELEASED = "open", "captured", "released"
    STATUSES = [(OPEN, _("open")), (CAPTURED, _("captured")), (RELEASED, _("released"))]

    cause = models.CharField(_("cause"), max_length=120)
    account = models.ForeignKey(
        LedgerAccount, models.PROTECT, related_name="holds", verbose_name=_("account")
    )
    amount = models.BigIntegerField(_("amount"))
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=OPEN)
    placed_at = models.DateTimeField(_("placed at"))
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("ledger hold")
        verbose_name_plural = _("ledger holds")
        constraints = [
            models.UniqueConstraint(
                fields=["cause"],
                opclasses=["varchar_pattern_ops"],
                name="ledger_hold_is_placed_once_per_cause",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="ledger_hold_is_positive"),
        ]

    def __str__(self) -> str:
        return self.cause


class LedgerLot(models.Model):
    """What one credit brought and when it expires; spent first-expiring-first."""

    # Looked for by account are the open ones, which have an index.
    account = models.ForeignKey(
        LedgerAccount,
        models.PROTECT,
        db_constraint=False,  # ADR 22: checked by the trigger `lots_are_credits`
        related_name="lots",
        db_index=False,
        verbose_name=_("account"),
    )
    transfer = models.OneToOneField(
        LedgerTransfer,
        models.PROTECT,
        db_constraint=False,  # likewise
        related_name="lot",
        verbose_name=_("credited by"),
    )
    amount = models.BigIntegerField(_("amount"))
    remaining = models.BigIntegerField(_("remaining"))
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)

    class Meta:
        verbose_name = _("ledger lot")
        verbose_name_plural = _("ledger lots")
        constraints = [
            models.CheckConstraint(
                condition=Q(remaining__gte=0) & Q(remaining__lte=F("amount")),
                name="ledger_lot_remains_within_amount",
            )
        ]
        indexes = [
            models.Index(
                fields=["account", "expires_at", "id"], name="ledger_lot_open", condition=Q(remaining__gt=0)
            ),
            models.Index(fields=["expires_at"], name="ledger_lot_expiring", condition=Q(remaining__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.remaining}/{self.amount}"


class LedgerLotUse(models.Model):
    """How much of a lot a spending transfer took, so that a refund can put it back where it came from.

    A reverse transfer that puts back has a negative amount here.
    """

    # ADR 22: checked by the trigger `uses_have_their_lot`
    lot = models.ForeignKey(
        LedgerLot, models.PROTECT, db_constraint=False, related_name="uses", verbose_name=_("lot")
    )
    transfer = models.ForeignKey(
        LedgerTransfer,
        models.PROTECT,
        db_constraint=False,
        related_name="lot_uses",
        verbose_name=_("spent by"),
    )
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("lot use")
        verbose_name_plural = _("lot uses")
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="ledger_lot_use_is_not_empty")]

    def __str__(self) -> str:
        return f"{self.lot} -{self.amount}"


class ApiToken(models.Model):
    """A key of an integrator. Only its hash is kept; the key is shown once, when it is made."""

    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(_("scopes"), default=list)
    created_at = models.DateTimeField(_("created at"), editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, verbose_name=_("created by")
    )

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ApiCall(models.Model):
    """The answer to a write with an Idempotency-Key, replayed when the same call comes again. Kept 7 days."""

    token = models.ForeignKey(ApiToken, models.CASCADE)
    key = models.CharField(max_length=80)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    # Whole phone numbers in the answer: whoever gets it again is seen again.
    whole_phones = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="api_call_happens_once_per_key")]

    def __str__(self) -> str:
        return f"{self.token_id}:{self.key}"
