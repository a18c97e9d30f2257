"""Tags, their groups, and who carries them."""

import pghistory
from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


@pghistory.track()
class TagGroup(models.Model):
    name = models.CharField(_("name"), max_length=30, unique=True)
    sort = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("tag group")
        verbose_name_plural = _("tag groups")
        ordering = ["sort", "id"]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
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
        Member, models.PROTECT, db_index=False, related_name="member_tags", verbose_name=_("member")
    )
    tag = models.ForeignKey(
        Tag, models.PROTECT, db_index=False, related_name="member_tags", verbose_name=_("tag")
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
