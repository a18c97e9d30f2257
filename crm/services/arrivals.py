"""What a person does towards the brand's accounts, as the platforms tell it. Each runs inside an event delivery.

Nothing here speaks to a platform: greetings and look-ups are left as rows, and a task carries them out after commit.
What tells of somebody who was erased before is passed by (None), unless she did it herself and after that.
"""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, events
from core.wakeups import wake
from crm.events import MemberFollowed, MemberUnfollowed
from crm.models import Activity, ChannelCode, Identity, Member
from crm.services.codes import arrive_through
from crm.services.erased import WasErased
from crm.services.following import (
    note_contact,
    note_contact_edited,
    note_contact_removed,
    note_follow,
    note_unfollow,
)
from crm.services.people import member_for_contact, member_for_openid
from crm.services.syncs_wishes import begin_anew
from crm.services.tagrules import BY_MESSAGE, BY_SCAN, judge_tag_rules
from crm.services.timeline import record_activity

P = ParamSpec("P")
R = TypeVar("R")


def unless_erased(arrive: Callable[P, R]) -> Callable[P, R | None]:
    """One transaction, which leaves nothing when she was erased and has not come back by this."""

    @wraps(arrive)
    def once(*args: P.args, **told: P.kwargs) -> R | None:
        try:
            with transaction.atomic():
                return arrive(*args, **told)
        except WasErased:
            return None

    return once


@unless_erased
def follow(*, account_id: int, openid: str, scene: str, at: datetime) -> Member:
    """She followed: a member now if she was none, her source and tags by the code, a welcome on its way.

    Idempotency is the event delivery's. Publishes: MemberFollowed, and MemberJoined when she is new.
    """
    member = member_for_openid(account_id=account_id, openid=openid, via=Member.FOLLOW, at=at)
    identity = _openid(account_id, openid)
    is_new = note_follow(identity_id=identity.pk, at=at)
    begin_anew(identity_id=identity.pk, member_id=member.pk)
    record_activity(
        member_id=member.pk,
        kind=Activity.FOLLOWED,
        at=at,
        subject=f"account:{account_id}",
        data={"scene": scene} if scene else {},
    )
    _look_up(identity)
    if scene:
        _scan(member, ChannelCode.OA, account_id, scene, at, is_new=is_new)
    events.publish(
        MemberFollowed(member_id=member.pk, account_id=account_id, scene=scene, at=at),
        key=f"member:{member.pk}",
    )
    return member


@unless_erased
def unfollow(*, account_id: int, openid: str, at: datetime) -> Member:
    """She unfollowed; her history stays. May arrive before the follow that it ended. Publishes: MemberUnfollowed."""
    member = member_for_openid(
        account_id=account_id, openid=openid, via=Member.FOLLOW, at=at, by_herself=False
    )
    note_unfollow(identity_id=_openid(account_id, openid).pk, at=at)
    record_activity(member_id=member.pk, kind=Activity.UNFOLLOWED, at=at, subject=f"account:{account_id}")
    events.publish(
        MemberUnfollowed(member_id=member.pk, account_id=account_id, at=at), key=f"member:{member.pk}"
    )
    return member


@unless_erased
def scan(*, account_id: int, openid: str, scene: str, at: datetime) -> Member:
    """A follower scanned a code. If we never heard of her follow, we have now."""
    member = _follower(account_id, openid, at)
    _scan(member, ChannelCode.OA, account_id, scene, at, is_new=False)
    return member


@unless_erased
def speak(*, account_id: int, openid: str, msg_type: str, text: str, at: datetime) -> Member:
    """She wrote to the account; the timeline keeps the kind and a short beginning, the rules look for their words."""
    member = _follower(account_id, openid, at)
    record_activity(
        member_id=member.pk,
        kind=Activity.MESSAGE,
        at=at,
        subject=f"account:{account_id}",
        data={"type": msg_type, "text": text[:200]},
    )
    judge_tag_rules(member_id=member.pk, kinds=BY_MESSAGE)
    return member


@unless_erased
def tap_menu(*, account_id: int, openid: str, key: str, at: datetime) -> Member:
    member = _follower(account_id, openid, at)
    record_activity(
        member_id=member.pk,
        kind=Activity.MENU,
        at=at,
        subject=f"account:{account_id}",
        data={"key": key[:200]},
    )
    return member


