"""Rows of a catalogue file, pure: what a row wishes, why it is refused, what it would change. Money is fen.

One row is one SKU, known by its code. A column that the file does not have, and a cell that is empty, change nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import money

NEW, CHANGED, SAME, REFUSED = "new", "changed", "same", "refused"
BETWEEN = "；"  # the changes of a row
MAX_STOCK = 1_000_000
MAX_FEN = 10_000_000_00

# field → (label, the headers it is known by; the first is written on export)
COLUMNS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "product_code": (gettext_lazy("product code"), ("商品编码", "product_code", "款号")),
    "product_name": (gettext_lazy("product name"), ("商品名称", "product_name", "名称")),
    "subtitle": (gettext_lazy("selling line"), ("卖点", "subtitle")),
    "category": (gettext_lazy("category"), ("分类", "category")),
    "brand": (gettext_lazy("brand"), ("品牌", "brand")),
    "status": (gettext_lazy("status"), ("状态", "status")),
    "sku_code": (gettext_lazy("SKU code"), ("SKU编码", "sku_code", "规格编码")),
    "spec": (gettext_lazy("specification"), ("规格", "spec")),
    "price_fen": (gettext_lazy("price"), ("售价", "price")),
    "list_price_fen": (gettext_lazy("list price"), ("划线价", "list_price")),
    "cost_fen": (gettext_lazy("cost price"), ("成本价", "cost")),
    "weight_grams": (gettext_lazy("weight (g)"), ("重量(克)", "weight_grams")),
    "is_active": (gettext_lazy("for sale"), ("可售", "is_active")),
    "on_hand": (gettext_lazy("stock in the warehouse"), ("库存", "stock")),
    "on_hand_was": (gettext_lazy("stock at the export"), ("导出时库存", "stock_at_export")),
}
# The same for columns that name a store by its code or a tier by its word behind an @: 库存@hubin, 会员价@金卡.
PLACED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "stock": (gettext_lazy("stock in"), ("库存", "stock")),
    "stock_was": (gettext_lazy("stock at the export in"), ("导出时库存", "stock_at_export")),
    "tier": (gettext_lazy("member price of"), ("会员价", "member_price")),
}
STATUS_WORDS = {"draft": "草稿", "on_sale": "在售", "off": "下架"}
_YES, _NO = {"1", "是", "yes", "true", "y"}, {"0", "否", "no", "false", "n"}
_CODE = re.compile(r"[^\s\x00-\x1f][^\x00-\x1f]{0,63}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")
NONE_WORDS = ("无", "none")  # takes such a price away: an empty cell changes nothing
MAY_BE_NONE = ("list_price_fen", "cost_fen", "tier")
# What all lines of one product have to agree on.
PRODUCT_COLUMNS = ("product_code", "product_name", "subtitle", "category", "brand", "status")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one row asks for; only what its cells say. `problem` refuses the row."""

    line: int
    sku_code: str
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    old: Any
    new: Any

    @property
    def text(self) -> str:
        return f"{label(self.field)}：{shown(self.field, self.old)} → {shown(self.field, self.new)}"


def positions(header: Sequence[str]) -> dict[str, int]:
    """Which field stands in which column; headers in Chinese or English, in any order."""
    known = {name.lower(): key for key, (_label, names) in COLUMNS.items() for name in names}
    placed = {name: kind for kind, (_label, names) in PLACED.items() for name in names}
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        words = name.strip().replace("（", "(").replace("）", ")").replace("＠", "@")
        key = known.get(words.lower())
        kind, _at, whose = words.partition("@")
        if kind.strip().lower() in placed and whose.strip():
            key = f"{placed[kind.strip().lower()]}@{whose.strip()[:60]}"
        if key and key not in found:
            found[key] = place
    return found


def label(key: str) -> str:
    """A field as people call it."""
    kind, _at, whose = key.partition("@")
    return f"{PLACED[kind][0]} {whose}" if whose else str(COLUMNS[key][0])


def header_of(key: str) -> str:
    """A field as an export heads it."""
    kind, _at, whose = key.partition("@")
    return f"{PLACED[kind][1][0]}@{whose}" if whose else COLUMNS[key][1][0]


def named(keys: Iterable[str], *kinds: str) -> list[str]:
    """The stores or tiers that columns of these kinds name."""
    parts = (key.partition("@") for key in keys)
    return sorted({whose for kind, _at, whose in parts if whose and kind in kinds})


