"""The outbox: what happened is written with the change itself, and delivered to every handler at least once.

`publish` writes one DomainEvent and one EventDelivery per subscribed handler in the caller's transaction and wakes a
worker on commit. A handler's writes and its done mark commit together, so a handler takes effect once.
"""

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

import structlog
from django.db import connection, transaction

from core import clock, statements
from core.logs import redacted
from core.models import EventDelivery
from core.wakeups import wake

log = structlog.get_logger(__name__)

Event = TypeVar("Event")
Handler = Callable[[Any], None]

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(hours=1)
KEPT = timedelta(days=30)

_handlers: dict[str, list[tuple[str, Handler, str]]] = {}  # event name → (handler name, handler, queue)
_by_name: dict[str, tuple[type, Handler]] = {}


def subscribe(event_type: type[Event], handler: Callable[[Event], None], *, queue: str = "default") -> None:
    """Register a handler, in an app's `subscriptions.py`. `queue` "fast" for what must happen within seconds.

    The handler's name is its address in the rows: renaming it loses what is pending, so keep it.
    """
    name = f"{handler.__module__}.{handler.__qualname__}"
    if name in _by_name and _by_name[name][0] is event_type:
        return
    _by_name[name] = (event_type, handler)
    _handlers.setdefault(event_name(event_type), []).append((name, handler, queue))


def event_name(event_type: type) -> str:
    """shop.events.OrderPaid → "shop.OrderPaid"."""
    return f"{event_type.__module__.split('.')[0]}.{event_type.__name__}"


_PUBLISH = """
WITH event AS (
    INSERT INTO core_domainevent (name, key, payload, occurred_at) VALUES (%s, %s, %s, %s) RETURNING id
)
INSERT INTO core_eventdelivery (event_id, handler, queue, status, attempts, next_attempt_at, last_error)
SELECT event.id, listener.handler, listener.queue, %s::text, 0, %s::timestamptz, ''
FROM event, unnest(%s::text[], %s::text[]) listener (handler, queue)
"""


def publish(*events: Any, key: str = "") -> None:
    """Write the events (frozen dataclasses of ints, strings, bools, datetimes) with the caller's transaction.

    `key` names what they are about ("order:42") for people who search. One statement per event; locks nothing.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("publish belongs into the transaction of the change that it announces")
    moment = clock.now()
    woken: set[str] = set()
    for event in events:
        name = event_name(type(event))
        handlers = _handlers.get(name, [])
        statements.rows(
            _PUBLISH,
            [
                name,
                key,
                json.dumps(_to_payload(event)),
                moment,
                EventDelivery.PENDING,
                moment,
                [handler for handler, _, _ in handlers],
                [queue for _, _, queue in handlers],
            ],
        )
        woken.update(queue for _, _, queue in handlers)
    for queue in sorted(woken):
        wake("core.tasks.deliver_events", queue, queue=queue)


_PUBLISH_MANY = """
WITH event AS (
    INSERT INTO core_domainevent (name, key, payload, occurred_at)
    SELECT %s, %s, given.payload, %s FROM unnest(%s::jsonb[]) given (payload) RETURNING id
)
INSERT INTO core_eventdelivery (event_id, handler, queue, status, attempts, next_attempt_at, last_error)
SELECT event.id, listener.handler, listener.queue, %s::text, 0, %s::timestamptz, ''
FROM event, unnest(%s::text[], %s::text[]) listener (handler, queue)
"""


def publish_many(many: Sequence[Any], *, key: str = "", batch: int = 5000) -> None:
    """Like `publish`, for any number of events of one type about one thing: one statement for each `batch`."""
    if not connection.in_atomic_block:
        raise RuntimeError("publish belongs into the transaction of the change that it announces")
    if not many:
        return
    name, handlers, queues = listeners(type(many[0]))
    moment = clock.now()
    with connection.cursor() as cursor:
        for start in range(0, len(many), batch):
            payloads = [json.dumps(_to_payload(event)) for event in many[start : start + batch]]
            cursor.execute(
                _PUBLISH_MANY,
                [name, key, moment, payloads, EventDelivery.PENDING, moment, handlers, queues],
            )
    wake_listeners(type(many[0]))


def listeners(event_type: type) -> tuple[str, list[str], list[str]]:
    """The event's name, its handlers and their queues, for SQL that writes many events in the way of `publish`."""
    handlers = _handlers.get(event_name(event_type), [])
    return event_name(event_type), [name for name, _, _ in handlers], [queue for _, _, queue in handlers]


def payload_of(event: Any) -> dict[str, Any]:
    """An event as its row keeps it, ready for JSON."""
    return _to_payload(event)


def wake_listeners(event_type: type) -> None:
    """Wake who delivers such events, once they are committed."""
    for queue in sorted({queue for _, _, queue in _handlers.get(event_name(event_type), [])}):
        wake("core.tasks.deliver_events", queue, queue=queue)


def _to_payload(event: Any) -> dict[str, Any]:
    return {
        field.name: value.isoformat()
        if isinstance(value := getattr(event, field.name), datetime | date)
        else value
        for field in dataclasses.fields(event)
    }


def _from_payload(event_type: type[Event], payload: dict[str, Any]) -> Event:
    values = {}
    for name, moment_type in _moment_types(cast("type", event_type)).items():
        if name not in payload:
            continue  # written before the field existed: its default stands
        value = payload[name]
        values[name] = moment_type.fromisoformat(value) if moment_type and value is not None else value
    return event_type(**values)


