"""What this room listens to: members that became one."""

from campaigns import services
from core.events import subscribe
from crm.events import MembersMerged


def members_merged(event: MembersMerged) -> None:
    services.repoint_member(kept_id=event.kept_id, merged_id=event.merged_id)


subscribe(MembersMerged, members_merged)
