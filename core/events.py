"""The outbox: what happened is written with the change itself, and delivered to every handler at least once.

`publish` writes one DomainEvent and one EventDelivery per subscribed handler in the caller's transaction and wakes a
worker on commit. A handler's writes and its done mark commit together, so a handler takes effect once.
"""

import dataclasses
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import structlog
from django.db import connection, transaction

from core import clock
from core.models import DomainEvent, EventDelivery
from core.wakeups import wake

log = structlog.get_logger(__name__)

Event = TypeVar("Event")
Handler = Callable[[Any], None]

MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(hours=1)

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


def publish(*events: Any, key: str = "") -> None:
    """Write the events (frozen dataclasses of ints, strings, bools, datetimes) with the caller's transaction.

    `key` names what they are about ("order:42") for people who search. Locks nothing.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("publish belongs into the transaction of the change that it announces")
    moment = clock.now()
    rows = DomainEvent.objects.bulk_create(
        DomainEvent(name=event_name(type(event)), key=key, payload=_to_payload(event), occurred_at=moment)
        for event in events
    )
    deliveries = [
        EventDelivery(event=row, handler=name, queue=queue, next_attempt_at=moment)
        for row in rows
        for name, _, queue in _handlers.get(row.name, [])
    ]
    if not deliveries:
        return
    EventDelivery.objects.bulk_create(deliveries)
    for queue in {delivery.queue for delivery in deliveries}:
        wake("core.tasks.deliver_events", queue=queue)


def _to_payload(event: Any) -> dict[str, Any]:
    return {
        field.name: value.isoformat()
        if isinstance(value := getattr(event, field.name), datetime | date)
        else value
        for field in dataclasses.fields(event)
    }


def _from_payload(event_type: type[Event], payload: dict[str, Any]) -> Event:
    values = {}
    for field in dataclasses.fields(event_type):  # type: ignore[arg-type]
        if field.name not in payload:
            continue  # written before the field existed: its default stands
        value = payload[field.name]
        if value is not None and "datetime" in str(field.type):
            value = datetime.fromisoformat(value)
        elif value is not None and "date" in str(field.type):
            value = date.fromisoformat(value)
        elif isinstance(value, list):
            value = tuple(value)
        values[field.name] = value
    return event_type(**values)


def deliver_due(*, queue: str | None = None, limit: int = 200) -> int:
    """Deliver what is due, one transaction per delivery; returns how many were attempted.

    Several workers may run it at once: each claims its row with SKIP LOCKED.
    """
    attempted = 0
    while attempted < limit and _deliver_one(queue):
        attempted += 1
    return attempted


def _deliver_one(queue: str | None) -> bool:
    with transaction.atomic():
        due = EventDelivery.objects.filter(status=EventDelivery.PENDING, next_attempt_at__lte=clock.now())
        if queue:
            due = due.filter(queue=queue)
        delivery = (
            due.select_for_update(skip_locked=True, of=("self",))
            .select_related("event")
            .order_by("next_attempt_at", "pk")
            .first()
        )
        if delivery is None:
            return False
        delivery.attempts += 1
        known = _by_name.get(delivery.handler)
        if known is None:
            _postpone(delivery, f"no handler named {delivery.handler}")
            return True
        event_type, handler = known
        try:
            with transaction.atomic():
                handler(_from_payload(event_type, delivery.event.payload))
        except Exception as error:
            log.exception("event handler failed", handler=delivery.handler, event=delivery.event.name)
            _postpone(delivery, f"{type(error).__name__}: {error}")
            return True
        delivery.status = EventDelivery.DONE
        delivery.done_at = clock.now()
        delivery.last_error = ""
        delivery.save(update_fields=["status", "attempts", "done_at", "last_error"])
        return True


def _postpone(delivery: EventDelivery, error: str) -> None:
    delivery.last_error = error[:2000]
    if delivery.attempts >= MAX_ATTEMPTS:
        delivery.status = EventDelivery.DEAD
    else:
        delivery.next_attempt_at = clock.now() + backoff(delivery.attempts)
    delivery.save(update_fields=["status", "attempts", "next_attempt_at", "last_error"])


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
        wake("core.tasks.deliver_events", queue="fast")
        wake("core.tasks.deliver_events", queue="default")
    return revived
