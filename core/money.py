"""Money is integer fen everywhere; these only show and read it. Ratios are basis points (1/10000)."""

import re
from decimal import Decimal

_AMOUNT = re.compile(r"-?(\d{1,12}|\d{1,3}(,\d{3}){1,3})(\.\d{1,2})?")


def yuan(fen: int) -> str:
    """1234 → "12.34", for people."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100:,}.{abs(fen) % 100:02d}"


def fen_from_yuan(text: str) -> int:
    """ "12.3" → 1230, "1,299.5" → 129950. ValueError when it is not an amount with at most two decimals; "12,50" is
    none: elsewhere it is twelve and a half, and nobody means 1250.
    """
    cleaned = text.strip().removeprefix("¥")
    if not _AMOUNT.fullmatch(cleaned):
        raise ValueError(f"not an amount: {text!r}")
    return int(Decimal(cleaned.replace(",", "")) * 100)


def share_bps(fen: int, rate_bps: int) -> int:
    """`rate_bps` of an amount, rounded half up."""
    return (fen * rate_bps + 5_000) // 10_000


def allocate(total_fen: int, weights: list[int]) -> list[int]:
    """Split a total by weights to the fen: the parts always sum to the total (largest remainder).

    All weights 0 → everything on the first part. No weights → only a total of 0 can be split.
    """
    if not weights:
        if total_fen:
            raise ValueError("nothing to allocate to")
        return []
    whole = sum(weights)
    if whole == 0:
        return [total_fen, *([0] * (len(weights) - 1))]
    parts = [total_fen * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(total_fen * weights[i] % whole), i))
    for index in remainders[: total_fen - sum(parts)]:
        parts[index] += 1
    return parts
