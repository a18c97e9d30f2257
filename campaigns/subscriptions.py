"""What this room listens to: members that became one."""

from campaigns import queries, services
from core.events import subscribe
from crm import services as crm_services
from crm.events import MembersMerged


def members_merged(event: MembersMerged) -> None:
    services.repoint_member(kept_id=event.kept_id, merged_id=event.merged_id)


subscribe(MembersMerged, members_merged)
crm_services.call_subjects("broadcast", "SELECT id, name FROM campaigns_broadcast WHERE id = ANY(%s)")
crm_services.call_subjects("winback", "SELECT id, name FROM campaigns_winbackrule WHERE id = ANY(%s)")
crm_services.offer_tag_choices("link", crm_services.TagChoices(queries.link_senders))
