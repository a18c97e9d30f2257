"""Goods from one store to another: taken when sent, added when counted at the other end."""

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import NotFound
from shop import rules
from shop.errors import BadQuantity, StockRefused, WrongState
from shop.models import Stock, StockMovement, Transfer, TransferLine
from shop.services.stock import Move, move_stock, refuse_without_stock

MOST_MOVED = 1_000_000


@transaction.atomic
def create_transfer(
    *, sender_id: int, receiver_id: int, lines: Iterable[tuple[int, int]], note: str = "", by: str = ""
) -> Transfer:
    """Put (sku id, pieces) together for another store; nothing moves yet.

    Raises BadQuantity, StockRefused (what lies in no store).
    """
    wanted = rules.merged_lines(lines)
    if sender_id == receiver_id:
        raise BadQuantity(_("Choose two different stores."), code="same_store")
    if not wanted or any(not 1 <= pieces <= MOST_MOVED for _sku, pieces in wanted):
        raise BadQuantity(_("Say for each SKU how many pieces go, at least one."))
    refuse_without_stock(sku_id for sku_id, _pieces in wanted)
    transfer = Transfer.objects.create(
        sender_id=sender_id,
        receiver_id=receiver_id,
        note=" ".join(note.split())[:200],
        created_by=by,
        created_at=clock.now(),
    )
    TransferLine.objects.bulk_create(
        TransferLine(transfer=transfer, sku_id=sku_id, quantity=pieces) for sku_id, pieces in wanted
    )
    return transfer


@transaction.atomic
def send_transfer(*, transfer_id: int, by: str = "") -> Transfer:
    """The goods leave the sender's shelf. Locks: the transfer, stock. Idempotent. Raises WrongState, StockRefused."""
    transfer = _locked(transfer_id)
    if transfer.state in (Transfer.SENT, Transfer.RECEIVED):
        return transfer
    _refuse_unless(transfer, Transfer.DRAFT)
    lines = list(transfer.lines.select_related("sku").order_by("sku_id"))
    if not lines:
        raise WrongState(_("There is nothing in this transfer yet."))
    moves = [Move(line.sku_id, transfer.sender_id, on_hand=-line.quantity) for line in lines]
    if not move_stock(
        moves,
        cause=f"transfer:{transfer.pk}:send",
        reason=StockMovement.TRANSFER,
        actor=by,
        note=transfer.note,
    ):
        free = {
            stock.sku_id: stock.available
            for stock in Stock.objects.filter(
                store_id=transfer.sender_id, sku_id__in=[line.sku_id for line in lines]
            )
        }
        names = [
            f"{line.sku.code} ({free.get(line.sku_id, 0)})"
            for line in lines
            if free.get(line.sku_id, 0) < line.quantity
        ]
        raise StockRefused(
            _("Nothing was sent: fewer are free than should go of %(names)s.")
            % {"names": "、".join(names[:10])}
        )
    transfer.state, transfer.sent_by, transfer.sent_at = Transfer.SENT, by, clock.now()
    transfer.save(update_fields=["state", "sent_by", "sent_at"])
    return transfer


@transaction.atomic
def receive_transfer(
    *, transfer_id: int, arrived: Mapping[int, int] | None = None, by: str = "", note: str = ""
) -> Transfer:
    """Add what arrived, sku id → pieces, to the receiver's shelf; None: everything that was sent.

    What is missing (or too much) stays as a difference on its line. Locks: the transfer, stock. Idempotent.
    Raises WrongState, BadQuantity.
    """
    transfer = _locked(transfer_id)
    if transfer.state == Transfer.RECEIVED:
        return transfer
    _refuse_unless(transfer, Transfer.SENT)
    lines = list(transfer.lines.order_by("sku_id"))
    counted = {line.sku_id: line.quantity for line in lines} if arrived is None else dict(arrived)
    if set(counted) != {line.sku_id for line in lines} or any(
        not 0 <= pieces <= MOST_MOVED for pieces in counted.values()
    ):
        raise BadQuantity(_("Say for each SKU of this transfer how many pieces arrived; 0 when none did."))
    for line in lines:
        line.received = counted[line.sku_id]
    TransferLine.objects.bulk_update(lines, ["received"])
    arriving = [line for line in lines if line.received]
    Stock.objects.bulk_create(
        [Stock(sku_id=line.sku_id, store_id=transfer.receiver_id) for line in arriving], ignore_conflicts=True
    )
    if not move_stock(
        [Move(line.sku_id, transfer.receiver_id, on_hand=line.received or 0) for line in arriving],
        cause=f"transfer:{transfer.pk}:receive",
        reason=StockMovement.TRANSFER,
        actor=by,
        note=transfer.note,
    ):
        raise RuntimeError(f"transfer {transfer.pk} could not be added to a shelf")
    transfer.state, transfer.received_by, transfer.received_at = Transfer.RECEIVED, by, clock.now()
    if note.strip():
        transfer.note = f"{transfer.note} {' '.join(note.split())}".strip()[:200]
    transfer.save(update_fields=["state", "received_by", "received_at", "note"])
    return transfer


@transaction.atomic
def cancel_transfer(*, transfer_id: int, by: str = "") -> Transfer:
    """Give up what has not been sent. Idempotent. Raises WrongState when it is on its way: then receive it."""
    transfer = _locked(transfer_id)
    if transfer.state == Transfer.CANCELLED:
        return transfer
    _refuse_unless(transfer, Transfer.DRAFT)
    transfer.state = Transfer.CANCELLED
    transfer.save(update_fields=["state"])
    return transfer


def _locked(transfer_id: int) -> Transfer:
    transfer = Transfer.objects.select_for_update().filter(pk=transfer_id).first()
    if transfer is None:
        raise NotFound(_("This transfer does not exist."))
    return transfer


def _refuse_unless(transfer: Transfer, state: str) -> None:
    if transfer.state != state:
        raise WrongState(
            _("This cannot be done with this transfer: %(state)s.") % {"state": transfer.get_state_display()}
        )
