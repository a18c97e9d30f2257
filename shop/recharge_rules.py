"""Pure rules of stored value: which part pays, which part comes back. Fen. No Django, no clock, no database."""


def principal_part(amount: int, *, principal_fen: int, bonus_fen: int, in_proportion: bool) -> int:
    """How much of a payment the principal gives; the rest is bonus.

    In proportion to the two balances, the bonus rounded down; else principal as far as it goes. What both together do
    not have is asked of the bonus, where the ledger refuses it.
    """
    whole = principal_fen + bonus_fen
    if not in_proportion or amount >= whole:
        return min(amount, principal_fen)
    return amount - amount * bonus_fen // whole


def bonus_back(returned: int, *, spent_fen: int, bonus_fen: int) -> int:
    """How much of all that was `returned` of a payment so far belongs to its bonus; all of it at the end."""
    return returned * bonus_fen // spent_fen if spent_fen else 0


def bonus_of(principal: int, *, principal_fen: int, bonus_fen: int) -> int:
    """The bonus that a part of a recharge's principal brought, rounded up: it goes back with that part."""
    return -(-principal * bonus_fen // principal_fen) if principal_fen else 0
