"""Counting many SKUs of a store, looking at the differences, and booking them once."""

from collections.abc import Iterable

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import NotFound
from shop.errors import BadQuantity, StockRefused, WrongState
from shop.models import Stock, StockMovement, Stocktake, StocktakeLine
from shop.services.stock import Move, move_stock, refuse_without_stock

MOST_COUNTED = 10_000_000


@transaction.atomic
def open_stocktake(*, store_id: int, title: str = "", by: str = "") -> Stocktake:
    """Begin a round of counting in a store. Several may be open; each SKU's difference is booked by its own round."""
    return Stocktake.objects.create(
        store_id=store_id, title=" ".join(title.split())[:80], opened_by=by, opened_at=clock.now()
    )


@transaction.atomic
def count_skus(*, stocktake_id: int, counts: Iterable[tuple[int, int]], by: str = "") -> int:
    """Note (sku id, pieces counted); a SKU counted before is counted anew. Returns how many SKUs.

    What the book says at this moment is kept beside the count. Locks: the stock-taking.
    Raises WrongState (booked or cancelled), BadQuantity, StockRefused (what lies in no store).
    """
    stocktake = _open(stocktake_id)
    wanted = dict(counts)
    refuse_without_stock(wanted)
    if any(not 0 <= count <= MOST_COUNTED for count in wanted.values()):
        raise BadQuantity(_("A count lies between 0 and 10,000,000."))
    book = dict(
        Stock.objects.filter(store_id=stocktake.store_id, sku_id__in=wanted).values_list("sku_id", "on_hand")
    )
    moment = clock.now()
    StocktakeLine.objects.bulk_create(
        [
            StocktakeLine(
                stocktake=stocktake,
                sku_id=sku_id,
                on_hand=book.get(sku_id, 0),
                counted=count,
                counted_by=by,
                counted_at=moment,
            )
            for sku_id, count in sorted(wanted.items())
        ],
        update_conflicts=True,
        unique_fields=["stocktake", "sku"],
        update_fields=["on_hand", "counted", "counted_by", "counted_at"],
    )
    return len(wanted)


@transaction.atomic
def book_stocktake(*, stocktake_id: int, by: str = "") -> Stocktake:
    """Move the differences, all or nothing, and close the round.

    The differences, not the counts: what was sold between counting and booking stays sold. Locks: the stock-taking,
    stock. Idempotent: a booked round stays. Raises WrongState, StockRefused (naming what orders have reserved).
    """
    stocktake = _locked(stocktake_id)
    if stocktake.state == Stocktake.BOOKED:
        return stocktake
    _refuse_unless_open(stocktake)
    lines = [line for line in stocktake.lines.select_related("sku").order_by("sku_id") if line.difference]
    known = set(
        Stock.objects.filter(
            store_id=stocktake.store_id, sku_id__in=[line.sku_id for line in lines]
        ).values_list("sku_id", flat=True)
    )
    Stock.objects.bulk_create(
        [
            Stock(sku_id=line.sku_id, store_id=stocktake.store_id)
            for line in lines
            if line.sku_id not in known
        ],
        ignore_conflicts=True,
    )
    done = move_stock(
        [Move(line.sku_id, stocktake.store_id, on_hand=line.difference) for line in lines],
        cause=f"stocktake:{stocktake.pk}",
        reason=StockMovement.ADJUST,
        actor=by,
        note=str(stocktake),
    )
    if not done:
        raise StockRefused(_refusal(stocktake, lines))
    stocktake.state, stocktake.closed_by, stocktake.closed_at = Stocktake.BOOKED, by, clock.now()
    stocktake.save(update_fields=["state", "closed_by", "closed_at"])
    return stocktake


def _refusal(stocktake: Stocktake, lines: list[StocktakeLine]) -> str:
    changes = {line.sku_id: line for line in lines}
    stocks = Stock.objects.filter(store_id=stocktake.store_id, sku_id__in=changes).order_by("sku_id")
    names = [
        f"{changes[stock.sku_id].sku.code} ({stock.reserved})"
        for stock in stocks
        if stock.on_hand + changes[stock.sku_id].difference < stock.reserved
    ]
    return _(
        "Nothing was booked: open orders have reserved more than was counted of %(names)s. "
        "Count again, or settle those orders first."
    ) % {"names": "、".join(names[:10])}


@transaction.atomic
def cancel_stocktake(*, stocktake_id: int, by: str = "") -> Stocktake:
    """Give a round up; nothing is booked. Idempotent. Raises WrongState when it is booked."""
    stocktake = _locked(stocktake_id)
    if stocktake.state == Stocktake.CANCELLED:
        return stocktake
    _refuse_unless_open(stocktake)
    stocktake.state, stocktake.closed_by, stocktake.closed_at = Stocktake.CANCELLED, by, clock.now()
    stocktake.save(update_fields=["state", "closed_by", "closed_at"])
    return stocktake


def _open(stocktake_id: int) -> Stocktake:
    stocktake = _locked(stocktake_id)
    _refuse_unless_open(stocktake)
    return stocktake


def _locked(stocktake_id: int) -> Stocktake:
    stocktake = Stocktake.objects.select_for_update().filter(pk=stocktake_id).first()
    if stocktake is None:
        raise NotFound(_("This stock-taking does not exist."))
    return stocktake


def _refuse_unless_open(stocktake: Stocktake) -> None:
    if stocktake.state != Stocktake.OPEN:
        raise WrongState(
            _("This stock-taking is closed: %(state)s.") % {"state": stocktake.get_state_display()}
        )
