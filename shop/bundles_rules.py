"""Taking a bundle apart: its parts as lines that sum to its price to the fen. No Django, no clock, no database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.money import allocate
from shop.pricing.types import Discount, QuotedLine


@dataclass(frozen=True)
class Part:
    """`quantity` pieces of a SKU in one bundle; `price_fen` is what a piece costs alone."""

    sku_id: int
    quantity: int
    price_fen: int


def taken_apart(line: QuotedLine, parts: Sequence[Part], *, title: str, place: int) -> list[QuotedLine]:
    """A priced line of bundles as lines of their parts, which cost together exactly what it costs.

    The bundle's price is shared out by what the parts cost alone; what that takes off stands as a discount of the
    step "bundle". A part shows its own price, or the share of the bundle's where that is higher. Whatever else was
    taken off the bundle is shared out by what the parts then cost, so that no part goes below nothing.
    """
    weights = [part.price_fen * part.quantity for part in parts]
    if not any(weights):
        weights = [part.quantity for part in parts]
    shares = allocate(line.unit_price_fen * line.quantity, weights)
    lines = []
    room = list(shares)
    for part, share in zip(parts, shares, strict=True):
        pieces = part.quantity * line.quantity
        unit = max(part.price_fen, -(-share // pieces))
        less = unit * pieces - share
        off = (Discount("bundle", f"bundle:{line.sku_id}", title, less),) if less else ()
        kind = "part" if line.kind == "goods" else line.kind
        lines.append(QuotedLine(part.sku_id, unit, pieces, kind, off, bundle=place))
    for discount in line.discounts:
        amounts = allocate(discount.amount_fen, room)
        for number, amount in enumerate(amounts):
            room[number] -= amount
            if amount:
                mine = replace(discount, amount_fen=amount)
                lines[number] = replace(lines[number], discounts=(*lines[number].discounts, mine))
    return lines
