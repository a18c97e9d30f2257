"""A person who asked to be forgotten: what waits for her is cancelled, what was sent names nobody."""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import or_

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from wechat.models import Notice, OutboundMessage, ReplyWindow, SubscriptionQuota

ERASED = "erased"


@transaction.atomic
def forget_people(*, people: Iterable[tuple[int, str]]) -> int:
    """Forget addresses, each an (account id, openid or external userid), with what the platforms told of them; returns
    how many messages were cancelled.

    What is being sent or handled at this moment is left to who does it. Idempotent.
    """
    people = list(people)
    if not people:
        return 0
    # One look over all messages and one over all notices: an index on whom each went to would cost every sending more.
    to_her = reduce(or_, (Q(account=account_id, to=address) for account_id, address in people))
    found = list(OutboundMessage.objects.filter(to_her).values_list("pk", flat=True))
    hers = OutboundMessage.objects.filter(pk__in=found)
    cancelled = hers.filter(state__in=[OutboundMessage.PENDING, OutboundMessage.HELD]).update(
        state=OutboundMessage.CANCELLED, reason_code=ERASED, reason=_("Her data was erased.")
    )
    hers.exclude(Q(state=OutboundMessage.SENDING)).update(to=ERASED, vars=None)
    opened = reduce(or_, (Q(account=account_id, openid=address) for account_id, address in people))
    ReplyWindow.objects.filter(opened).delete()
    SubscriptionQuota.objects.filter(opened).delete()
    named = reduce(or_, (_names(address) for _account_id, address in people))
    told = list(Notice.objects.filter(named).exclude(status=Notice.NEW).values_list("pk", flat=True))
    Notice.objects.filter(pk__in=told).delete()
    return cancelled


def _names(address: str) -> Q:
    """A notice by her or about her: the address stands in XML (with CDATA or without) or in JSON, as a whole word."""
    whole = Q()
    for before, after in (("[", "]"), (">", "<"), ('"', '"')):
        whole |= Q(content__contains=f"{before}{address}{after}")
    return Q(sender=address) | Q(content__contains=address) & whole


def _notices_before(before: datetime) -> QuerySet[Notice]:
    """Notices that were handled or given up, received before a moment; the eldest first."""
    return Notice.objects.filter(received_at__lt=before).exclude(status=Notice.NEW).order_by("pk")


def count_notices(before: datetime) -> int:
    return _notices_before(before).count()


def forget_notices(before: datetime, most: int) -> int:
    """Delete at most so many of them. Idempotent."""
    found = list(_notices_before(before).values_list("pk", flat=True)[:most])
    return Notice.objects.filter(pk__in=found).delete()[0]


def _recipients_before(before: datetime) -> QuerySet[OutboundMessage]:
    """Messages that left or never will, made before a moment, and still say to whom; the eldest first."""
    ended = (
        OutboundMessage.SENT,
        OutboundMessage.FAILED,
        OutboundMessage.UNKNOWN,
        OutboundMessage.CANCELLED,
    )
    messages = OutboundMessage.objects.filter(state__in=ended, created_at__lt=before)
    return messages.exclude(to=ERASED).order_by("created_at")


def count_recipients(before: datetime) -> int:
    return _recipients_before(before).count()


def forget_recipients(before: datetime, most: int) -> int:
    """Empty to whom at most so many of them went, and what stood there of that person; counts and contents stay.
    Idempotent.
    """
    found = list(_recipients_before(before).values_list("pk", flat=True)[:most])
    return OutboundMessage.objects.filter(pk__in=found).update(to=ERASED, vars=None)
