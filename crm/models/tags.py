"""Tags, their groups, and who carries them."""

import pghistory
from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track(exclude=["renamed_at"])
class TagGroup(models.Model):
    name = models.CharField(_("name"), max_length=30, unique=True)
    sort = models.PositiveSmallIntegerField(_("position"), default=0)
    is_shown_to_members = models.BooleanField(
        _("members see these tags"),
        default=False,
        db_default=False,
        help_text=_("On “my data”. What a member exports contains all her tags."),
    )
    renamed_at = models.DateTimeField(_("renamed here at"), null=True, editable=False)

    class Meta:
        verbose_name = _("tag group")
        verbose_name_plural = _("tag groups")
        ordering = ["sort", "id"]

    def __str__(self) -> str:
        return self.name


@pghistory.track(exclude=["renamed_at"])
class Tag(models.Model):
    group = models.ForeignKey(TagGroup, models.PROTECT, related_name="tags", verbose_name=_("tag group"))
    name = models.CharField(_("name"), max_length=30)
    sort = models.PositiveSmallIntegerField(_("position"), default=0)
    is_shared = models.BooleanField(
        _("kept the same in WeCom"),
        default=False,
        db_default=False,
        help_text=_("Guides see it on their customers, and what they change there changes here."),
    )
    renamed_at = models.DateTimeField(_("renamed here at"), null=True, editable=False)

    class Meta:
        verbose_name = _("tag")
        verbose_name_plural = _("tags")
        ordering = ["group__sort", "group_id", "sort", "id"]
        constraints = [models.UniqueConstraint(fields=["group", "name"], name="tag_name_once_per_group")]

    def __str__(self) -> str:
        return self.name


class MemberTag(models.Model):
    """`origin` says who put it: "staff:3", "code:12", "import:pos", "rule:…"."""

    member = models.ForeignKey(
        Member,
        models.PROTECT,
        db_index=False,
        db_constraint=False,  # ADR 20: checked by the trigger `rows_have_their_member`
        related_name="member_tags",
        verbose_name=_("member"),
    )
    tag = models.ForeignKey(
        Tag,
        models.PROTECT,
        db_index=False,
        db_constraint=False,  # ADR 20: checked by the trigger `rows_have_their_tag`
        related_name="member_tags",
        verbose_name=_("tag"),
    )
    origin = models.CharField(_("origin"), max_length=40)
    at = models.DateTimeField(_("at"))

    class Meta:
        verbose_name = _("member's tag")
        verbose_name_plural = _("members' tags")
        constraints = [models.UniqueConstraint(fields=["member", "tag"], name="member_carries_a_tag_once")]
        indexes = [models.Index(fields=["tag", "member"], name="member_by_tag")]

    def __str__(self) -> str:
        return f"{self.member_id}:{self.tag_id}"
