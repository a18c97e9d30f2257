"""The tags that an official account and we keep the same (A11: 100 tags an account, 20 on a follower, 30 bytes)."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from crm.models.people import Identity
from crm.models.tags import Tag


class OfficialTag(models.Model):
    """One of our tags is one of an official account's tags; until the account's next reading it has no id there."""

    account = models.ForeignKey(
        "wechat.Account",
        models.PROTECT,
        related_name="+",
        verbose_name=_("official account"),
        limit_choices_to={"kind__in": ["service", "subscription"], "is_active": True},
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="official_tags", verbose_name=_("tag"))
    official_id = models.PositiveIntegerField(_("id there"), null=True, editable=False)
    # As both sides last called it: whoever calls it otherwise has renamed it.
    name = models.CharField(_("name there"), max_length=30, blank=True, editable=False)
    is_wanted = models.BooleanField(_("shared"), default=True, editable=False)
    aligned_at = models.DateTimeField(_("given to its carriers at"), null=True, editable=False)
    count = models.PositiveIntegerField(_("followers there"), null=True, editable=False)
    error = models.CharField(_("last error"), max_length=300, blank=True, editable=False)

    class Meta:
        verbose_name = _("official-account tag")
        verbose_name_plural = _("official-account tags")
        constraints = [
            models.UniqueConstraint(fields=["account", "official_id"], name="official_tag_is_one_of_ours"),
            models.UniqueConstraint(fields=["account", "tag"], name="tag_is_one_official_tag_per_account"),
            models.CheckConstraint(
                condition=Q(official_id__isnull=True) | Q(official_id__gt=2),
                name="official_tag_is_not_reserved",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tag_id}@{self.account_id}"


class OfficialTagMark(models.Model):
    """A tag on one follower: what we want there, and what we last knew of it. The row is the outbox."""

    identity = models.ForeignKey(
        Identity, models.CASCADE, db_index=False, related_name="tag_marks", verbose_name=_("identity")
    )
    tag = models.ForeignKey(Tag, models.CASCADE, related_name="+", verbose_name=_("tag"))
    wanted = models.BooleanField(_("wanted"))
    known = models.BooleanField(_("last known there"), null=True)
    changed_at = models.DateTimeField(_("changed at"))
    seen_at = models.DateTimeField(_("last agreed at"), null=True)
    due_at = models.DateTimeField(_("to be sent at"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("last error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("tag in an official account")
        verbose_name_plural = _("tags in official accounts")
        constraints = [
            models.UniqueConstraint(fields=["identity", "tag"], name="follower_has_a_tag_mark_once"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="official_mark_due", condition=Q(due_at__isnull=False)),
            # One call takes fifty that want the same.
            models.Index(
                fields=["tag", "wanted", "due_at"],
                name="official_mark_same",
                condition=Q(due_at__isnull=False),
            ),
            models.Index(
                fields=["tag", "identity"],
                name="official_mark_refused",
                condition=Q(due_at__isnull=True) & ~Q(error=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.identity_id}:{self.tag_id}"
