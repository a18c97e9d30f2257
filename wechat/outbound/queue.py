"""Putting messages into the queue: inside the caller's transaction, one row per message, woken after commit."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson
from django.db import connection
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.wakeups import wake
from wechat import rules
from wechat.models import OutboundBody, OutboundMessage

CHANNELS = {channel for channel, _label in OutboundMessage.CHANNELS}
SEND_TASK = "wechat.tasks.send_outbound"
URGENT_TASK = "wechat.tasks.send_urgent"


class BadContent(Refusal):
    """The content cannot be sent on this channel."""

    code = "bad_content"


def make_body(*, content: dict[str, Any]) -> int:
    """Keep a content (shapes in wechat.services); raises BadContent. Returns its id for the messages that say it."""
    fault = rules.content_fault(content)
    if fault:
        raise BadContent(_fault_words(fault), code=fault)
    return OutboundBody.objects.create(content=content, created_at=clock.now()).pk


def _fault_words(fault: str) -> str:
    return {
        "unknown_kind": _("A message is a text, a link or a template."),
        "empty_text": _("The message has no text."),
        "link_incomplete": _("A link needs a title and an address."),
        "template_incomplete": _("A template message needs its template id and its fields."),
    }[fault]


def _check_channel(channel: str) -> None:
    if channel not in CHANNELS:
        raise BadContent(
            _("There is no channel named %(channel)s.") % {"channel": channel}, code="unknown_channel"
        )


def enqueue_message(
    *,
    account_id: int,
    channel: str,
    to: str,
    body: dict[str, Any],
    origin: str,
    origin_id: int,
    dedupe_key: str = "",
    queue: str = "default",
    variables: dict[str, Any] | None = None,
) -> int:
    """Queue one message and return its id; `queue` "fast" sends it within a second.

    `to` is an openid, an external_userid (work_mass) or a welcome code (welcome, which lives 20 seconds).
    Idempotent on: (origin, origin_id) and `dedupe_key`; the message of the first call is returned.
    """
    _check_channel(channel)
    found = _existing(origin, origin_id, dedupe_key)
    if found:
        return found
    moment = clock.now()
    row = OutboundMessage(
        account_id=account_id,
        channel=channel,
        to=to,
        body_id=make_body(content=body),
        vars=variables,
        origin=origin,
        origin_id=origin_id,
        dedupe_key=dedupe_key or None,
        is_urgent=queue == "fast",
        next_attempt_at=moment,
        created_at=moment,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO wechat_outboundmessage ({_COLUMNS}) VALUES ({', '.join(['%s'] * 18)})"  # noqa: S608
            " ON CONFLICT DO NOTHING RETURNING id",
            [
                *(row.account_id, row.body_id, row.channel, row.to),
                None if row.vars is None else orjson.dumps(row.vars).decode(),
                *(row.origin, row.origin_id, row.dedupe_key, row.state, row.is_urgent, 0),
                *(row.next_attempt_at, "", "", "", row.created_at, None, None),
            ],
        )
        inserted = cursor.fetchone()
    if inserted is None:  # somebody queued the same a moment ago
        OutboundBody.objects.filter(pk=row.body_id).delete()
        return _existing(origin, origin_id, dedupe_key)
    wake(URGENT_TASK if row.is_urgent else SEND_TASK, queue="fast" if row.is_urgent else "bulk")
    return int(inserted[0])


def _existing(origin: str, origin_id: int, dedupe_key: str) -> int:
    same = OutboundMessage.objects.filter(origin=origin, origin_id=origin_id)
    if dedupe_key:
        same = same | OutboundMessage.objects.filter(dedupe_key=dedupe_key)
    return same.values_list("pk", flat=True).first() or 0


_COLUMNS = (
    "account_id, body_id, channel, recipient, vars, origin, origin_id, dedupe_key, state, is_urgent, attempts,"
    " next_attempt_at, reason_code, reason, platform_id, created_at, lease_until, sent_at"
)
# One statement for any number of rows; what differs per message comes from `s(recipient, origin_id, vars)`.
_INSERT_SELECT = f"""
INSERT INTO wechat_outboundmessage ({_COLUMNS})
SELECT %(account_id)s, %(body_id)s, %(channel)s, s.recipient, s.vars, %(origin)s, s.origin_id, NULL, 'pending',
    false, 0, %(moment)s, '', '', '', %(moment)s, NULL, NULL
