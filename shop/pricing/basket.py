"""The cart while it is being priced: parts of lines whose net only ever falls, and what every step noted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from core.money import allocate
from shop.pricing.rules import Scope
from shop.pricing.types import Buyer, Choices, Discount, Item, Note, QuotedLine, Step


@dataclass(slots=True, eq=False)
class Part:
    """Some pieces of one SKU that share their fate: those on an offer, the others, an add-on, a gift."""

    item: Item
    quantity: int
    net_fen: int
    role: str = "goods"  # goods, add_on, gift
    offer_title: str = ""  # of an offer that shares with nothing
    promotions: dict[str, str] = field(default_factory=dict)  # group → title of the promotion that has it
    is_promoted: bool = False
    no_coupons_title: str = ""  # of a promotion that excludes coupons
    discounts: list[Discount] = field(default_factory=list)

    def worth_of(self, pieces: int) -> int:
        """What so many of its pieces cost now, rounded down."""
        return self.net_fen * pieces // self.quantity


@dataclass(slots=True)
class Basket:
    """What the steps hand on to each other."""

    buyer: Buyer
    choices: Choices
    parts: list[Part]
    notes: list[Note] = field(default_factory=list)
    offer_takes: list[tuple[int, int, int]] = field(default_factory=list)
    deposit_fen: int = 0
    coupon_ids: list[int] = field(default_factory=list)
    points_used: int = 0
    shipping_fen: int = 0
    shipping_discounts: list[Discount] = field(default_factory=list)
    _covered: dict[Scope, list[Part]] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[Item], buyer: Buyer, choices: Choices) -> Basket:
        """Equal SKUs are added up and sorted: what comes later cannot depend on the order of the cart."""
        sums: dict[int, Part] = {}
        for item in items:
            if item.quantity <= 0 or item.unit_price_fen < 0:
                raise ValueError("an item has at least one piece and no negative price")
            found = sums.get(item.sku_id)
            if found is None:
                sums[item.sku_id] = Part(item, item.quantity, item.unit_price_fen * item.quantity)
            elif found.item.unit_price_fen != item.unit_price_fen:
                raise ValueError("one SKU has one price")
            else:
                found.quantity += item.quantity
                found.net_fen += item.unit_price_fen * item.quantity
        return cls(buyer, choices, [sums[sku_id] for sku_id in sorted(sums)])

    @property
    def goods(self) -> list[Part]:
        """What was put into the cart: neither gifts nor add-ons."""
        return [part for part in self.parts if part.role == "goods"]

    def covered(self, scope: Scope) -> list[Part]:
        """The goods that a scope covers; many rules share a scope, so it is looked up once."""
        found = self._covered.get(scope)
        if found is None:
            found = self._covered[scope] = [part for part in self.goods if scope.covers(part.item)]
        return found

    def split_off(self, part: Part) -> None:
        """Take in pieces that were part of another line until now."""
        self.parts.append(part)
        self._covered.clear()

    @property
    def goods_fen(self) -> int:
        return sum(part.net_fen for part in self.parts)

    def note(
        self,
        step: Step,
        source: str,
        title: str,
        message: str,
        *,
        off: int = 0,
        applied: bool = False,
        **values: int | str,
    ) -> None:
        """Say what a rule did (`applied`, `off` fen) or why it did not; `values` fill the sentence of `message`."""
        self.notes.append(Note(step, source, title, applied, off, message, values))

    def take(self, parts: Sequence[Part], amount_fen: int, step: Step, source: str, title: str) -> None:
        """Take an amount off some parts, each by its share of what it costs now, to the fen."""
        shares = allocate(amount_fen, [part.net_fen for part in parts])
        for part, share in zip(parts, shares, strict=True):
            self.take_from(part, share, step, source, title)

    def take_from(self, part: Part, amount_fen: int, step: Step, source: str, title: str) -> None:
        if amount_fen == 0:
            return
        if not 0 < amount_fen <= part.net_fen:
            raise AssertionError("a discount takes at most what is left")
        part.net_fen -= amount_fen
        part.discounts.append(Discount(step, source, title, amount_fen))

    def add(
        self, item: Item, quantity: int, price_fen: int, role: str, step: Step, source: str, title: str
    ) -> None:
        """Put in a gift or an add-on at its own price, with what it is cheaper as a discount.

        Given by two rules it becomes one line, so it has one unit price: that of the rule that came first.
        """
        same = (one.item for one in self.parts if one.role == role and one.item.sku_id == item.sku_id)
        item = next(same, item)
        part = Part(item, quantity, item.unit_price_fen * quantity, role=role)
        self.take_from(part, part.net_fen - min(price_fen * quantity, part.net_fen), step, source, title)
        self.parts.append(part)

    def lines(self) -> tuple[QuotedLine, ...]:
        """Parts of one SKU and role become one line again; equal discounts of one rule are added up."""
        merged: dict[tuple[int, str], tuple[Part, int, dict[tuple[Step, str, str], int]]] = {}
        for part in self.parts:
            first, quantity, sums = merged.get((part.item.sku_id, part.role), (part, 0, {}))
            for one in part.discounts:
                key = (one.step, one.source, one.title)
                sums[key] = sums.get(key, 0) + one.amount_fen
            merged[part.item.sku_id, part.role] = (first, quantity + part.quantity, sums)
        order = {"goods": 0, "add_on": 1, "gift": 2}
        return tuple(
            QuotedLine(
                sku_id=sku_id,
                unit_price_fen=part.item.unit_price_fen,
                quantity=quantity,
                kind="gift" if role == "gift" else "goods",
                discounts=tuple(Discount(*key, amount) for key, amount in sums.items()),
            )
            for (sku_id, role), (part, quantity, sums) in sorted(
                merged.items(), key=lambda entry: (order[entry[0][1]], entry[0][0])
            )
        )
