"""The first two steps: the price of the buyer's tier, then special prices with a quota."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from shop.pricing.basket import Basket, Part
from shop.pricing.rules import OfferRule, is_open

MEMBER_PRICE = "member_price"


def take_member_prices(basket: Basket, prices: Mapping[int, int]) -> None:
    """Each SKU at the price of the buyer's tier, where that is lower."""
    saved = 0
    for part in basket.parts:
        price_fen = prices.get(part.item.sku_id)
        if price_fen is None or price_fen >= part.item.unit_price_fen:
            continue
        off = (part.item.unit_price_fen - price_fen) * part.quantity
        basket.take_from(part, off, "member", MEMBER_PRICE, basket.buyer.tier)
        saved += off
    if saved:
        basket.note(
            "member",
            MEMBER_PRICE,
            basket.buyer.tier,
            "member_price_taken",
            off=saved,
            applied=True,
            off_fen=saved,
        )


def take_offers(basket: Basket, offers: Iterable[OfferRule], at: datetime) -> None:
    """Each SKU at its best offer, for as many pieces as quota and limit allow; the others keep their price."""
    by_sku: dict[int, list[OfferRule]] = defaultdict(list)
    for rule in offers:
        by_sku[rule.sku_id].append(rule)
    chosen = _chosen_once(basket, by_sku, at)
    for part in list(basket.parts):
        for rule in sorted(
            by_sku.get(part.item.sku_id, ()), key=lambda one: (-one.priority, one.price_fen, one.id)
        ):
            if rule.once and chosen.get(rule.once) is not rule:
                basket.note("offer", rule.source, rule.title, "offer_limit_reached")
            elif _taken(basket, part, rule, at):
                break


def _chosen_once(basket: Basket, by_sku: Mapping[int, list[OfferRule]], at: datetime) -> dict[str, OfferRule]:
    """Of the offers that a cart may take once together: the one that saves most on a piece."""
    best: dict[str, tuple[int, int, OfferRule]] = {}
    for part in basket.parts:
        for rule in by_sku.get(part.item.sku_id, ()):
            if rule.once and not _refusal(basket, part, rule, at):
                entry = (rule.price_fen - part.net_fen // part.quantity, rule.id, rule)
                if rule.once not in best or entry[:2] < best[rule.once][:2]:
                    best[rule.once] = entry
    return {word: rule for word, (_saved, _id, rule) in best.items()}


def _taken(basket: Basket, part: Part, rule: OfferRule, at: datetime) -> bool:
    refused = _refusal(basket, part, rule, at)
    if refused:
        basket.note("offer", rule.source, rule.title, refused)
        return False
    bounds = [bound for bound in (rule.left, rule.member_left) if bound is not None]
    pieces = min([1 if rule.once else part.quantity, *bounds])
    price_now = part.net_fen // part.quantity
    taken = part if pieces == part.quantity else _split(basket, part, pieces)
    off = (price_now - rule.price_fen) * pieces
    basket.take_from(taken, off, "offer", rule.source, rule.title)
    if rule.is_exclusive:
        taken.offer_title = rule.title
    basket.offer_takes.append((rule.id, rule.sku_id, pieces))
    basket.deposit_fen += rule.deposit_fen * pieces
    if taken is part:
        basket.note("offer", rule.source, rule.title, "offer_taken", off=off, applied=True, off_fen=off)
    else:
        basket.note(
            "offer",
            rule.source,
            rule.title,
            "offer_taken_in_part",
            off=off,
            applied=True,
            off_fen=off,
            pieces=pieces,
        )
    return True


def _refusal(basket: Basket, part: Part, rule: OfferRule, at: datetime) -> str:
    if not is_open(rule, at):
        return "not_open"
    if rule.only_new and not basket.buyer.is_new:
        return "only_new"
    if not rule.is_for(basket.buyer):
        return "other_tier"
    if rule.left is not None and rule.left <= 0:
        return "offer_sold_out"
    if rule.member_left is not None and rule.member_left <= 0:
        return "offer_limit_reached"
    if rule.price_fen >= part.net_fen // part.quantity:
        return "price_already_lower"
    return ""


def _split(basket: Basket, part: Part, pieces: int) -> Part:
    """Take some pieces of a line apart. Before this step every piece of a line costs the same, so nothing is lost."""
    price_now = part.net_fen // part.quantity
    unit_off = part.item.unit_price_fen - price_now
    split = Part(part.item, pieces, part.item.unit_price_fen * pieces)
    part.quantity -= pieces
    part.net_fen = part.item.unit_price_fen * part.quantity
    part.discounts.clear()
    for piece in (part, split):
        basket.take_from(piece, unit_off * piece.quantity, "member", MEMBER_PRICE, basket.buyer.tier)
    basket.split_off(split)
    return split
