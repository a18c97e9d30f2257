"""What this room listens to: members that became one, and two again."""

from django.utils.translation import gettext_lazy as _

from campaigns import queries, services
from core.events import subscribe
from crm import services as crm_services
from crm.events import MembersMerged, MergeUndone


def members_merged(event: MembersMerged) -> None:
    crm_services.move_rows(
        merge_id=event.merge_id,
        room="campaigns",
        move=lambda kept_id, merged_id: services.repoint_member(kept_id=kept_id, merged_id=merged_id),
    )


def merge_undone(event: MergeUndone) -> None:
    crm_services.return_rows(merge_id=event.merge_id, room="campaigns")


subscribe(MembersMerged, members_merged)
crm_services.call_subjects("broadcast", "SELECT id, name FROM campaigns_broadcast WHERE id = ANY(%s)")
crm_services.call_subjects("winback", "SELECT id, name FROM campaigns_winbackrule WHERE id = ANY(%s)")
crm_services.offer_tag_choices("link", crm_services.TagChoices(queries.link_senders))
subscribe(MergeUndone, merge_undone)
crm_services.hold_personal_data(
    crm_services.Holding(
        "messages",
        _("messages of campaigns"),
        count=queries.messages_to,
        export=queries.messages_of,
        erase=services.forget_member,
        rows=services.rows_of_member,
    )
)