FROM ({{source}}) AS s(recipient, origin_id, vars)
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants of this page
PAGE_ROWS = 10_000


def enqueue_messages(
    *,
    account_id: int,
    channel: str,
    body_id: int,
    rows: Iterable[tuple[str, int] | tuple[str, int, dict[str, Any] | None]],
    origin: str,
) -> int:
    """Queue many messages with one content: rows of (to, origin_id) or (to, origin_id, variables).

    Idempotent on: (origin, origin_id). Returns how many are new.
    """
    source = "SELECT * FROM unnest(%(recipients)s::text[], %(origin_ids)s::bigint[], %(variables)s::jsonb[])"
    added = 0
    for page in _pages(rows):
        added += _insert(
            source,
            {
                "recipients": [row[0] for row in page],
                "origin_ids": [row[1] for row in page],
                "variables": [
                    orjson.dumps(row[2]).decode() if len(row) > 2 and row[2] is not None else None
                    for row in page
                ],
            },
            account_id=account_id,
            channel=channel,
            body_id=body_id,
            origin=origin,
        )
    return added


def enqueue_from_select(
    *, account_id: int, channel: str, body_id: int, origin: str, sql: str, params: dict[str, Any]
) -> int:
    """Queue what a SELECT of (to, origin_id) or (to, origin_id, variables) gives, in one INSERT … SELECT.

    `params` are named (`%(name)s`); a third column is jsonb. Idempotent on: (origin, origin_id).
    Returns how many are new.
    """
    with connection.cursor() as cursor:
        # Two columns or three: ask the planner, not the caller.
        cursor.execute(f"SELECT * FROM ({sql}) AS s LIMIT 0", params)  # noqa: S608 - the caller's own statement
        columns = len(cursor.description)
    source = sql if columns == 3 else f"SELECT t.*, NULL::jsonb FROM ({sql}) AS t"  # noqa: S608 - as above
    return _insert(source, params, account_id=account_id, channel=channel, body_id=body_id, origin=origin)


def _insert(
    source: str, params: dict[str, Any], *, account_id: int, channel: str, body_id: int, origin: str
) -> int:
    _check_channel(channel)
    constants: dict[str, Any] = {
        "account_id": account_id,
        "channel": channel,
        "body_id": body_id,
        "origin": origin,
        "moment": clock.now(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_SELECT.format(source=source), {**params, **constants})
        added: int = cursor.rowcount
    if added:
        wake(SEND_TASK, queue="bulk")
    return added


def _pages(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while page := list(islice(iterator, PAGE_ROWS)):
        yield page


def hold_messages(*, origin: str) -> int:
    """Keep an origin's waiting messages back until they are released; what is on its way goes on."""
    return OutboundMessage.objects.filter(origin=origin, state=OutboundMessage.PENDING).update(
        state=OutboundMessage.HELD
    )


def release_messages(*, origin: str) -> int:
    """Let held messages go."""
    released = OutboundMessage.objects.filter(origin=origin, state=OutboundMessage.HELD).update(
        state=OutboundMessage.PENDING, next_attempt_at=clock.now()
    )
    if released:
        wake(SEND_TASK, queue="bulk")
    return released


def cancel_messages(*, origin: str) -> int:
    """Give an origin's waiting and held messages up; what is on its way goes on."""
    waiting = [OutboundMessage.PENDING, OutboundMessage.HELD]
    return OutboundMessage.objects.filter(origin=origin, state__in=waiting).update(
        state=OutboundMessage.CANCELLED
    )


def retry_messages(*, message_ids: list[int]) -> int:
    """An operator decided that these failed or unknown messages go out (again). Returns how many."""
    final = [OutboundMessage.FAILED, OutboundMessage.UNKNOWN]
    revived = OutboundMessage.objects.filter(pk__in=message_ids, state__in=final).update(
        state=OutboundMessage.PENDING,
        attempts=0,
        next_attempt_at=clock.now(),
        reason_code="",
        reason="",
        batch=None,
        platform_id="",
    )
    if revived:
        wake(SEND_TASK, queue="bulk")
    return revived