@unless_erased
def answer_subscription(
    *, account_id: int, openid: str, template_id: str, accepted: bool, at: datetime
) -> Member:
    """She accepted or refused subscription notifications of a template (the quota itself is kept by wechat)."""
    member = member_for_openid(
        account_id=account_id, openid=openid, via=Member.LOGIN, at=at, by_herself=accepted
    )
    record_activity(
        member_id=member.pk,
        kind=Activity.SUBSCRIBED,
        at=at,
        subject=f"template:{template_id}",
        data={"accepted": accepted},
    )
    return member


@unless_erased
def add_contact(
    *, account_id: int, userid: str, external_userid: str, state: str, welcome_code: str, at: datetime
) -> Member:
    """A guide has a new customer: a member, her source and tags by the code, a welcome within 20 s (path 92137)."""
    member = member_for_contact(account_id=account_id, external_userid=external_userid, at=at)
    is_new = note_contact(
        account_id=account_id, external_userid=external_userid, userid=userid, at=at, state=state
    )
    record_activity(
        member_id=member.pk,
        kind=Activity.CONTACT_ADDED,
        at=at,
        subject=f"staff:{userid}",
        data={"state": state},
    )
    _look_up(_contact(account_id, external_userid))
    if state:
        _scan(member, ChannelCode.WORK, account_id, state, at, is_new=is_new, welcome_code=welcome_code)
    return member


@unless_erased
def remove_contact(*, account_id: int, userid: str, external_userid: str, by: str, at: datetime) -> Member:
    member = member_for_contact(
        account_id=account_id, external_userid=external_userid, at=at, by_herself=False
    )
    note_contact_removed(account_id=account_id, external_userid=external_userid, userid=userid, by=by, at=at)
    record_activity(
        member_id=member.pk, kind=Activity.CONTACT_REMOVED, at=at, subject=f"staff:{userid}", data={"by": by}
    )
    return member


@unless_erased
def edit_contact(*, account_id: int, userid: str, external_userid: str, at: datetime) -> None:
    """A guide changed remark or tags of her customer: read the customer again, after commit."""
    member_for_contact(account_id=account_id, external_userid=external_userid, at=at, by_herself=False)
    note_contact_edited(account_id=account_id, external_userid=external_userid, userid=userid, at=at)
    _look_up(_contact(account_id, external_userid), again=True)


def _follower(account_id: int, openid: str, at: datetime) -> Member:
    """Who scans, writes or taps follows: a follow notice that was lost is made up for, without undoing a later one."""
    member = member_for_openid(account_id=account_id, openid=openid, via=Member.FOLLOW, at=at)
    identity = _openid(account_id, openid)
    if identity.followed_at is None or (
        not identity.is_following and identity.unfollowed_at is not None and at > identity.unfollowed_at
    ):
        note_follow(identity_id=identity.pk, at=at)
        _look_up(identity)
    return member


def _openid(account_id: int, openid: str) -> Identity:
    return Identity.objects.get(kind=Identity.OPENID, account_id=account_id, value=openid)


def _contact(account_id: int, external_userid: str) -> Identity:
    return Identity.objects.get(kind=Identity.EXTERNAL_USERID, account_id=account_id, value=external_userid)


def _look_up(identity: Identity, *, again: bool = False) -> None:
    """Ask the platform who she is, after commit; not when her unionid is known already."""
    if not again:
        known = Identity.objects.filter(member=identity.member_id, kind=Identity.UNIONID).exists()
        if known and identity.kind == Identity.OPENID:
            return
    Identity.objects.filter(pk=identity.pk).update(lookup_due_at=clock.now(), lookup_attempts=0)
    wake("crm.tasks.look_up", queue="default")


def _scan(
    member: Member,
    kind: str,
    account_id: int,
    scene: str,
    at: datetime,
    *,
    is_new: bool,
    welcome_code: str = "",
) -> None:
    code = ChannelCode.objects.filter(scene=scene, kind=kind, account=account_id).first()
    record_activity(
        member_id=member.pk,
        kind=Activity.SCANNED,
        at=at,
        subject=f"code:{code.pk}" if code else "",
        data={"name": code.name if code else str(_("unknown code")), "scene": scene[:64]},
    )
    if code is not None:
        arrive_through(code=code, member=member, at=at, is_new=is_new, welcome_code=welcome_code)
    judge_tag_rules(member_id=member.pk, kinds=BY_SCAN)