def read(line: int, row: Sequence[str], places: Mapping[str, int]) -> Wish:
    """A row of texts as a wish."""
    cells = {key: _plain(row[place]) if place < len(row) else "" for key, place in places.items()}
    code = cells.pop("sku_code", "")
    if not _CODE.fullmatch(code):
        return Wish(line, code[:64], problem=_("The SKU code is missing or too long."))
    values: dict[str, Any] = {}
    for key, text in cells.items():
        if not text:
            continue
        try:
            values[key] = _value(key, text)
        except ValueError:
            return Wish(
                line, code, problem=_("%(column)s: “%(text)s” cannot be read.")
                % {"column": label(key), "text": text[:40]},
            )  # fmt: skip
    return Wish(line, code, values)


def _plain(cell: str) -> str:
    """A cell without the apostrophe that an export puts before what looks like a formula."""
    cell = cell.strip()
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@") else cell


def _value(key: str, text: str) -> Any:
    """Raises ValueError."""
    if _CONTROL.search(text):
        raise ValueError(text)
    kind = key.partition("@")[0]
    if kind in MAY_BE_NONE and text.lower() in NONE_WORDS:
        return None
    if kind in ("price_fen", "list_price_fen", "cost_fen", "tier"):
        return _within(money.fen_from_yuan(text.replace("￥", "")), MAX_FEN)
    if kind in ("on_hand", "on_hand_was", "stock", "stock_was", "weight_grams"):
        if not re.fullmatch(r"[0-9]{1,7}", text):
            raise ValueError(text)
        return _within(int(text), MAX_STOCK)
    if key == "is_active":
        if text.lower() not in _YES | _NO:
            raise ValueError(text)
        return text.lower() in _YES
    if key == "status":
        words = {**{word: key for key, word in STATUS_WORDS.items()}, **{key: key for key in STATUS_WORDS}}
        if text not in words:
            raise ValueError(text)
        return words[text]
    if key == "spec":
        return spec_of(text)
    if (
        len(text)
        > {"product_name": 120, "subtitle": 160, "product_code": 64, "category": 200, "brand": 60}[key]
    ):
        raise ValueError(text)
    return text


def _within(number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise ValueError(number)
    return number


def spec_of(text: str) -> dict[str, str]:
    """ "颜色：雾蓝，尺码：M" → {"颜色": "雾蓝", "尺码": "M"}. Raises ValueError when it is not of this form."""
    spec: dict[str, str] = {}
    for part in re.split(r"[，,；;]", text):
        name, found, word = part.replace("：", ":").partition(":")
        if not found or not name.strip() or not word.strip() or len(name) > 20 or len(word) > 40:
            raise ValueError(text)
        spec[name.strip()] = word.strip()
    return spec


def shown(key: str, value: Any) -> str:
    """A value as the file writes it."""
    if value is None:
        return "–"
    if key.partition("@")[0] in ("price_fen", "list_price_fen", "cost_fen", "tier"):
        return money.yuan(int(value)).replace(",", "")
    if key == "is_active":
        return "是" if value else "否"
    if key == "status":
        return STATUS_WORDS.get(str(value), str(value))
    if key == "spec":
        return "，".join(f"{name}：{word}" for name, word in value.items())
    return str(value)


def differences(wish: Wish, current: Mapping[str, Any]) -> list[Change]:
    """What the wish would change of a SKU that exists; "连衣裙" alone also means "女装/裙装/连衣裙"."""
    return [
        Change(key, current.get(key), new)
        for key, new in wish.values.items()
        if current.get(key) != new and not (key == "category" and str(current.get(key)).endswith(f"/{new}"))
    ]


def settled_stock(wish: Wish, current: Mapping[str, Any] | None) -> Wish:
    """The wish without "stock at the export": who did not touch the stock in an exported file does not set it back to
    what it was then, and who did is told when it has moved meanwhile.
    """
    values = dict(wish.values)
    for before, key in exports_of(wish.values).items():
        was, level = values.pop(before), values.get(key)
        if current is not None and level == was:
            del values[key]
        elif current is not None and level is not None and current[key] not in (was, level):
            problem = _("The stock was %(was)d at the export and is %(now)d now: export again.")
            return Wish(wish.line, wish.sku_code, problem=problem % {"was": was, "now": current[key]})
    return Wish(wish.line, wish.sku_code, values, wish.problem)


def exports_of(keys: Iterable[str]) -> dict[str, str]:
    """The columns that say what a stock was at the export → the column of that stock."""
    return {
        key: "on_hand" if key == "on_hand_was" else key.replace("stock_was@", "stock@", 1)
        for key in keys
        if key == "on_hand_was" or key.startswith("stock_was@")
    }
