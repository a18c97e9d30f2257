"""Where members belong, as the rooms above told: in which customer groups."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from crm.models.people import Member


class MemberGroup(models.Model):
    """She is in this customer group now; the group is a row of a room above. Written by `set_group_members`.

    Rows stay with a tombstone: who asks finds the living member behind it, also after a merge was undone.
    """

    member = models.ForeignKey(
        Member, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    group_id = models.BigIntegerField(_("customer group"))

    class Meta:
        verbose_name = _("member of a customer group")
        verbose_name_plural = _("members of customer groups")
        constraints = [
            models.UniqueConstraint(fields=["group_id", "member"], name="member_is_in_a_group_once")
        ]
        indexes = [models.Index(fields=["member"], name="groups_of_a_member")]

    def __str__(self) -> str:
        return f"{self.group_id}:{self.member_id}"
