"""The log of orders: what happened, who did it and why."""

from core import clock
from shop.models import Order, OrderLog


def write_log(order: Order, action: str, *, actor: str, user_id: int | None = None, note: str = "") -> None:
    OrderLog.objects.create(
        order_id=order.pk, action=action, actor=actor, user_id=user_id, note=note[:300], at=clock.now()
    )
