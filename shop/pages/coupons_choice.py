"""What the checkout lets her choose: coupons, and how many points. Links only, so it works without a script."""

from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from shop import queries
from shop.forms import whole_number
from shop.pages.coupons import shown_coupon
from shop.pricing.types import Choices, Quote
from shop.queries.pricing import note_text

ALL_POINTS = 10**12  # "as many as possible": pricing takes what she has and the cap allows


def choices_in(values: QueryDict) -> Choices:
    """`coupon=ID` repeated names her coupons, `coupon=0` none of them, nothing the best; `points=1` uses points."""
    named = values.getlist("coupon")
    ids = tuple(sorted({number for number in map(whole_number, named) if number}))[:20]
    return Choices(coupon_ids=ids if named else None, points=ALL_POINTS if values.get("points") == "1" else 0)


def chosen_pairs(choices: Choices) -> list[tuple[str, str]]:
    """The same as the fields of a form or an address."""
    pairs = [] if choices.coupon_ids is None else [("coupon", str(pk)) for pk in choices.coupon_ids or (0,)]
    return [*pairs, *([("points", "1")] if choices.points else [])]


def choice_panel(quote: Quote, choices: Choices, *, member_id: int, here: str) -> dict[str, Any]:
    """What `coupons_choice.html` shows: each held coupon with what it brings or why not, and the points.

    `here` is the checkout's address without her choices. Each choice is a link, so it works without a script. One
    statement more than the quote.
    """
    notes = {note.source: note for note in quote.notes if note.step == "coupon"}
    held = queries.coupons_named(
        member_id, [int(source.partition(":")[2]) for source in notes if source.startswith("coupon:")]
    )
    used = set(quote.coupon_ids)
    usable: list[dict[str, Any]] = []
    unusable: list[dict[str, Any]] = []
    for grant_id, one in sorted(held.items(), key=lambda entry: (entry[0] not in used, entry[1].expires_at)):
        note = notes[f"coupon:{grant_id}"]
        is_usable = note.applied or note.message in ("other_coupons_better", "not_chosen", "not_with_coupons")
        row = shown_coupon(
            one,
            chosen=grant_id in used,
            words=note_text(note),
            choose=_address(here, _toggled(quote, one, held), choices.points),
        )
        (usable if is_usable else unusable).append(row)
    saved = sum(
        one.amount_fen
        for one in [
            *(one for line in quote.lines if line.kind != "gift" for one in line.discounts),
            *quote.shipping_discounts,
        ]
        if one.step == "coupon"
    )
    return {
        "usable": usable,
        "unusable": unusable,
        "saved_fen": saved,
        "is_best": choices.coupon_ids is None,
        "is_none": choices.coupon_ids == (),
        "best": _address(here, None, choices.points),
        "none": _address(here, (), choices.points),
        "fields": chosen_pairs(choices),
        "points": _points(quote, choices, here),
    }


def _toggled(quote: Quote, one: queries.HeldCoupon, held: dict[int, queries.HeldCoupon]) -> tuple[int, ...]:
    """Her coupons after a tap on this one: one that stands alone replaces all, one that stacks joins its like."""
    now = set(quote.coupon_ids)
    if one.grant_id in now:
        return tuple(sorted(now - {one.grant_id}))
    if not one.is_stackable:
        return (one.grant_id,)
    return tuple(sorted({pk for pk in now if pk in held and held[pk].is_stackable} | {one.grant_id}))


def _address(here: str, coupon_ids: tuple[int, ...] | None, points: int) -> str:
    pairs = chosen_pairs(Choices(coupon_ids=coupon_ids, points=points))
    return f"{here}&{urlencode(pairs)}" if pairs else here


def _points(quote: Quote, choices: Choices, here: str) -> dict[str, Any] | None:
    """The switch for points, with what they are worth; None when she has none that could be used."""
    note = next((note for note in quote.notes if note.step == "points"), None)
    if note is None:
        return None
    is_possible = note.applied or note.message == "points_possible"
    return {
        "on": note.applied,
        "possible": is_possible,
        "points": note.values.get("points", 0),
        "off_fen": note.values.get("off_fen", 0),
        "words": note_text(note),
        "toggle": _address(here, choices.coupon_ids, 0 if choices.points else ALL_POINTS),
    }
