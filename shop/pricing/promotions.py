"""The third step: promotions, by priority; within a mutual-exclusion group the one that is worth most goes first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from core.money import allocate, share_bps
from shop.pricing.basket import Basket, Part
from shop.pricing.rules import Extra, PromotionRule, is_open


@dataclass(slots=True)
class Effect:
    """What a rule would do now: amounts off parts, things added; or the message that says why not."""

    refusal: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    cuts: list[tuple[Part, int]] = field(default_factory=list)
    shared_fen: int = 0  # to be spread over `parts`
    parts: list[Part] = field(default_factory=list)
    extras: list[tuple[Extra, int]] = field(default_factory=list)
    message: str = "promotion_taken"
    higher: tuple[str, dict[str, Any]] | None = None  # what the next level would take, as message and values

    @property
    def worth_fen(self) -> int:
        added = sum((one.item.unit_price_fen - one.price_fen) * pieces for one, pieces in self.extras)
        return self.shared_fen + sum(off for _part, off in self.cuts) + added


def take_promotions(basket: Basket, promotions: Iterable[PromotionRule], at: datetime) -> None:
    ordered = sorted(promotions, key=lambda rule: (-rule.priority, rule.group, rule.id))
    for (_priority, group), rivals in groupby(ordered, key=lambda rule: (rule.priority, rule.group)):
        if group:
            _take_best_first(basket, list(rivals), at)
        else:
            for rule in rivals:
                _settle(basket, rule, _effect(basket, rule, at))


def _take_best_first(basket: Basket, rivals: list[PromotionRule], at: datetime) -> None:
    """The best of a group takes its lines; the next may have what lines it left."""
    waiting = {rule.id: (rule, _effect(basket, rule, at)) for rule in rivals}
    for rule, effect in list(waiting.values()):
        if effect.refusal:
            _settle(basket, rule, effect)
            del waiting[rule.id]
    while waiting:
        rule, effect = min(waiting.values(), key=lambda entry: (-entry[1].worth_fen, entry[0].id))
        del waiting[rule.id]
        _settle(basket, rule, effect)
        for other, _before in list(waiting.values()):
            again = _effect(basket, other, at)
            if again.refusal:  # it could have been had, were it not for the better one
                del waiting[other.id]
                basket.note("promotion", other.source, other.title, "not_with_promotion", other=rule.title)
            else:
                waiting[other.id] = (other, again)


def _settle(basket: Basket, rule: PromotionRule, effect: Effect) -> None:
    if effect.refusal:
        refused: dict[str, Any] = effect.values
        basket.note("promotion", rule.source, rule.title, effect.refusal, **refused)
        return
    worth = effect.worth_fen
    if effect.shared_fen:
        basket.take(effect.parts, effect.shared_fen, "promotion", rule.source, rule.title)
    for part, off in effect.cuts:
        basket.take_from(part, off, "promotion", rule.source, rule.title)
    for part in effect.parts:
        part.is_promoted = True
        if rule.group:
            part.promotions[rule.group] = rule.title
        if not rule.with_coupons:
            part.no_coupons_title = rule.title
    for extra, pieces in effect.extras:
        role = "gift" if rule.kind == "gift" else "add_on"
        basket.add(extra.item, pieces, extra.price_fen, role, "promotion", rule.source, rule.title)
    basket.note(
        "promotion",
        rule.source,
        rule.title,
        effect.message,
        off=worth,
        applied=True,
        **{"off_fen": worth, **effect.values},
    )
    if effect.higher is not None:
        message, promised = effect.higher
        basket.note("promotion", rule.source, rule.title, message, **promised)


def _effect(basket: Basket, rule: PromotionRule, at: datetime) -> Effect:
    if not is_open(rule, at):
        return Effect("not_open")
    if rule.only_new and not basket.buyer.is_new:
        return Effect("only_new")
    if not rule.is_for(basket.buyer):
        return Effect("other_tier")
    if rule.kind == "bundle":
        return _bundle(basket, rule)
    covered = basket.covered(rule.scope)
    if not covered:
        return Effect("not_in_scope")
    parts = [part for part in covered if rule.with_offers or not part.offer_title]
    if not parts:
        return Effect("not_with_offer", {"other": covered[0].offer_title})
    free = [part for part in parts if not rule.group or rule.group not in part.promotions]
    if not free:
        return Effect("not_with_promotion", {"other": parts[0].promotions[rule.group]})
    return _reached(basket, rule, free)


def _reached(basket: Basket, rule: PromotionRule, parts: list[Part]) -> Effect:
    base, pieces = sum(part.net_fen for part in parts), sum(part.quantity for part in parts)
    rule, above = _at_level(rule, base, pieces)
    short = _short_of(rule, base, pieces)
    if short is not None:
        return Effect(*short)
    times = _times(rule, base, pieces)
    match rule.kind:
        case "amount_off":
            off = min(rule.amount_fen * times, base)
        case "percent_off":
            off = share_bps(base, rule.off_bps)
        case "nth_piece":
            return _nth_piece(rule, parts)
        case "gift":
            return _gift(rule, parts, times)
        case _:
            return _add_on(basket, rule, parts, times)
    if rule.cap_fen is not None:
        off = min(off, rule.cap_fen)
    if not off:
        return Effect("nothing_to_take")
    return Effect(shared_fen=off, parts=parts, higher=_short_of(above, base, pieces) if above else None)


def _at_level(rule: PromotionRule, base: int, pieces: int) -> tuple[PromotionRule, PromotionRule | None]:
    """The rule with the numbers of the highest level that is reached, or its own; and with those of the next one."""
    if not rule.levels:
        return rule, None
    reached: PromotionRule = replace(rule, levels=(), repeats=False)
    for level in sorted(rule.levels, key=lambda one: (one.threshold_fen, one.threshold_quantity)):
        higher = replace(
            reached,
            threshold_fen=level.threshold_fen,
            threshold_quantity=level.threshold_quantity,
            amount_fen=level.amount_fen,
            off_bps=level.off_bps,
        )
        if _short_of(higher, base, pieces) is not None:
            return reached, higher
        reached = higher
    return reached, None


def _short_of(rule: PromotionRule, base: int, pieces: int) -> tuple[str, dict[str, Any]] | None:
    """The message that says what is missing to a rule's condition, with its values; None when it holds."""
    needed_pieces = max(rule.threshold_quantity, rule.nth if rule.kind == "nth_piece" else 0)
    if base < rule.threshold_fen:
        return f"short_of_amount_{rule.kind}", {"short_fen": rule.threshold_fen - base, **_promise(rule)}
    if pieces < needed_pieces:
        return f"short_of_pieces_{rule.kind}", {"short": needed_pieces - pieces, **_promise(rule)}
    return None


