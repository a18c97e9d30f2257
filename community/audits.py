"""Proof that the member centre knows who is in which group."""

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.audits import Finding, audit_check, rows

NAME = "community.groups_told"


@audit_check(NAME, gettext_lazy("Segments know who is in which customer group"))
def segments_know_who_is_in_which_group() -> Iterator[Finding]:
    """The open stays of members against what the member centre was told, both ways, behind tombstones."""
    for group_id, member_id, is_told in rows(
        """
        SELECT COALESCE(stay.group_id, told.group_id), COALESCE(stay.member_id, told.member_id),
               told.member_id IS NOT NULL
        FROM (
            SELECT DISTINCT s.group_id, COALESCE(m.merged_into_id, m.id) AS member_id
            FROM community_groupmember s JOIN crm_member m ON m.id = s.member_id WHERE s.left_at IS NULL
        ) stay FULL JOIN (
            SELECT DISTINCT r.group_id, COALESCE(m.merged_into_id, m.id) AS member_id
            FROM crm_membergroup r JOIN crm_member m ON m.id = r.member_id
        ) told ON told.group_id = stay.group_id AND told.member_id = stay.member_id
        WHERE stay.member_id IS NULL OR told.member_id IS NULL LIMIT 1000
        """
    ):
        words = (
            _("member %(member)d is said to be in it, but is not")
            if is_told
            else _("member %(member)d is in it, but segments do not know")
        )
        yield Finding(NAME, f"group {group_id}", words % {"member": member_id})
