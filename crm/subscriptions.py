"""What this room listens to: everything that people do towards the brand's accounts."""

from django.utils.translation import gettext_lazy as _

from core import jobs
from core.events import subscribe
from crm import events, services
from crm.events import MemberFollowed, MembersMerged, MergeUndone
from crm.models import PointsTask, SyncRun
from crm.queries import segments_files as queries
from crm.services import (
    advance_tasks,
    arrivals,
    imports,
    member_for_contact,
    register_sync,
    review_tiers,
    syncs_names,
    syncs_official,
    syncs_people,
    syncs_tags,
    syncs_wishes,
    tiers_moves,
    want_sync,
)
from wechat import events as wechat


def followed(event: wechat.Followed) -> None:
    arrivals.follow(account_id=event.account_id, openid=event.openid, scene=event.scene, at=event.at)


def unfollowed(event: wechat.Unfollowed) -> None:
    arrivals.unfollow(account_id=event.account_id, openid=event.openid, at=event.at)


def scanned(event: wechat.Scanned) -> None:
    arrivals.scan(account_id=event.account_id, openid=event.openid, scene=event.scene, at=event.at)


def message_received(event: wechat.MessageReceived) -> None:
    arrivals.speak(
        account_id=event.account_id,
        openid=event.openid,
        msg_type=event.msg_type,
        text=event.text,
        at=event.at,
    )


def menu_clicked(event: wechat.MenuClicked) -> None:
    arrivals.tap_menu(account_id=event.account_id, openid=event.openid, key=event.key, at=event.at)


def subscription_answered(event: wechat.SubscriptionAnswered) -> None:
    arrivals.answer_subscription(
        account_id=event.account_id,
        openid=event.openid,
        template_id=event.template_id,
        accepted=event.accepted,
        at=event.at,
    )


def contact_added(event: wechat.ContactAdded) -> None:
    arrivals.add_contact(
        account_id=event.account_id,
        userid=event.userid,
        external_userid=event.external_userid,
        state=event.state,
        welcome_code=event.welcome_code,
        at=event.at,
    )


def contact_removed(event: wechat.ContactRemoved) -> None:
    arrivals.remove_contact(
        account_id=event.account_id,
        userid=event.userid,
        external_userid=event.external_userid,
        by=event.by,
        at=event.at,
    )


def contact_edited(event: wechat.ContactEdited) -> None:
    arrivals.edit_contact(
        account_id=event.account_id, userid=event.userid, external_userid=event.external_userid, at=event.at
    )


def work_tag_changed(event: wechat.WorkTagChanged) -> None:
    """One reading for all the changes of these seconds; while one runs, another is due after it."""
    if event.change == "update":
        syncs_names.note_work_tag_edited(account_id=event.account_id, work_id=event.tag_id, at=event.at)
    want_sync(kind=SyncRun.TAGS, account_id=event.account_id)


def members_merged(event: MembersMerged) -> None:
    syncs_wishes.align_tags(member_id=event.kept_id)
    review_tiers(member_ids=[event.kept_id])  # two growths are one now


def merge_undone(event: MergeUndone) -> None:
    for member_id in (event.kept_id, event.merged_id):
        syncs_wishes.align_tags(member_id=member_id)


def growth_changed(event: events.GrowthChanged) -> None:
    review_tiers(member_ids=[event.member_id])


def count_follow(event: MemberFollowed) -> None:
    """Once per account: who leaves and follows again has done nothing new."""
    advance_tasks(
        member_id=event.member_id, kind=PointsTask.FOLLOW, key=f"account:{event.account_id}", at=event.at
    )


def count_contact(event: wechat.ContactAdded) -> None:
    """May run before the arrival itself is booked: who is not known yet is born by either."""
    member = member_for_contact(
        account_id=event.account_id, external_userid=event.external_userid, at=event.at
    )
    advance_tasks(member_id=member.pk, kind=PointsTask.CONTACT, key=f"staff:{event.userid}", at=event.at)


# The welcome after a follow has one minute, a WeCom welcome code 20 seconds.
subscribe(wechat.Followed, followed, queue="fast")
subscribe(wechat.Scanned, scanned, queue="fast")
subscribe(wechat.ContactAdded, contact_added, queue="fast")
subscribe(MemberFollowed, count_follow)
subscribe(wechat.ContactAdded, count_contact)
subscribe(wechat.Unfollowed, unfollowed)
subscribe(wechat.MessageReceived, message_received)
subscribe(wechat.MenuClicked, menu_clicked)
subscribe(wechat.SubscriptionAnswered, subscription_answered)
subscribe(wechat.ContactRemoved, contact_removed)
subscribe(wechat.ContactEdited, contact_edited)
subscribe(wechat.WorkTagChanged, work_tag_changed)
subscribe(MembersMerged, members_merged)
subscribe(MergeUndone, merge_undone)
services.name_in_files("code", queries.code_scenes, queries.codes_by_scene, label=_("channel code"))
services.name_in_files("account", queries.account_keys, queries.accounts_by_key, label=_("account"))
services.name_in_files("group", queries.group_names, queries.groups_by_name, label=_("customer group"))
register_sync(SyncRun.FOLLOWERS, syncs_people.start_followers)
register_sync(SyncRun.CONTACTS, syncs_people.start_contacts)
register_sync(SyncRun.TAGS, syncs_tags.start_tags)
jobs.register(imports.IMPORT_MEMBERS, imports.import_members, label=_("member import"))
register_sync(SyncRun.OFFICIAL_TAGS, syncs_official.start_official_tags)
jobs.register(syncs_people.FOLLOWERS_JOB, syncs_people.sync_followers, label=_("read all followers"))
jobs.register(syncs_people.CONTACTS_JOB, syncs_people.sync_contacts, label=_("read all WeCom contacts"))
jobs.register(syncs_tags.TAGS_JOB, syncs_tags.sync_tags, label=_("read the WeCom tags"))
jobs.register(
    syncs_official.OFFICIAL_TAGS_JOB,
    syncs_official.sync_official_tags,
    label=_("read the tags of an official account"),
)
subscribe(events.GrowthChanged, growth_changed)
jobs.register(tiers_moves.KIND, tiers_moves.work, label=_("moving members between tiers"))
