"""What each reading of a platform brought, honestly; and the tags that WeCom and we keep the same."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Contact, Identity
from crm.models.tags import Tag


class SyncRun(models.Model):
    """One reading of one platform. "done" only when everything that was expected was fetched.

    "held": it would end more followings, contacts or groups (`would_end`) than a reading may without a person's word.
    """

    CONTACTS, TAGS, GROUPS = "contacts", "tags", "groups"
    FOLLOWERS, OFFICIAL_TAGS = "followers", "oa_tags"
    KINDS = [
        (CONTACTS, _("WeCom contacts")),
        (TAGS, _("WeCom tags")),
        (GROUPS, _("WeCom groups")),
        (FOLLOWERS, _("followers")),
        (OFFICIAL_TAGS, _("official-account tags")),
    ]
    RUNNING, DONE, PARTIAL, FAILED, HELD = "running", "done", "partial", "failed", "held"
    STATUSES = [
        (RUNNING, _("running")),
        (DONE, _("done")),
        (PARTIAL, _("incomplete")),
        (FAILED, _("failed")),
        (HELD, _("waits for your word")),
    ]

    kind = models.CharField(_("what"), max_length=10, choices=KINDS)
    account = models.ForeignKey("wechat.Account", models.PROTECT, related_name="+", verbose_name=_("account"))
    job = models.OneToOneField(
        "core.Job", models.SET_NULL, null=True, related_name="+", verbose_name=_("job")
    )
    status = models.CharField(_("status"), max_length=8, choices=STATUSES, default=RUNNING)
    expected = models.PositiveIntegerField(_("expected"), null=True)
    fetched = models.PositiveIntegerField(_("fetched"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    cause = models.CharField(_("cause"), max_length=500, blank=True)
    failures = models.JSONField(_("what failed"), default=list)
    would_end = models.PositiveIntegerField(_("would end"), default=0, db_default=0)
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("by")
    )

    class Meta:
        verbose_name = _("platform sync")
        verbose_name_plural = _("platform syncs")
        permissions = [("start_sync", _("Can read from the platforms"))]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="done") | Q(expected__isnull=False, expected=F("fetched"), failed=0),
                name="a_done_sync_fetched_everything",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["failed", "partial", "held"]) | ~Q(cause=""),
                name="a_failed_sync_says_why",
            ),
            models.CheckConstraint(
                condition=Q(status="running", finished_at__isnull=True)
                | ~Q(status="running") & Q(finished_at__isnull=False),
                name="a_sync_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(status="held", would_end__gte=1) | ~Q(status="held") & Q(would_end=0),
                name="a_held_sync_says_how_many",
            ),
        ]
        indexes = [models.Index(fields=["kind", "account", "-id"], name="sync_latest")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} #{self.pk}"


class SyncSeen(models.Model):
    """What a reading that is under way has been told so far: addresses, and whose they are. Empty between readings."""

    run = models.ForeignKey(SyncRun, models.CASCADE, db_index=False, related_name="+")
    value = models.CharField(max_length=128)
    owner = models.CharField(max_length=64, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "value", "owner"], name="seen_once_in_a_sync")]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.value}"


class DueSync(models.Model):
    """Something changed at a platform: this reading is due, once for all the notices that arrive until it begins."""

    kind = models.CharField(_("what"), max_length=10, choices=SyncRun.KINDS)
    account = models.ForeignKey("wechat.Account", models.CASCADE, related_name="+", verbose_name=_("account"))
    due_at = models.DateTimeField(_("due at"))

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "account"], name="a_sync_is_due_once")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.account_id}"


class WorkTag(models.Model):
    """One of our tags is one of a corp's tags (WeCom document 92117: group and tag ids are the corp's)."""

    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("WeCom account")
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="work_tags", verbose_name=_("tag"))
    work_id = models.CharField(_("id in WeCom"), max_length=64)
    group_id = models.CharField(
        _("id of its group in WeCom"), max_length=64, blank=True, db_default="", default=""
    )
    # As both sides last called it: whoever calls it otherwise has renamed it.
    name = models.CharField(_("name there"), max_length=30, blank=True, db_default="", default="")
    group_name = models.CharField(
        _("name of its group there"), max_length=30, blank=True, db_default="", default=""
    )
    # By somebody in WeCom, as its notice told: the tag, and its group.
    edited_at = models.DateTimeField(_("edited in WeCom at"), null=True)
    group_edited_at = models.DateTimeField(_("group edited in WeCom at"), null=True)
    # Empty until everybody who carries it here has a mark that asks for it there.
    aligned_at = models.DateTimeField(_("given to its carriers at"), null=True)

    class Meta:
        verbose_name = _("WeCom tag")
        verbose_name_plural = _("WeCom tags")
        constraints = [
            models.UniqueConstraint(fields=["account", "work_id"], name="work_tag_is_one_of_ours"),
            models.UniqueConstraint(fields=["account", "tag"], name="tag_is_one_work_tag_per_corp"),
        ]

    def __str__(self) -> str:
        return self.work_id


class WorkTagRename(models.Model):
    """A tag, or a group of them, was called otherwise on one side or both; the later name stands. Append-only.

    `was`: as both sides called it before. `error`: why WeCom did not take our name; then it is tried again.
    """

    OURS, THEIRS = "ours", "theirs"
    WINNERS = [(OURS, _("ours")), (THEIRS, _("the platform's"))]

    account = models.ForeignKey(
        "wechat.Account", models.CASCADE, related_name="+", verbose_name=_("WeCom account")
    )
    is_group = models.BooleanField(_("tag group"), default=False)
    was = models.CharField(_("name before"), max_length=30)
    ours = models.CharField(_("our name"), max_length=30)
    theirs = models.CharField(_("name there"), max_length=30)
    winner = models.CharField(_("what stands"), max_length=6, choices=WINNERS)
    error = models.CharField(_("refusal"), max_length=300, blank=True)
    at = models.DateTimeField(_("at"))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("renamed tag")
        verbose_name_plural = _("renamed tags")

    def __str__(self) -> str:
        return f"{self.was} → {self.ours if self.winner == self.OURS else self.theirs}"


class WorkTagMark(models.Model):
    """A tag on one guide's contact: what we want there, and what we last knew of it. The row is the outbox."""

    contact = models.ForeignKey(
        Contact, models.CASCADE, related_name="tag_marks", verbose_name=_("WeCom contact")
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="+", verbose_name=_("tag"))
    wanted = models.BooleanField(_("wanted"))
    known = models.BooleanField(_("last known in WeCom"), null=True)
    changed_at = models.DateTimeField(_("changed at"))
    seen_at = models.DateTimeField(_("last agreed at"), null=True)
    due_at = models.DateTimeField(_("to be sent at"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("last error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("tag in WeCom")
        verbose_name_plural = _("tags in WeCom")
        constraints = [
            models.UniqueConstraint(fields=["contact", "tag"], name="contact_has_a_tag_mark_once"),
        ]
        indexes = [models.Index(fields=["due_at"], name="tag_mark_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.contact_id}:{self.tag_id}"


class WorkTagConflict(models.Model):
    """Both sides changed a tag of one contact of a guide, or of one follower; the later one stands. Append-only."""

    OURS, THEIRS = "ours", "theirs"
    WINNERS = [(OURS, _("ours")), (THEIRS, _("the platform's"))]

    contact = models.ForeignKey(
        Contact, models.CASCADE, null=True, related_name="+", verbose_name=_("WeCom contact")
    )
    identity = models.ForeignKey(
        Identity, models.CASCADE, null=True, related_name="+", verbose_name=_("follower")
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="+", verbose_name=_("tag"))
    ours = models.BooleanField(_("we wanted it"))
    ours_at = models.DateTimeField(_("ours changed at"))
    theirs = models.BooleanField(_("the platform has it"))
    theirs_at = models.DateTimeField(_("theirs changed at"), null=True)
    winner = models.CharField(_("what stands"), max_length=6, choices=WINNERS)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("tag conflict")
        verbose_name_plural = _("tag conflicts")
        constraints = [
            models.CheckConstraint(
                condition=Q(contact__isnull=True, identity__isnull=False)
                | Q(contact__isnull=False, identity__isnull=True),
                name="tag_conflict_is_of_one_person",
            )
        ]

    def __str__(self) -> str:
        return f"{self.contact_id or self.identity_id}:{self.tag_id} {self.winner}"
