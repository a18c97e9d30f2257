"""Everything that changes stock. One guarded statement (`shop_move_stock`) does it, for orders and operators alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from core import clock
from shop.errors import BadQuantity, StockRefused
from shop.models import Sku, Stock, StockMovement

WAREHOUSE = "warehouse"  # the code of the store from which the mall sells
MOST_KEPT_BACK = 1_000_000


@dataclass(frozen=True)
class Move:
    """A wish to change one stock: both numbers are changes, not levels."""

    sku_id: int
    store_id: int
    on_hand: int = 0
    reserved: int = 0


def move_stock(
    moves: Sequence[Move],
    *,
    cause: str,
    reason: str,
    actor: str = "",
    note: str = "",
    order_id: int | None = None,
) -> bool:
    """Change several stocks at once, each with its movement; all or nothing. Call inside a transaction.

    False: at least one stock has not enough (or does not exist) and nothing was changed.
    Locks: stock, by SKU and store. Idempotent on: (stock, cause); a second use raises IntegrityError.
    """
    moves = _merged(moves)
    if not moves:
        return True
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT shop_move_stock(%s::bigint[], %s::bigint[], %s::int[], %s::int[], %s, %s, %s, %s, %s, %s)",
            [
                [move.sku_id for move in moves],
                [move.store_id for move in moves],
                [move.on_hand for move in moves],
                [move.reserved for move in moves],
                cause,
                reason,
                actor,
                note,
                order_id,
                clock.now(),
            ],
        )
        complete = bool(cursor.fetchone()[0] == len(moves))
        if not complete:
            transaction.set_rollback(True)
    return complete


def _merged(moves: Sequence[Move]) -> list[Move]:
    """One move per stock: an order may have a SKU on several lines, sold and given."""
    sums: dict[tuple[int, int], Move] = {}
    for move in moves:
        known = sums.get((move.sku_id, move.store_id), Move(move.sku_id, move.store_id))
        sums[move.sku_id, move.store_id] = Move(
            move.sku_id, move.store_id, known.on_hand + move.on_hand, known.reserved + move.reserved
        )
    return list(sums.values())


@transaction.atomic
def adjust_stock(
    *,
    sku_id: int,
    change: int,
    cause: str,
    store_id: int | None = None,
    reason: str = StockMovement.ADJUST,
    note: str = "",
    by: str = "",
) -> Stock:
    """Add to (or take from) what lies there. `store_id` None: the warehouse.

    Locks: stock. Idempotent on: cause; a repeat changes nothing. Raises StockRefused.
    """
    stock = _stock(sku_id, store_id)
    if change == 0 or stock.movements.filter(cause=cause).exists():
        return stock
    return _adjusted(stock, change, cause=cause, reason=reason, note=note, by=by)


@transaction.atomic
def set_stock(
    *,
    sku_id: int,
    on_hand: int,
    cause: str,
    store_id: int | None = None,
    note: str = "",
    by: str = "",
) -> Stock:
    """Say how many lie there, as counted. `store_id` None: the warehouse.

    Locks: stock. Idempotent on: cause. Raises StockRefused when open orders have reserved more than that.
    """
    stock = Stock.objects.select_for_update().get(pk=_stock(sku_id, store_id).pk)
    if on_hand == stock.on_hand or stock.movements.filter(cause=cause).exists():
        return stock
    return _adjusted(
        stock, on_hand - stock.on_hand, cause=cause, reason=StockMovement.ADJUST, note=note, by=by
    )


@transaction.atomic
def set_stocks(
    *, levels: Mapping[tuple[int, int], int], cause: str, note: str = "", by: str = ""
) -> dict[int, StockRefused]:
    """Say of several SKUs how many lie where, (sku id, store id) → pieces; returns why some SKUs stayed as they were
    in all of the stores: a SKU that orders hold more of, or that has no stock of its own.

    Locks: stock, by SKU and store. Idempotent on: cause, for each SKU and store.
    """
    skus, places = {sku_id for sku_id, _store in levels}, {store_id for _sku, store_id in levels}
    others = Sku.objects.filter(pk__in=skus).exclude(supply=Sku.STOCK).values_list("pk", flat=True)
    refused = {
        pk: StockRefused(_("Virtual goods, services and bundles have no stock of their own."))
        for pk in others
    }
    wanted = {place: level for place, level in levels.items() if place[0] not in refused}
    rows = Stock.objects.filter(store_id__in=places, sku_id__in=skus)
    known = set(rows.values_list("sku_id", "store_id"))
    Stock.objects.bulk_create(
        [
            Stock(sku_id=place[0], store_id=place[1])
            for place, level in sorted(wanted.items())
            if level and place not in known
        ],
        ignore_conflicts=True,
    )
    stocks = [
        stock
        for stock in rows.select_for_update().order_by("sku_id", "store_id")
        if (stock.sku_id, stock.store_id) in wanted
    ]
    done = set(StockMovement.objects.filter(stock__in=stocks, cause=cause).values_list("stock_id", flat=True))
    moves: list[Move] = []
    for stock in stocks:
        level = wanted[stock.sku_id, stock.store_id]
        if level == stock.on_hand or stock.pk in done:
            continue
        if level < stock.reserved:
            refused[stock.sku_id] = _refusal(stock, level - stock.on_hand)
        moves.append(Move(stock.sku_id, stock.store_id, on_hand=level - stock.on_hand))
    moves = [move for move in moves if move.sku_id not in refused]
    if not move_stock(moves, cause=cause, reason=StockMovement.ADJUST, actor=by, note=note):
        raise StockRefused(_("The stock has just changed. Please try again."))  # not while they are locked
    return refused


@transaction.atomic
def set_safety_stock(*, stock_id: int, safety: int | None) -> Stock:
    """How many pieces of a SKU a store keeps back from online orders; None: as the store says. Raises BadQuantity."""
    if safety is not None and not 0 <= safety <= MOST_KEPT_BACK:
        raise BadQuantity(_("Safety stock lies between 0 and 1,000,000."))
    Stock.objects.filter(pk=stock_id).update(safety=safety)
    return Stock.objects.get(pk=stock_id)


def _adjusted(stock: Stock, change: int, *, cause: str, reason: str, note: str, by: str) -> Stock:
    move = Move(sku_id=stock.sku_id, store_id=stock.store_id, on_hand=change)
    try:
        with transaction.atomic():
            done = move_stock([move], cause=cause, reason=reason, actor=by, note=note)
    except IntegrityError:  # the same cause, written by another process a moment ago
        done = True
    stock.refresh_from_db()
    if not done:
        raise _refusal(stock, change)
    return stock


def _refusal(stock: Stock, change: int) -> StockRefused:
    return StockRefused(
        _(
            "%(on_hand)d on hand, %(reserved)d of them reserved by orders: a change of %(change)+d is not possible."
        )
        % {"on_hand": stock.on_hand, "reserved": stock.reserved, "change": change}
    )


def refuse_without_stock(sku_ids: Iterable[int]) -> None:
    """Raises StockRefused, naming those of the SKUs that lie in no store. One statement."""
    others = Sku.objects.filter(pk__in=list(sku_ids)).exclude(supply=Sku.STOCK).order_by("code")
    if codes := list(others.values_list("code", flat=True)[:10]):
        raise StockRefused(
            _("%(codes)s: virtual goods, services and bundles have no stock of their own.")
            % {"codes": "、".join(codes)}
        )


def _stock(sku_id: int, store_id: int | None) -> Stock:
    stock, created = Stock.objects.get_or_create(sku_id=sku_id, store_id=store_id or warehouse_id())
    if created and stock.sku.supply != Sku.STOCK:
        raise StockRefused(_("Virtual goods, services and bundles have no stock of their own."))
    return stock


def warehouse_id() -> int:
    """The store from which the mall ships; made when it is missing."""
    store, _created = apps.get_model("crm", "Store").objects.get_or_create(
        code=WAREHOUSE, defaults={"name": _("Central warehouse")}
    )
    return int(store.pk)
