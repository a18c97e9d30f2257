"""Noting how far a shopper got."""

from django.db import connection

from core import clock
from shop import logistics

STEPS = frozenset(word for word, _label in logistics.FUNNEL_STEPS)


def note_step(*, member_id: int, step: str, order_id: int | None = None, reason: str = "") -> bool:
    """Keep that she reached a step; False when it was known. Idempotent on: (member, day, step, reason), or with an
    order on (order, step, reason). One statement, so its own transaction when there is none around.
    """
    if step not in STEPS:
        raise ValueError(f"no such step of the funnel: {step}")
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shop_funnelstep (member_id, order_id, step, reason, day, at) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [member_id, order_id, step, reason[:24], clock.local(moment).date(), moment],
        )
        return bool(cursor.rowcount)
