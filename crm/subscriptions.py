"""What this room listens to: everything that people do towards the brand's accounts."""

from django.utils.translation import gettext_lazy as _

from core import jobs
from core.events import subscribe
from crm import events
from crm.events import MembersMerged
from crm.models import SyncRun
from crm.services import (
    arrivals,
    register_sync,
    review_tiers,
    syncs_people,
    syncs_tags,
    syncs_wishes,
    tiers_moves,
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
    """While a sync runs it is refused and delivered again a little later: a change after its reading is not lost."""
    syncs_tags.start_tags(event.account_id, None)


def members_merged(event: MembersMerged) -> None:
    syncs_wishes.align_work_tags(member_id=event.kept_id)


def growth_changed(event: events.GrowthChanged) -> None:
    review_tiers(member_ids=[event.member_id])


# The welcome after a follow has one minute, a WeCom welcome code 20 seconds.
subscribe(wechat.Followed, followed, queue="fast")
subscribe(wechat.Scanned, scanned, queue="fast")
subscribe(wechat.ContactAdded, contact_added, queue="fast")
subscribe(wechat.Unfollowed, unfollowed)
subscribe(wechat.MessageReceived, message_received)
subscribe(wechat.MenuClicked, menu_clicked)
subscribe(wechat.SubscriptionAnswered, subscription_answered)
subscribe(wechat.ContactRemoved, contact_removed)
subscribe(wechat.ContactEdited, contact_edited)
subscribe(wechat.WorkTagChanged, work_tag_changed)
subscribe(MembersMerged, members_merged)
register_sync(SyncRun.FOLLOWERS, syncs_people.start_followers)
register_sync(SyncRun.CONTACTS, syncs_people.start_contacts)
register_sync(SyncRun.TAGS, syncs_tags.start_tags)
jobs.register(syncs_people.FOLLOWERS_JOB, syncs_people.sync_followers, label=_("read all followers"))
jobs.register(syncs_people.CONTACTS_JOB, syncs_people.sync_contacts, label=_("read all WeCom contacts"))
jobs.register(syncs_tags.TAGS_JOB, syncs_tags.sync_tags, label=_("read the WeCom tags"))
subscribe(events.GrowthChanged, growth_changed)
jobs.register(tiers_moves.KIND, tiers_moves.work, label=_("moving members between tiers"))
