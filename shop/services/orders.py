"""An order before it is paid, and what it has reserved; `services.fulfilment` lets the goods leave the shelf."""

from collections.abc import Iterable

from django.apps import apps
from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.events import publish
from core.locks import lock_row, lock_rows
from shop.errors import NoSuchOrder, WrongState
from shop.events import OrderCancelled
from shop.models import Fulfilment, Order, OrderLine, Payment, StockMovement
from shop.services.effects import has_effects, undo_effects
from shop.services.limits import take_limits
from shop.services.order_log import write_log
from shop.services.presale import settle_deposit
from shop.services.stock import Move, move_stock
from shop.services.tenders import release_tenders_of
from shop.services.virtual import free_pieces, take_pieces_again


@transaction.atomic
def release_order(
    *, order_id: int, reason: str, actor: str, user_id: int | None = None, returns_deposit: bool = False
) -> Order:
    """Cancel an unpaid order and give back what it took; every payment of it must be closed at WeChat already.

    A paid deposit is kept or returned as was agreed to; `returns_deposit`: in any case returned.
    Locks: order, stock, coupons, offers, points, tallies, ledger accounts. Idempotent: a cancelled order stays.
    Publishes: OrderCancelled. Raises WrongState when it is not waiting for payment any more, or when a payment is still
    open (one was started a moment ago).
    """
    order = lock_row(Order.objects.filter(pk=order_id))
    if order is None:
        raise NoSuchOrder(_("This order does not exist."))
    if order.status == Order.CANCELLED:
        return order
    if order.status != Order.PENDING_PAYMENT:
        raise WrongState(_("This order is paid and cannot be cancelled any more."))
    # Read after the lock: a payment started meanwhile must be seen, or its money would come for released goods.
    if Payment.objects.filter(order_id=order_id, status=Payment.OPEN, kind__in=Payment.WECHAT).exists():
        raise WrongState(
            _("A payment of this order is under way. Please try again in a moment."), code="payment_open"
        )
    moment = clock.now()
    order.status, order.cancelled_at, order.cancel_reason, order.due_at = (
        Order.CANCELLED, moment, reason[:200], None
    )  # fmt: skip
    order.save(update_fields=["status", "cancelled_at", "cancel_reason", "due_at"])
    free_pieces(order)
    unreserve(order, cause="release", actor=actor)
    undo_effects(order, cause="release")
    write_log(order, "cancelled", actor=actor, user_id=user_id, note=reason)
    if order.member_id:
        publish(
            OrderCancelled(order_id=order.pk, member_id=order.member_id, reason=reason[:200], at=moment),
            key=f"order:{order.pk}",
        )
    release_tenders_of(order.pk, member_id=order.member_id)
    if order.deposit_paid_at is not None:
        settle_deposit(order, actor=actor, user_id=user_id, returns=returns_deposit)
    return order


def reserve_again(order: Order, *, cause: str, actor: str) -> bool:
    """Reserve the lines of an order once more; False when something is sold out, then nothing is reserved.

    Also False when its price rested on a presale, a coupon, an offer or points: they went back and may be used
    elsewhere since; and when she has bought as many elsewhere as its limit allows.
    """
    if order.deposit_fen or has_effects(order):
        return False
    lines = list(OrderLine.objects.filter(order_id=order.pk, store_id__isnull=False).order_by("sku_id"))
    with transaction.atomic():
        is_reserved = (
            take_pieces_again(order)
            and move_stock(
                moves_of(lines, reserved=1),
                cause=f"order:{order.pk}:{cause}",
                reason=StockMovement.RESERVE,
                actor=actor,
                order_id=order.pk,
            )
            and _counts_again(order)
        )
        if not is_reserved:
            transaction.set_rollback(True)
    return is_reserved


def _counts_again(order: Order) -> bool:
    """Against her limits. What follows books the payment: her numbers are locked before the tallies."""
    lock_rows(apps.get_model("crm", "MemberStats").objects.filter(member_id=order.member_id or 0))
    return take_limits(order)


def unreserve(order: Order, *, cause: str, actor: str) -> None:
    """Give back what the order still has reserved; what has not left any store is not to leave any more.

    Call once per order, under its lock.
    """
    lines = held_lines(order)
    Fulfilment.objects.filter(order_id=order.pk, state__in=Fulfilment.OPEN).update(
        state=Fulfilment.CANCELLED, due_at=None
    )
    released = move_stock(
        moves_of(lines, reserved=-1),
        cause=f"order:{order.pk}:{cause}",
        reason=StockMovement.RELEASE,
        actor=actor,
        order_id=order.pk,
    )
    if not released:
        raise RuntimeError(f"order {order.pk} had less reserved than its lines say")


def held_lines(order: Order) -> list[OrderLine]:
    """The lines of an unpaid or paid order whose goods are still reserved: their store has not sent them off."""
    gone = Fulfilment.objects.filter(order_id=order.pk, state__in=Fulfilment.GONE).values("store_id")
    lines = OrderLine.objects.filter(order_id=order.pk, store_id__isnull=False).exclude(store_id__in=gone)
    return list(lines.order_by("sku_id", "store_id", "pk"))


def moves_of(lines: Iterable[OrderLine], *, on_hand: int = 0, reserved: int = 0) -> list[Move]:
    """One move per SKU and store, as often as its lines have pieces that did not go back.

    A gift may lie beside goods of the same SKU.
    """
    pieces: dict[tuple[int, int], int] = {}
    for line in lines:
        if line.store_id is not None:
            key = (line.sku_id, line.store_id)
            pieces[key] = pieces.get(key, 0) + line.quantity - line.refunded_quantity
    return [
        Move(sku_id, store_id, on_hand=on_hand * count, reserved=reserved * count)
        for (sku_id, store_id), count in pieces.items()
        if count
    ]
