"""Pure rules of after-sales: what a piece is worth when it comes back, which state may follow which, until when.

No Django, no clock, no database. Amounts are integer fen.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

REFUND_ONLY, RETURN_REFUND = "refund_only", "return_refund"
EXCHANGE, PRICE_PROTECTION = "exchange", "price_protection"
KINDS = (REFUND_ONLY, RETURN_REFUND, EXCHANGE, PRICE_PROTECTION)
WITH_RETURN = (RETURN_REFUND, EXCHANGE)

APPLIED, APPROVED, REFUSED = "applied", "approved", "refused"
RETURNED, RECEIVED = "returned", "received"
REFUNDING, REFUNDED, EXCHANGED, CLOSED = "refunding", "refunded", "exchanged", "closed"

# Which state may follow which. Refunding → approved or received: WeChat refused the refund, it is asked for anew.
TRANSITIONS: dict[str, frozenset[str]] = {
    APPLIED: frozenset({APPROVED, REFUSED, CLOSED}),
    APPROVED: frozenset({RETURNED, REFUNDING, CLOSED}),
    RETURNED: frozenset({RECEIVED, REFUSED}),
    RECEIVED: frozenset({REFUNDING, EXCHANGED}),
    REFUNDING: frozenset({REFUNDED, APPROVED, RECEIVED}),
    REFUSED: frozenset(),
    REFUNDED: frozenset(),
    EXCHANGED: frozenset(),
    CLOSED: frozenset(),
}
STATUSES = tuple(TRANSITIONS)
PROMISED = (APPROVED, RETURNED, RECEIVED)  # what is given in exchange is reserved
CAME_BACK = (REFUNDED, EXCHANGED)  # with a return: the goods are the shop's again
OVER = tuple(status for status, following in TRANSITIONS.items() if not following)

ANSWER_TIME = timedelta(hours=48)  # the shop answers an application, or it counts as approved
RETURN_TIME = timedelta(days=7)  # the shopper hands the parcel in, or the application is closed
INSPECTION_TIME = timedelta(days=10)  # the shop looks into the parcel, or the money goes back all the same
APPLY_WITHIN = timedelta(days=15)  # after the parcel was received
PROTECTION_TIME = timedelta(days=7)  # after payment
REVIEW_AFTER = timedelta(days=7)  # after receipt the order asks for a review

MAX_PHOTOS = 6
MAX_PHOTO_BYTES = 10 * 1024 * 1024
MAX_DESCRIPTION = 500


def may_become(old: str, new: str) -> bool:
    return new in TRANSITIONS[old]


def due_at(kind: str, status: str, at: datetime) -> datetime | None:
    """When the next step happens by itself; None: it waits for a person or for WeChat."""
    if status == APPLIED:
        return at + ANSWER_TIME
    if status == APPROVED and kind in WITH_RETURN:
        return at + RETURN_TIME
    if status == RETURNED and kind == RETURN_REFUND:
        return at + INSPECTION_TIME
    return None


def approves_itself(kind: str, *, is_shipped: bool) -> bool:
    """May an application be approved because nobody answered? Never money for goods that are gone and do not return."""
    return kind != REFUND_ONLY or not is_shipped


def share_fen(
    *, total_fen: int, quantity: int, refunded_fen: int, refunded_quantity: int, returning: int
) -> int:
    """What `returning` more pieces of a line give back, of a line that cost `total_fen` for `quantity` pieces.

    Their part of what is left, rounded down; the last piece takes all that is left. So pieces returned in any
    portions, with any money given back in between, sum to exactly what the line cost, and no portion is negative.
    """
    left, left_fen = quantity - refunded_quantity, total_fen - refunded_fen
    if not 0 <= returning <= left or left_fen < 0:
        raise ValueError(f"{returning} of {left} pieces, {left_fen} fen left")
    return left_fen * returning // left if returning else 0


def held_pieces(sku_id: int, quantity: int, steps: Sequence[tuple[int, int, int | None]]) -> dict[int, int]:
    """SKU → pieces of it that a buyer holds of a line, after (SKU that came back, pieces, SKU given for it) each."""
    held = {sku_id: quantity}
    for back, pieces, given in steps:
        held[back] = held.get(back, 0) - pieces
        if given is not None:
            held[given] = held.get(given, 0) + pieces
    return {sku: count for sku, count in held.items() if count > 0}


def protection_fen(
    *, total_fen: int, quantity: int, refunded_fen: int, refunded_quantity: int, price_now_fen: int
) -> int:
    """What a price that has fallen since gives back for the pieces that are kept; 0 when it has not fallen.

    Never everything: a line that is worth something keeps at least a fen until its goods come back.
    """
    left_fen = total_fen - refunded_fen
    return max(0, min(left_fen - price_now_fen * (quantity - refunded_quantity), left_fen - 1))


def parcel_numbers(text: str) -> str:
    """One number, or several with commas of whatever kind between them, as they are shown: "SF1、SF2"."""
    parts = re.split("[,，、;；]", "".join(text.split()))
    return "、".join(dict.fromkeys(part for part in parts if part))


def poured(amount_fen: int, rooms: Sequence[int]) -> list[int]:
    """Take an amount from several sources in their order, from each at most what it has. ValueError: not enough."""
    taken = []
    for room in rooms:
        part = min(max(room, 0), amount_fen)
        taken.append(part)
        amount_fen -= part
    if amount_fen:
        raise ValueError(f"{amount_fen} fen more than there is")
    return taken
