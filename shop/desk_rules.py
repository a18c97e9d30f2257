"""Pure rules of what staff and shoppers may still change in an order. No Django, no clock, no database."""

from collections.abc import Sequence

MAX_SHIPPING_FEN = 1_000_000


def province_of(region: str) -> str:
    """The first word of "浙江省 杭州市 西湖区", without the ending that some leave out."""
    first = region.split()[0] if region.split() else ""
    for ending in ("特别行政区", "维吾尔自治区", "壮族自治区", "回族自治区", "自治区", "省", "市"):
        first = first.removesuffix(ending)
    return first


def lowered(totals_fen: Sequence[int], goods_fen: int) -> list[int]:
    """How much comes off each line when all of them together are to cost `goods_fen`, in proportion, to the fen.

    No line goes below zero. ValueError when that would not be lower.
    """
    whole = sum(totals_fen)
    off = whole - goods_fen
    if not 0 <= off <= whole:
        raise ValueError(f"{goods_fen} is not between 0 and {whole}")
    if whole == 0:
        return [0] * len(totals_fen)
    parts = [off * total // whole for total in totals_fen]
    by_remainder = sorted(range(len(totals_fen)), key=lambda i: (-(off * totals_fen[i] % whole), i))
    for index in by_remainder[: off - sum(parts)]:
        parts[index] += 1
    return parts
