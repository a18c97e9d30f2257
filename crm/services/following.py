"""Following, unfollowing, WeCom contacts: state kept so that notices may come late, twice or in any order.

Only the latest moments are kept, and what is true now is a function of them: followed means that the last follow is
newer than the last unfollow. So no order of arrival can undo a newer fact.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Greatest

from core.locks import advisory_lock
from crm.models import Contact, Identity, OfficialTagMark, WorkTagMark

OPEN = Q(added_at__isnull=False) & (Q(removed_at__isnull=True) | Q(added_at__gt=F("removed_at")))
FOLLOWING = Q(followed_at__isnull=False) & (
    Q(unfollowed_at__isnull=True) | Q(followed_at__gt=F("unfollowed_at"))
)


def _follows_from_moments(identity_id: int) -> None:
    Identity.objects.filter(pk=identity_id).update(
        is_following=Case(When(FOLLOWING, then=Value(True)), default=Value(False))
    )


def _later(column: str, at: datetime) -> Greatest:
    return Greatest(F(column), Value(at, output_field=DateTimeField()))


@transaction.atomic
def note_follow(*, identity_id: int, at: datetime) -> bool:
    """The person followed at `at`; True when she never had before. Locks: the identity's row."""
    Identity.objects.select_for_update(of=("self",)).get(pk=identity_id)
    first = Identity.objects.filter(pk=identity_id, followed_at__isnull=True).exists()
    Identity.objects.filter(pk=identity_id).update(followed_at=_later("followed_at", at))
    _follows_from_moments(identity_id)
    return first


@transaction.atomic
def note_unfollow(*, identity_id: int, at: datetime) -> None:
    """The person unfollowed at `at`; a later follow that is already known stays. The account forgets her tags, so what
    we knew of them there says nothing; she keeps them here.
    """
    Identity.objects.filter(pk=identity_id).update(unfollowed_at=_later("unfollowed_at", at))
    _follows_from_moments(identity_id)
    OfficialTagMark.objects.filter(identity=identity_id, identity__is_following=False).delete()


@transaction.atomic
def note_contact(
    *,
    account_id: int,
    external_userid: str,
    userid: str,
    at: datetime,
    state: str = "",
    remark: str = "",
) -> bool:
    """A guide has the customer since `at`; True when this pair is new. Locks: advisory on the pair's identity."""
    advisory_lock("contact", account_id, external_userid)
    identity = Identity.objects.get(
        kind=Identity.EXTERNAL_USERID, account_id=account_id, value=external_userid
    )
    contact, made = Contact.objects.get_or_create(
        identity=identity, userid=userid, defaults={"added_at": at, "state": state, "remark": remark[:80]}
    )
    if not made:
        changes: dict[str, object] = {"added_at": _later("added_at", at)}
        if state:
            changes["state"] = state
        if remark:
            changes["remark"] = remark[:80]
        Contact.objects.filter(pk=contact.pk).update(**changes)
    _contact_state(identity.pk, followed_at=at)
    return made


@transaction.atomic
def note_contact_removed(
    *, account_id: int, external_userid: str, userid: str, by: str, at: datetime
) -> None:
    """The contact ended at `at` ("staff" or "customer" ended it); a later adding stays. Locks: as note_contact."""
    advisory_lock("contact", account_id, external_userid)
    identity = Identity.objects.get(
        kind=Identity.EXTERNAL_USERID, account_id=account_id, value=external_userid
    )
    contact, made = Contact.objects.get_or_create(
        identity=identity, userid=userid, defaults={"removed_at": at, "removed_by": by}
    )
    if not made:
        Contact.objects.filter(pk=contact.pk).update(removed_at=_later("removed_at", at), removed_by=by)
        # A guide who adds her again begins with no tags: that would not mean that she lost them.
        closed = Contact.objects.filter(pk=contact.pk).exclude(OPEN)
        WorkTagMark.objects.filter(contact__in=closed).delete()
    _contact_state(identity.pk, unfollowed_at=at)


def note_contact_edited(*, account_id: int, external_userid: str, userid: str, at: datetime) -> None:
    """The guide changed remark or tags of her customer at `at`; the latest moment stays."""
    Contact.objects.filter(
        identity__kind=Identity.EXTERNAL_USERID,
        identity__account=account_id,
        identity__value=external_userid,
        userid=userid,
    ).update(edited_at=_later("edited_at", at))


def _contact_state(identity_id: int, **moment: datetime) -> None:
    """A customer is reachable while any guide has her."""
    changes: dict[str, object] = {column: _later(column, at) for column, at in moment.items()}
    open_contacts = Contact.objects.filter(OPEN, identity=OuterRef("pk"))
    Identity.objects.filter(pk=identity_id).update(
        is_following=Case(When(Exists(open_contacts), then=Value(True)), default=Value(False)), **changes
    )
