"""The platforms' own allowances per person: reply windows and accepted subscriptions.

Notices arrive in any order and more than once; every function here ends in the same rows for the same facts.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection

from core import clock
from wechat import rules
from wechat.models import ReplyWindow, SubscriptionQuota

_OPEN = """
INSERT INTO wechat_replywindow (account_id, openid, trigger, opened_at, expires_at, remaining)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (account_id, openid, trigger) DO UPDATE
    SET opened_at = excluded.opened_at, expires_at = excluded.expires_at, remaining = excluded.remaining
    WHERE wechat_replywindow.opened_at < excluded.opened_at
"""

# One message uses the window of its receiver that ends first; a receiver may be there several times.
_USE = """
WITH used AS (
    SELECT openid, count(*) AS n FROM unnest(%s::text[]) AS openid GROUP BY openid
), first_window AS (
    SELECT DISTINCT ON (w.openid) w.id, used.n
    FROM wechat_replywindow w JOIN used USING (openid)
    WHERE w.account_id = %s AND w.expires_at > %s AND w.remaining > 0
    ORDER BY w.openid, w.expires_at
)
UPDATE wechat_replywindow w SET remaining = greatest(w.remaining - first_window.n, 0)
FROM first_window WHERE w.id = first_window.id
"""


def open_reply_window(*, account_id: int, openid: str, trigger: str, at: datetime) -> None:
    """A person interacted: renew this trigger's allowance, unless a later interaction already did."""
    messages, lasting = rules.REPLY_ALLOWANCES[trigger]
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [account_id, openid, trigger, at, at + lasting, messages])


def close_reply_windows(*, account_id: int, openid: str, at: datetime) -> None:
    """She left: what was opened before is over."""
    ReplyWindow.objects.filter(account_id=account_id, openid=openid, opened_at__lte=at).update(remaining=0)


def use_reply_windows(*, account_id: int, openids: Iterable[str]) -> None:
    """Count customer-service messages that were sent."""
    with connection.cursor() as cursor:
        cursor.execute(_USE, [list(openids), account_id, clock.now()])


def exhaust_reply_windows(*, account_id: int, openids: Iterable[str]) -> None:
    """The platform said that nothing more may be sent: it knows better."""
    ReplyWindow.objects.filter(account_id=account_id, openid__in=list(openids)).update(remaining=0)


def accept_subscription(*, account_id: int, openid: str, template_id: str, at: datetime) -> None:
    """One accept is one send, and accepts add up (contract A8); called once per accept.

    Locks: the person's quota row.
    """
    quota = _locked_quota(account_id, openid, template_id)
    if quota.refused_at is None or at > quota.refused_at:
        quota.accepted_ats = sorted([*quota.accepted_ats, at])
    _save(quota)


def refuse_subscription(*, account_id: int, openid: str, template_id: str, at: datetime) -> None:
    """A refusal in the settings takes back what was accepted before it. Locks: the person's quota row."""
    quota = _locked_quota(account_id, openid, template_id)
    quota.refused_at = max(quota.refused_at or at, at)
    quota.accepted_ats = [accepted for accepted in quota.accepted_ats if accepted > quota.refused_at]
    _save(quota)


def _locked_quota(account_id: int, openid: str, template_id: str) -> SubscriptionQuota:
    key = {"account_id": account_id, "openid": openid, "template_id": template_id}
    SubscriptionQuota.objects.bulk_create([SubscriptionQuota(**key)], ignore_conflicts=True)
    return SubscriptionQuota.objects.select_for_update().get(**key)


def _save(quota: SubscriptionQuota) -> None:
    quota.remaining = len(quota.accepted_ats)
    quota.save(update_fields=["accepted_ats", "refused_at", "remaining"])


_SPEND = """
UPDATE wechat_subscriptionquota q
SET accepted_ats = q.accepted_ats[2:], remaining = greatest(q.remaining - 1, 0)
WHERE account_id = %s AND template_id = %s AND openid = ANY(%s) AND remaining > 0
"""


def use_subscriptions(*, account_id: int, template_id: str, openids: Iterable[str]) -> None:
    """Count subscription notifications that were sent, one per person."""
    with connection.cursor() as cursor:
        cursor.execute(_SPEND, [account_id, template_id, list(openids)])


def exhaust_subscriptions(*, account_id: int, template_id: str, openids: Iterable[str]) -> None:
    """The platform said 43101: nothing is left."""
    SubscriptionQuota.objects.filter(
        account_id=account_id, template_id=template_id, openid__in=list(openids)
    ).update(remaining=0, accepted_ats=[])
