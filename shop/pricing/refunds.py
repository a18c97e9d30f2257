"""What pieces of a line are worth when they come back: any sequence of returns gives exactly what was paid."""


def returned_fen(total_fen: int, quantity: int, *, before: int, pieces: int) -> int:
    """What `pieces` of a line bring that cost `total_fen` for `quantity`, when `before` of them came back already.

    Counted from the line's beginning and subtracted, so the parts always sum to the whole. ValueError when more come
    back than were bought.
    """
    if quantity < 1 or before < 0 or pieces < 0 or before + pieces > quantity:
        raise ValueError("no more pieces come back than were bought")
    return total_fen * (before + pieces) // quantity - total_fen * before // quantity
