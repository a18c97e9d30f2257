"""What this room listens to: groups that change in WeCom, members that became one; and its kind of job."""

from django.utils.translation import gettext_lazy as _

from community import queries, services
from core.events import subscribe
from core.jobs import register
from crm import services as crm_services
from crm.events import MembersMerged, MergeUndone
from wechat.events import GroupChanged


def group_changed(event: GroupChanged) -> None:
    if event.change == "dismiss":
        services.dismiss_group(account_id=event.account_id, chat_id=event.chat_id, at=event.at)
    else:
        services.note_change(account_id=event.account_id, chat_id=event.chat_id, at=event.at)


def members_merged(event: MembersMerged) -> None:
    crm_services.move_rows(
        merge_id=event.merge_id,
        room="community",
        move=lambda kept_id, merged_id: services.repoint_member(kept_id=kept_id, merged_id=merged_id),
    )


def merge_undone(event: MergeUndone) -> None:
    crm_services.return_rows(merge_id=event.merge_id, room="community")


subscribe(GroupChanged, group_changed)
subscribe(MembersMerged, members_merged)
subscribe(MergeUndone, merge_undone)
register(services.SYNC_KIND, services.sync_groups)
crm_services.name_groups(queries.group_names)
crm_services.register_sync(
    "groups", lambda account_id, by_id: services.start_sync(account_id=account_id, created_by_id=by_id)
)
crm_services.hold_personal_data(
    crm_services.Holding(
        "groups",
        _("customer groups"),
        count=lambda member_id: len(queries.stays_to_take_along(member_id)),
        export=queries.stays_to_take_along,
        erase=services.forget_member,
        rows=services.rows_of_member,
    )
)