def _promise(rule: PromotionRule) -> dict[str, int | str]:
    """The values that the words of what she would get need."""
    return {
        "off_fen": rule.amount_fen,
        "off_bps": rule.off_bps,
        "nth": rule.nth,
        "extra": rule.extras[0].item.name if rule.extras else "",
    }


def times_reached(rule: PromotionRule, base_fen: int, pieces: int) -> int:
    """How many times goods of so much and so many pieces reach a rule's thresholds; 0: not at all."""
    return 0 if _short_of(rule, base_fen, pieces) is not None else _times(rule, base_fen, pieces)


def _times(rule: PromotionRule, base: int, pieces: int) -> int:
    if not rule.repeats:
        return 1
    counts = [base // rule.threshold_fen] if rule.threshold_fen else []
    if rule.threshold_quantity:
        counts.append(pieces // rule.threshold_quantity)
    times = min(counts) if counts else 1
    return min(times, rule.max_times) if rule.max_times else times


def _nth_piece(rule: PromotionRule, parts: list[Part]) -> Effect:
    """Pieces stand in a row, the dearest first; every nth of them is reduced. Counted by lines, not piece by piece."""
    row = sorted(
        parts, key=lambda part: (-(part.net_fen * 1_000 // part.quantity), part.item.sku_id, part.offer_title)
    )
    most = 1 if not rule.repeats else rule.max_times or 10**9
    cuts, passed, left = [], 0, rule.cap_fen
    for part in row:
        hits = min((passed + part.quantity) // rule.nth, most) - min(passed // rule.nth, most)
        passed += part.quantity
        off = share_bps(part.worth_of(hits), rule.off_bps)
        if left is not None:
            off = min(off, left)
            left -= off
        if off:
            cuts.append((part, off))
    return Effect(cuts=cuts, parts=parts) if cuts else Effect("nothing_to_take")


def _gift(rule: PromotionRule, parts: list[Part], times: int) -> Effect:
    extras = []
    for extra in rule.extras:
        pieces = extra.had(extra.quantity * times)
        if pieces > 0:
            extras.append((extra, pieces))
    if not extras:
        return Effect("gift_gone")
    return Effect(extras=extras, parts=parts, message="gift_added", values={"extra": extras[0][0].item.name})


def _add_on(basket: Basket, rule: PromotionRule, parts: list[Part], times: int) -> Effect:
    """One piece of each add-on that she chose, at most `times`; without a choice the note says what there is."""
    offered = [extra for extra in rule.extras if extra.had(1)]
    if not offered:
        return Effect("gift_gone")
    chosen = [extra for extra in offered if extra.item.sku_id in basket.choices.add_on_sku_ids][:times]
    in_basket = {part.item.sku_id for part in basket.parts if part.role == "add_on"}
    chosen = [extra for extra in chosen if extra.item.sku_id not in in_basket]
    if not chosen:
        first = offered[0]
        values = {"extra": first.item.name, "price_fen": first.price_fen, "times": times}
        return Effect("add_on_possible", values)
    return Effect(
        extras=[(extra, 1) for extra in chosen],
        parts=parts,
        message="add_on_taken",
        values={"extra": chosen[0].item.name, "times": times},
    )


def _bundle(basket: Basket, rule: PromotionRule) -> Effect:
    """One of each together for `amount_fen`, as often as the cart has the whole set."""
    parts: list[tuple[Part, int]] = []
    times = rule.max_times if rule.repeats and rule.max_times else 10**9 if rule.repeats else 1
    for extra in rule.extras:
        found = [part for part in basket.goods if part.item.sku_id == extra.item.sku_id]
        free = [part for part in found if rule.with_offers or not part.offer_title]
        free = [part for part in free if not rule.group or rule.group not in part.promotions]
        if not found or (free and free[0].quantity < extra.quantity):
            return Effect("bundle_incomplete", {"extra": extra.item.name, "price_fen": rule.amount_fen})
        if not free:
            other = found[0].offer_title or found[0].promotions.get(rule.group, "")
            return Effect(
                "not_with_offer" if found[0].offer_title else "not_with_promotion", {"other": other}
            )
        parts.append((free[0], extra.quantity))
        times = min(times, free[0].quantity // extra.quantity)
    worth = sum(part.worth_of(pieces * times) for part, pieces in parts)
    off = worth - rule.amount_fen * times
    if not parts or off <= 0:
        return Effect("price_already_lower")
    shares = allocate(off, [part.worth_of(pieces * times) for part, pieces in parts])
    return Effect(
        cuts=[(part, share) for (part, _n), share in zip(parts, shares, strict=True) if share],
        parts=[part for part, _pieces in parts],
    )
