"""What each reading of a platform brought, honestly; and the tags that WeCom and we keep the same."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Contact
from crm.models.tags import Tag


class SyncRun(models.Model):
    """One reading of one platform. "done" only when everything that was expected was fetched."""

    CONTACTS, TAGS, GROUPS, FOLLOWERS = "contacts", "tags", "groups", "followers"
    KINDS = [
        (CONTACTS, _("WeCom contacts")),
        (TAGS, _("WeCom tags")),
        (GROUPS, _("WeCom groups")),
        (FOLLOWERS, _("followers")),
    ]
    RUNNING, DONE, PARTIAL, FAILED = "running", "done", "partial", "failed"
    STATUSES = [
        (RUNNING, _("running")),
        (DONE, _("done")),
        (PARTIAL, _("incomplete")),
        (FAILED, _("failed")),
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
                condition=~Q(status__in=["failed", "partial"]) | ~Q(cause=""), name="a_failed_sync_says_why"
            ),
            models.CheckConstraint(
                condition=Q(status="running", finished_at__isnull=True)
                | ~Q(status="running") & Q(finished_at__isnull=False),
                name="a_sync_ends_once",
            ),
        ]
        indexes = [models.Index(fields=["kind", "account", "-id"], name="sync_latest")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} #{self.pk}"


class WorkTag(models.Model):
    """One of our tags is one of a corp's tags (WeCom document 92117: group and tag ids are the corp's)."""

    account = models.ForeignKey(
        "wechat.Account", models.PROTECT, related_name="+", verbose_name=_("WeCom account")
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="work_tags", verbose_name=_("tag"))
    work_id = models.CharField(_("id in WeCom"), max_length=64)

    class Meta:
        verbose_name = _("WeCom tag")
        verbose_name_plural = _("WeCom tags")
        constraints = [
            models.UniqueConstraint(fields=["account", "work_id"], name="work_tag_is_one_of_ours"),
            models.UniqueConstraint(fields=["account", "tag"], name="tag_is_one_work_tag_per_corp"),
        ]

    def __str__(self) -> str:
        return self.work_id


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
    """Both sides changed a tag of one contact; the later one stands. Append-only."""

    OURS, THEIRS = "ours", "theirs"
    WINNERS = [(OURS, _("ours")), (THEIRS, _("WeCom's"))]

    contact = models.ForeignKey(Contact, models.CASCADE, related_name="+", verbose_name=_("WeCom contact"))
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="+", verbose_name=_("tag"))
    ours = models.BooleanField(_("we wanted it"))
    ours_at = models.DateTimeField(_("ours changed at"))
    theirs = models.BooleanField(_("WeCom has it"))
    theirs_at = models.DateTimeField(_("theirs changed at"), null=True)
    winner = models.CharField(_("what stands"), max_length=6, choices=WINNERS)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("tag conflict")
        verbose_name_plural = _("tag conflicts")

    def __str__(self) -> str:
        return f"{self.contact_id}:{self.tag_id} {self.winner}"
