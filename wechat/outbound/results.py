"""What became of messages: the outcomes of our calls, and what the platforms report later."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from core import clock
from wechat.models import OutboundBatch, OutboundMessage


class NotOurs(Exception):
    """A report about something that our rows do not know (yet)."""


@dataclass(frozen=True)
class Outcome:
    """What one call for one message gave. `pending` with a pause means: surely not sent, again later."""

    message_id: int
    state: str
    code: str = ""
    reason: str = ""
    platform_id: str = ""
    pause_seconds: int = 0


_MARK = """
UPDATE wechat_outboundmessage m SET
    state = r.state, reason_code = r.code, reason = r.reason, platform_id = r.platform_id, lease_until = NULL,
    sent_at = CASE WHEN r.state = 'sent' THEN %(moment)s ELSE m.sent_at END,
    next_attempt_at = CASE WHEN r.state = 'pending' THEN %(moment)s + r.pause * interval '1 second'
                           ELSE m.next_attempt_at END
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(codes)s::text[], %(reasons)s::text[], %(platform_ids)s::text[],
    %(pauses)s::int[]) AS r(id, state, code, reason, platform_id, pause)
WHERE m.id = r.id AND m.state = 'sending'
"""


def mark(outcomes: Iterable[Outcome]) -> int:
    """Book outcomes in one statement; only messages that are being sent change. Returns how many did."""
    rows = list(outcomes)
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            _MARK,
            {
                "moment": clock.now(),
                "ids": [row.message_id for row in rows],
                "states": [row.state for row in rows],
                "codes": [row.code[:40] for row in rows],
                "reasons": [row.reason[:300] for row in rows],
                "platform_ids": [row.platform_id[:64] for row in rows],
                "pauses": [row.pause_seconds for row in rows],
            },
        )
        return cursor.rowcount


def fail_delivered(*, account_id: int, platform_id: str, code: str) -> None:
    """The platform took a message and reports later that it did not arrive. Raises NotOurs when no row knows it."""
    messages = OutboundMessage.objects.filter(account_id=account_id, platform_id=platform_id)
    if not platform_id or not messages.exists():
        raise NotOurs(f"no message with platform id {platform_id}")
    reasons = {
        "user_block": _("The person has blocked messages of the account."),
        "system_failed": _("The platform failed to deliver it."),
    }
    messages.filter(state=OutboundMessage.SENT).update(
        state=OutboundMessage.FAILED,
        reason_code=code,
        reason=reasons.get(code, _("The platform reported that it was not delivered."))[:300],
    )


def finish_mass(*, account_id: int, platform_id: str, status: str, counts: dict[str, int]) -> None:
    """MASSSENDJOBFINISH: `send success`, `send fail` or `err(num)`. It names no receivers, only counts.

    Raises NotOurs when no sending of ours has this id (yet).
    """
    batch = (
        OutboundBatch.objects.select_for_update()
        .filter(account_id=account_id, channel=OutboundMessage.MASS, platform_id=platform_id)
        .first()
    )
    if batch is None or not platform_id:
        raise NotOurs(f"no mass sending with platform id {platform_id}")
    if batch.state in (OutboundBatch.DONE, OutboundBatch.FAILED):
        return
    succeeded = status.strip().lower() == "send success"
    batch.state = OutboundBatch.DONE if succeeded else OutboundBatch.FAILED
    batch.result = {"status": status, **counts}
    batch.checked_at = clock.now()
    batch.save(update_fields=["state", "result", "checked_at"])
    if not succeeded:
        OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENT).update(
            state=OutboundMessage.FAILED,
            reason_code=status[:40],
            reason=_("The platform did not send this mass message."),
        )


# WeCom's status of one customer in a mass task (B7)
_TASK_STATES: dict[int, tuple[str, str]] = {
    1: (OutboundMessage.SENT, ""),
    2: (OutboundMessage.FAILED, "not_a_friend"),
    3: (OutboundMessage.FAILED, "monthly_cap"),
}


def book_task_results(*, batch: OutboundBatch, rows: list[dict[str, Any]]) -> int:
    """Results of a WeCom mass task: confirmed by the member, not a friend, or over the month's cap."""
    reasons = {
        "": "",
        "not_a_friend": _("The customer is no contact of a member any more."),
        "monthly_cap": _("The customer has had this month's mass messages."),
    }
    outcomes: list[Outcome] = []
    waiting = dict(
        OutboundMessage.objects.filter(batch=batch, state=OutboundMessage.SENDING).values_list("to", "pk")
    )
    for row in rows:
        message_id = waiting.get(str(row.get("external_userid")))
        known = _TASK_STATES.get(int(row.get("status") or 0))
        if message_id is None or known is None:
            continue
        state, code = known
        outcomes.append(Outcome(message_id, state, code, reasons[code], batch.platform_id))
    return mark(outcomes)


def abandon_tasks(*, older_than: timedelta) -> int:
    """Members who never confirmed: after a month the customers surely got nothing."""
    limit: datetime = clock.now() - older_than
    stale = OutboundBatch.objects.filter(
        channel=OutboundMessage.WORK_MASS, state=OutboundBatch.SENT, created_at__lt=limit
    )
    count = OutboundMessage.objects.filter(batch__in=stale, state=OutboundMessage.SENDING).update(
        state=OutboundMessage.FAILED,
        lease_until=None,
        reason_code="not_confirmed",
        reason=_("The member did not confirm the mass message."),
    )
    stale.update(state=OutboundBatch.DONE)
    return count
