"""The fourth step: the coupons that she chose, or the combination that saves the most, with a reason for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.money import allocate, share_bps
from shop.pricing.basket import Basket, Part
from shop.pricing.rules import CouponRule, Extra
from shop.pricing.types import Discount

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Use:
    """A coupon that may be used: on which parts, and what it is worth before other coupons."""

    rule: CouponRule
    parts: list[Part]
    worth_fen: int
    extras: list[tuple[Extra, int]] = field(default_factory=list)

    @property
    def rank(self) -> tuple[int, int, int, datetime, int]:
        """Best first: priority, worth, a gift before nothing, what expires first."""
        return (
            -self.rule.priority,
            -self.worth_fen,
            -len(self.extras),
            self.rule.ends_at or _NEVER,
            self.rule.id,
        )


@dataclass(slots=True)
class Plan:
    """Coupons together, dry: what each takes off which part when they are used in this order."""

    uses: list[tuple[Use, list[tuple[Part, int]], int]] = field(
        default_factory=list
    )  # use, cuts, off the shipping

    @property
    def saved_fen(self) -> int:
        return sum(sum(off for _part, off in cuts) + shipping for _use, cuts, shipping in self.uses)

    @property
    def rank(self) -> tuple[int, int, int, list[int]]:
        gifts = sum(len(use.extras) for use, _cuts, _shipping in self.uses)
        return (-self.saved_fen, -gifts, len(self.uses), [use.rule.id for use, _cuts, _shipping in self.uses])


def take_coupons(basket: Basket, coupons: Iterable[CouponRule], at: datetime) -> None:
    chosen = basket.choices.coupon_ids
    usable: list[Use] = []
    for rule in sorted(coupons, key=lambda one: one.id):
        use = _usable(basket, rule, at)
        if use is not None:
            usable.append(use)
    if chosen is None:
        plan = _best(basket, usable)
        reason = "other_coupons_better"
    else:
        plan = _plan(basket, _together([use for use in usable if use.rule.id in chosen]))
        reason = "not_chosen"
    taken = {use.rule.id for use, _cuts, _shipping in plan.uses}
    for use in usable:
        if use.rule.id in taken:
            continue
        asked = chosen is not None and use.rule.id in chosen
        basket.note(
            "coupon",
            use.rule.source,
            use.rule.title,
            "not_with_coupons" if asked else reason,
            worth_fen=use.worth_fen,
        )
    _apply(basket, plan)


def _usable(basket: Basket, rule: CouponRule, at: datetime) -> Use | None:
    """The use of a coupon on what the promotions left; None, with a note, when it cannot be used."""
    if rule.starts_at is not None and at < rule.starts_at:
        basket.note("coupon", rule.source, rule.title, "not_open")
        return None
    if rule.ends_at is not None and rule.ends_at <= at:
        basket.note("coupon", rule.source, rule.title, "expired")
        return None
    covered = basket.covered(rule.scope)
    if not covered:
        basket.note("coupon", rule.source, rule.title, "not_in_scope")
        return None
    parts = [part for part in covered if not _closed_by(part, rule)]
    if not parts:
        message, other = _closed_by(covered[0], rule) or ("not_in_scope", "")
        basket.note("coupon", rule.source, rule.title, message, other=other)
        return None
    base = sum(part.net_fen for part in parts)
    if base < rule.threshold_fen:
        basket.note("coupon", rule.source, rule.title, "short_of_amount", short_fen=rule.threshold_fen - base)
        return None
    use = _worth(basket, rule, parts, base)
    if use.worth_fen == 0 and not use.extras:
        message = {
            "shipping": "shipping_free_already",
            "gift": "gift_gone",
            "exchange": "exchange_missing",
        }.get(rule.kind, "nothing_to_take")
        basket.note("coupon", rule.source, rule.title, message)
        return None
    return use


def _closed_by(part: Part, rule: CouponRule) -> tuple[str, str] | None:
    """What keeps this coupon from a part: (message, title of the other rule)."""
    if part.offer_title and not rule.with_offers:
        return ("not_with_offer", part.offer_title)
    if part.no_coupons_title:
        return ("not_with_promotion", part.no_coupons_title)
    if part.is_promoted and not rule.with_promotions:
        return (
            "not_with_promotion",
            next((one.title for one in part.discounts if one.step == "promotion"), ""),
        )
    return None


def _worth(basket: Basket, rule: CouponRule, parts: list[Part], base: int) -> Use:
    match rule.kind:
        case "amount":
            return Use(rule, parts, min(rule.amount_fen, base))
        case "percent":
            off = share_bps(base, rule.off_bps)
            return Use(rule, parts, off if rule.cap_fen is None else min(off, rule.cap_fen))
        case "shipping":
            off = basket.shipping_fen
            return Use(rule, [], min(off, rule.amount_fen) if rule.amount_fen else off)
        case "exchange":
            pieces, worth, freed = rule.quantity, 0, []
            wanted = [part for part in parts if rule.sku_id in (None, part.item.sku_id)]
            for part in sorted(wanted, key=lambda one: (-one.worth_of(1), one.item.sku_id, one.offer_title)):
                here = min(pieces, part.quantity)
                if here <= 0:
                    break
                pieces -= here
                worth += part.worth_of(here)
                freed.append(part)
            return Use(rule, freed, worth)
        case _:
            extras = [(one, one.had(one.quantity)) for one in rule.extras]
            return Use(rule, parts, 0, [entry for entry in extras if entry[1] > 0])


def _together(uses: Sequence[Use]) -> list[Use]:
    """What may be used at once: one that stands alone, or those that stack, the best of each group."""
    alone = sorted((use for use in uses if not use.rule.stackable), key=lambda use: use.rank)
    if alone:
        return alone[:1]
    kept: list[Use] = []
    groups: set[str] = set()
    for use in sorted(uses, key=lambda one: one.rank):
        if use.rule.group and use.rule.group in groups:
            continue
        groups.add(use.rule.group)
        kept.append(use)
    return kept


def _best(basket: Basket, usable: Sequence[Use]) -> Plan:
    plans = [_plan(basket, _together([use for use in usable if use.rule.stackable]))]
    # One coupon by itself takes off what it is worth: only the best of them has to be spread over the lines.
    alone = min(
        (use for use in usable if not use.rule.stackable),
        key=lambda use: (-use.worth_fen, -len(use.extras), use.rule.id),
        default=None,
    )
    if alone is not None:
        plans.append(_plan(basket, [alone]))
    return min(plans, key=lambda plan: plan.rank)


def _plan(basket: Basket, uses: Sequence[Use]) -> Plan:
    """Use them one after the other without touching the basket; one that brings nothing any more is left out."""
    nets = {id(part): part.net_fen for part in basket.parts}
    shipping_left = basket.shipping_fen
    plan = Plan()
    for use in sorted(uses, key=lambda one: one.rank):
        if use.rule.kind == "shipping":
            off = min(use.worth_fen, shipping_left)
            shipping_left -= off
            if off:
                plan.uses.append((use, [], off))
            continue
        cuts = _cuts(use, nets)
        if not cuts and not use.extras:
            continue
        for part, off in cuts:
            nets[id(part)] -= off
        plan.uses.append((use, cuts, 0))
    return plan


def _cuts(use: Use, nets: dict[int, int]) -> list[tuple[Part, int]]:
    if use.rule.kind == "exchange":
        pieces, cuts = use.rule.quantity, []
        for part in use.parts:
            here = min(pieces, part.quantity)
            pieces -= here
            off = min(part.worth_of(here), nets[id(part)])
            if off:
                cuts.append((part, off))
        return cuts
    weights = [nets[id(part)] for part in use.parts]
    off = min(use.worth_fen, sum(weights))
    if not off:
        return []
    return [(part, share) for part, share in zip(use.parts, allocate(off, weights), strict=True) if share]


def _apply(basket: Basket, plan: Plan) -> None:
    for use, cuts, shipping in plan.uses:
        rule = use.rule
        for part, off in cuts:
            basket.take_from(part, off, "coupon", rule.source, rule.title)
        if shipping:
            basket.shipping_fen -= shipping
            basket.shipping_discounts.append(Discount("coupon", rule.source, rule.title, shipping))
        for extra, pieces in use.extras:
            basket.add(extra.item, pieces, 0, "gift", "coupon", rule.source, rule.title)
        off = sum(cut for _part, cut in cuts) + shipping
        best = basket.choices.coupon_ids is None
        message = "gift_added" if use.extras else "coupon_best" if best else "coupon_taken"
        values = {"extra": use.extras[0][0].item.name} if use.extras else {}
        basket.note("coupon", rule.source, rule.title, message, off=off, applied=True, off_fen=off, **values)
        basket.coupon_ids.append(rule.id)
