"""Storing what platforms tell us, once, and handling it from its row."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from core import clock
from core.batching import Batcher
from core.events import backoff
from core.wakeups import wake
from wechat import handlers
from wechat.models import Notice

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 8
# About two and a half minutes: a mass sending whose worker died in the call learns its number when its lease is over.
NOT_OURS_AFTER = 6

_STORE = """
INSERT INTO wechat_notice (account_id, fingerprint, topic, sender, body, content, headers, received_at, deliveries,
    last_received_at, status, attempts, next_attempt_at, handler, error)
SELECT account_id, fingerprint, topic, sender, body, content, headers, moment, deliveries,
    moment, 'new', 0, moment, '', ''
FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::jsonb[], %s::timestamptz[],
    %s::int[]) AS told(account_id, fingerprint, topic, sender, body, content, headers, moment, deliveries)
ON CONFLICT (account_id, fingerprint) DO UPDATE
    SET deliveries = wechat_notice.deliveries + excluded.deliveries, last_received_at = excluded.last_received_at
RETURNING account_id, fingerprint::text, id, deliveries
"""


class _Told(NamedTuple):
    """One delivery, as the columns take it."""

    account_id: int
    fingerprint: str
    topic: str
    sender: str
    body: bytes
    content: str
    headers: str
    moment: datetime


def store_notice(
    *,
    account_id: int,
    fingerprint: UUID,
    topic: str,
    sender: str,
    body: bytes,
    content: str,
    headers: dict[str, str],
) -> tuple[int, bool]:
    """Keep a delivery: (row id, is it new). A repeated delivery is only counted.

    One statement, shared by the deliveries that come while another is being stored.
    """
    told = _Told(
        account_id,
        str(fingerprint),
        topic[:80],
        sender[:128],
        body,
        content.replace("\x00", ""),
        orjson.dumps(headers).decode(),
        clock.now(),
    )
    return _storing.submit(told)


def _store(told: Sequence[_Told]) -> list[tuple[int, bool]]:
    # The connection is not asked first whether it lives: that question costs as much as the statement itself. A dead
    # one (Postgres was restarted) is replaced and the statement, which may run twice, is run once more.
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return _insert(told)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        return _insert(told)


def _insert(told: Sequence[_Told]) -> list[tuple[int, bool]]:
    """Equal ones become one row, counted; in the order of their fingerprints, in which all processes lock."""
    counts = Counter((one.account_id, one.fingerprint) for one in told)
    rows = sorted({(one.account_id, one.fingerprint): one for one in reversed(told)}.items())
    columns: list[list[Any]] = [list(column) for column in zip(*(one for _key, one in rows), strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_STORE, [*columns, [counts[key] for key, _one in rows]])
        stored = {(account_id, key): (pk, count) for account_id, key, pk, count in cursor.fetchall()}
    answers = []
    for one in told:
        key = (one.account_id, one.fingerprint)
        pk, count = stored[key]
        answers.append((pk, count == counts[key]))
        counts[key] = 0  # who comes with an equal one in the same moment is not the first
    return answers


_storing: Batcher[_Told, tuple[int, bool]] = Batcher(_store)


def handle_due(*, limit: int = 200) -> int:
    """Handle waiting notices, one transaction each; several workers may do so at once. Returns how many."""
    handled = 0
    while handled < limit and _handle_one():
        handled += 1
    return handled


def _handle_one() -> bool:
    """The handler's writes, the events it publishes and the done mark commit together."""
    with transaction.atomic():
        notice = (
            Notice.objects.filter(status=Notice.NEW, next_attempt_at__lte=clock.now())
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("account")
            .order_by("next_attempt_at", "pk")
            .first()
        )
        if notice is None:
            return False
        notice.attempts += 1
        handler = handlers.find(notice)
        if handler is None:
            _finish(notice, Notice.IGNORED, error="")
            return True
        notice.handler = handler.__name__
        try:
            with transaction.atomic():
                handler(notice)
        except handlers.NotOurs as reason:
            # What it speaks of may still be on its way into our rows; after a while it never was ours.
            if notice.attempts >= NOT_OURS_AFTER:
                _finish(notice, Notice.IGNORED, error=str(reason))
            else:
                _postpone(notice, str(reason))
        except Exception as error:
            log.exception("notice not handled", notice=notice.pk, topic=notice.topic)
            if notice.attempts >= MAX_ATTEMPTS:
                _finish(notice, Notice.FAILED, error=_words(error))
            else:
                _postpone(notice, _words(error))
        else:
            _finish(notice, Notice.DONE, error="")
        return True


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _finish(notice: Notice, status: str, *, error: str) -> None:
    notice.status, notice.error, notice.handled_at = status, error, clock.now()
    notice.save(update_fields=["status", "error", "handled_at", "attempts", "handler"])


def _postpone(notice: Notice, error: str) -> None:
    notice.error = error
    notice.next_attempt_at = clock.now() + backoff(notice.attempts)
    notice.save(update_fields=["error", "next_attempt_at", "attempts", "handler"])


@transaction.atomic
def replay_notices(*, notice_ids: list[int]) -> int:
    """Handle notices again, whatever became of them; handlers make a second time harmless. Returns how many."""
    revived = Notice.objects.filter(pk__in=notice_ids).update(
        status=Notice.NEW, attempts=0, next_attempt_at=clock.now(), error=""
    )
    wake("wechat.tasks.handle_notices", queue="fast")
    return revived


def forget_old_notices(*, older_than: timedelta, limit: int = 10_000) -> int:
    """Delete handled notices that no platform repeats any more; what failed stays for people to see."""
    old = Notice.objects.filter(
        received_at__lt=clock.now() - older_than, status__in=[Notice.DONE, Notice.IGNORED]
    ).order_by("pk")[:limit]
    deleted, _ = Notice.objects.filter(pk__in=old.values("pk")).delete()
    return deleted
