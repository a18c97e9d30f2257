"""What this room listens to: groups that change in WeCom, members that became one; and its kind of job."""

from community import services
from core.events import subscribe
from core.jobs import register
from crm import services as crm_services
from crm.events import MembersMerged
from wechat.events import GroupChanged


def group_changed(event: GroupChanged) -> None:
    if event.change == "dismiss":
        services.dismiss_group(account_id=event.account_id, chat_id=event.chat_id, at=event.at)
    else:
        services.note_change(account_id=event.account_id, chat_id=event.chat_id, at=event.at)


def members_merged(event: MembersMerged) -> None:
    services.repoint_member(kept_id=event.kept_id, merged_id=event.merged_id)


subscribe(GroupChanged, group_changed)
subscribe(MembersMerged, members_merged)
register(services.SYNC_KIND, services.sync_groups)
crm_services.register_sync(
    "groups", lambda account_id, by_id: services.start_sync(account_id=account_id, created_by_id=by_id)
)