@cache
def _moment_types(event_type: type) -> dict[str, type[date] | None]:
    """Field → datetime or date when its annotation says so, None for what JSON keeps as it is."""
    hints = get_type_hints(event_type)

    def moment_type(hint: Any) -> type[date] | None:
        kinds = {hint, *get_args(hint)}
        return datetime if datetime in kinds else date if date in kinds else None

    return {field.name: moment_type(hints[field.name]) for field in dataclasses.fields(event_type)}


def deliver_due(*, queue: str | None = None, limit: int = 200) -> int:
    """Deliver what is due, one transaction per delivery; returns how many were attempted.

    Several workers may run it at once: each claims its row with SKIP LOCKED.
    """
    attempted = 0
    while attempted < limit and _deliver_one(queue):
        attempted += 1
    return attempted


def _deliver_one(queue: str | None) -> bool:
    """Claim one due delivery, then run its handler; False when nothing is due."""
    claimed = _claim(queue)
    if claimed is None:
        return False
    with transaction.atomic():
        delivery = (
            # Waits: another worker's claim may touch the row for a moment. Nobody runs it now: a running one is locked,
            # and a claim passes locked rows by.
            EventDelivery.objects.select_for_update(of=("self",))
            .select_related("event")
            .filter(pk=claimed, status=EventDelivery.PENDING)
            .first()
        )
        if delivery is None:
            return True  # given up just now, or pruned
        known = _by_name.get(delivery.handler)
        if known is None:
            _fail(delivery, f"no handler named {delivery.handler}")
            return True
        event_type, handler = known
        try:
            with transaction.atomic():
                handler(_from_payload(event_type, delivery.event.payload))
        except Exception as error:
            log.exception("event handler failed", handler=delivery.handler, event_name=delivery.event.name)
            _fail(delivery, f"{type(error).__name__}: {error}")
            return True
        EventDelivery.objects.filter(pk=claimed).update(
            status=EventDelivery.DONE, done_at=clock.now(), last_error=""
        )
        return True


def _claim(queue: str | None) -> int | None:
    """Count an attempt and set the next one, in a transaction of its own: a handler that takes its whole process
    down has then used up an attempt, and comes back later instead of standing in front of all others.
    """
    moment = clock.now()
    with transaction.atomic():
        due = EventDelivery.objects.filter(status=EventDelivery.PENDING, next_attempt_at__lte=moment)
        if queue:
            due = due.filter(queue=queue)
        row = (
            due.select_for_update(skip_locked=True)
            .order_by("next_attempt_at", "pk")
            .values_list("pk", "attempts")
            .first()
        )
        if row is None:
            return None
        pk, attempts = row
        if attempts >= MAX_ATTEMPTS:
            EventDelivery.objects.filter(pk=pk).update(
                status=EventDelivery.DEAD, last_error="its worker died in every attempt"
            )
        else:
            EventDelivery.objects.filter(pk=pk).update(
                attempts=attempts + 1, next_attempt_at=moment + backoff(attempts + 1)
            )
        return int(pk)


def _fail(delivery: EventDelivery, error: str) -> None:
    """Keep the reason; the claim has already set the next attempt. After the last one an operator decides."""
    status = EventDelivery.DEAD if delivery.attempts >= MAX_ATTEMPTS else EventDelivery.PENDING
    EventDelivery.objects.filter(pk=delivery.pk).update(status=status, last_error=redacted(error)[:2000])


def backoff(attempts: int) -> timedelta:
    """5 s, 10 s, 20 s … at most an hour, with up to a quarter of jitter so that a crowd does not return at once."""
    pause = min(FIRST_BACKOFF * 2 ** (attempts - 1), LONGEST_BACKOFF)
    return pause * (1 + random.random() / 4)


def retry(*, delivery_ids: list[int]) -> int:
    """Give dead deliveries their attempts back; returns how many. Idempotent: what is not dead stays as it is."""
    with transaction.atomic():
        revived = EventDelivery.objects.filter(pk__in=delivery_ids, status=EventDelivery.DEAD).update(
            status=EventDelivery.PENDING, attempts=0, next_attempt_at=clock.now()
        )
        queues = EventDelivery.objects.filter(pk__in=delivery_ids).values_list("queue", flat=True).distinct()
        for queue in queues:
            wake("core.tasks.deliver_events", queue, queue=queue)
    return revived


def prune(*, older_than: timedelta = KEPT, batch: int = 5000) -> int:
    """Delete what was delivered long ago, and events that nobody waits for; dead deliveries stay until someone
    decides. Returns how many rows went; run again while it returns something.
    """
    before = clock.now() - older_than
    gone = 0
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM core_eventdelivery WHERE id IN"
            " (SELECT id FROM core_eventdelivery WHERE status = %s AND done_at < %s ORDER BY id LIMIT %s)",
            [EventDelivery.DONE, before, batch],
        )
        gone += cursor.rowcount
        cursor.execute(
            "DELETE FROM core_domainevent WHERE id IN (SELECT event.id FROM core_domainevent event"
            " WHERE event.occurred_at < %s AND NOT EXISTS"
            " (SELECT FROM core_eventdelivery delivery WHERE delivery.event_id = event.id)"
            " ORDER BY event.id LIMIT %s)",
            [before, batch],
        )
        gone += cursor.rowcount
    return gone
