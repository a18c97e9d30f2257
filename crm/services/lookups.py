"""Asking the platforms who somebody is, after the notice was stored: unionid, name, picture, guides.

The rows say what is due (`Identity.lookup_due_at`); a lost wake-up or a dead worker costs only time.
"""

from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from core import clock
from core.errors import Refusal
from core.events import backoff
from crm.models import Identity, Staff
from crm.services.erased import WasErased
from crm.services.following import note_contact
from crm.services.people import member_for_contact, member_for_openid
from crm.services.syncs_marks import note_work_tags
from wechat import services as wechat

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=2)
MOST_ATTEMPTS = 6


def look_up_due(*, limit: int = 100) -> int:
    """Look up the identities that are due; returns how many were tried. Must run outside of a transaction.

    A row is claimed by moving its due time ahead (a lease), so several workers share the work.
    """
    tried = 0
    for pk in _due(limit):
        claimed = Identity.objects.filter(pk=pk, lookup_due_at__lte=clock.now()).update(
            lookup_due_at=clock.now() + LEASE, lookup_attempts=F("lookup_attempts") + 1
        )
        if claimed:
            tried += 1
            _look_up(Identity.objects.get(pk=pk))
    return tried


def _due(limit: int) -> list[int]:
    due = Identity.objects.filter(lookup_due_at__lte=clock.now()).order_by("lookup_due_at")
    return list(due.values_list("pk", flat=True)[:limit])


def _look_up(identity: Identity) -> None:
    try:
        if identity.kind == Identity.OPENID:
            _look_up_follower(identity)
        else:
            _look_up_contact(identity)
    except Refusal as error:
        log.warning(
            "look-up refused", identity=identity.pk, code=error.code, attempts=identity.lookup_attempts
        )
        again = identity.lookup_attempts < MOST_ATTEMPTS
        Identity.objects.filter(pk=identity.pk).update(
            lookup_due_at=clock.now() + backoff(identity.lookup_attempts) if again else None
        )


def _look_up_follower(identity: Identity) -> None:
    follower = wechat.follower(account_id=_account(identity), openid=identity.value)
    with suppress(WasErased), transaction.atomic():
        if follower.unionid:
            member_for_openid(
                account_id=_account(identity),
                openid=identity.value,
                unionid=follower.unionid,
                by_herself=False,
            )
        Identity.objects.filter(pk=identity.pk).update(lookup_due_at=None)


def _look_up_contact(identity: Identity) -> None:
    began_at = clock.now()
    contact = wechat.work_contact(account_id=_account(identity), external_userid=identity.value)
    store_contact(account_id=_account(identity), contact=contact, began_at=began_at)
    Identity.objects.filter(pk=identity.pk).update(lookup_due_at=None)


def store_contact(*, account_id: int, contact: wechat.WorkContact, began_at: datetime) -> None:
    """What a read of a customer told: who she is, her guides, and the tags that they put. `began_at` of the read.

    Two transactions: who she is may lock and merge members, and her guides and tags lock the contact before them.
    Who was erased is passed by. Idempotent.
    """
    try:
        member_for_contact(
            account_id=account_id,
            external_userid=contact.external_userid,
            unionid=contact.unionid,
            name=contact.name,
            avatar_url=contact.avatar_url,
            by_herself=False,
        )
    except WasErased:
        return
    _store_follows(account_id, contact, began_at)


@transaction.atomic
def _store_follows(account_id: int, contact: wechat.WorkContact, began_at: datetime) -> None:
    for follow in contact.follows:
        note_contact(
            account_id=account_id,
            external_userid=contact.external_userid,
            userid=follow.userid,
            at=follow.created_at,
            state=follow.state,
            remark=follow.remark,
        )
        Staff.objects.get_or_create(work_userid=follow.userid, defaults={"name": follow.userid})
        note_work_tags(
            account_id=account_id,
            external_userid=contact.external_userid,
            userid=follow.userid,
            work_ids=follow.tag_ids,
            began_at=began_at,
        )


def _account(identity: Identity) -> int:
    if identity.account_id is None:
        raise LookupError(f"identity {identity.pk} belongs to no account")
    return identity.account_id
