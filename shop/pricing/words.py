"""The sentences of notes, by key. Doors translate them and fill in the values; see `shop.queries.pricing.note_text`.

Values that end in `_fen` are shown in yuan, `off_bps` as what remains to pay ("8 折").
"""


def gettext_noop(text: str) -> str:
    """Marks a sentence for translation; rules do not know Django."""
    return text


WORDS: dict[str, str] = {
    "member_price_taken": gettext_noop("Member price: ¥%(off_fen)s less"),
    "offer_taken": gettext_noop("Special price: ¥%(off_fen)s less"),
    "offer_taken_in_part": gettext_noop("Special price for %(pieces)s of them: ¥%(off_fen)s less"),
    "offer_sold_out": gettext_noop("The special price is sold out"),
    "offer_limit_reached": gettext_noop("You have had as many at this price as one person may"),
    "price_already_lower": gettext_noop("You already pay less"),
    "promotion_taken": gettext_noop("¥%(off_fen)s off"),
    "gift_added": gettext_noop("With it comes: %(extra)s"),
    "gift_gone": gettext_noop("Too late: all given away"),
    "add_on_taken": gettext_noop("Added at a special price: %(extra)s"),
    "add_on_possible": gettext_noop("You may add %(extra)s for ¥%(price_fen)s"),
    "bundle_incomplete": gettext_noop("Together with %(extra)s the set is ¥%(price_fen)s"),
    "short_of_amount_amount_off": gettext_noop("¥%(short_fen)s more for ¥%(off_fen)s off"),
    "short_of_amount_percent_off": gettext_noop("¥%(short_fen)s more and you pay %(off_bps)s"),
    "short_of_amount_nth_piece": gettext_noop("¥%(short_fen)s more and piece %(nth)s is at %(off_bps)s"),
    "short_of_amount_gift": gettext_noop("¥%(short_fen)s more and you get: %(extra)s"),
    "short_of_amount_add_on": gettext_noop("¥%(short_fen)s more and you may add: %(extra)s"),
    "short_of_pieces_amount_off": gettext_noop("%(short)s more pieces for ¥%(off_fen)s off"),
    "short_of_pieces_percent_off": gettext_noop("%(short)s more pieces and you pay %(off_bps)s"),
    "short_of_pieces_nth_piece": gettext_noop("%(short)s more pieces: piece %(nth)s is at %(off_bps)s"),
    "short_of_pieces_gift": gettext_noop("%(short)s more pieces and you get: %(extra)s"),
    "short_of_pieces_add_on": gettext_noop("%(short)s more pieces and you may add: %(extra)s"),
    "not_open": gettext_noop("Not at this time"),
    "expired": gettext_noop("Expired"),
    "only_new": gettext_noop("Only for the first order"),
    "other_tier": gettext_noop("Not for this member tier"),
    "not_in_scope": gettext_noop("Not for these goods"),
    "not_with_offer": gettext_noop("Not together with: %(other)s"),
    "not_with_promotion": gettext_noop("Not together with: %(other)s"),
    "nothing_to_take": gettext_noop("Nothing left to take off"),
    "short_of_amount": gettext_noop("Usable with ¥%(short_fen)s more"),
    "coupon_taken": gettext_noop("¥%(off_fen)s off"),
    "coupon_best": gettext_noop("Best choice for you: ¥%(off_fen)s off"),
    "other_coupons_better": gettext_noop("Another coupon saves you more"),
    "not_chosen": gettext_noop("Usable, not chosen"),
    "not_with_coupons": gettext_noop("Not together with the other chosen coupons"),
    "exchange_missing": gettext_noop("Put what it is exchanged for into the cart first"),
    "shipping_free_already": gettext_noop("The parcel is free already"),
    "shipping_pickup": gettext_noop("Collected in the store: no shipping fee"),
    "shipping_free_from": gettext_noop("Free shipping from ¥%(from_fen)s"),
    "shipping_fee": gettext_noop("Shipping ¥%(fee_fen)s"),
    "short_of_free_shipping": gettext_noop("¥%(short_fen)s more for free shipping"),
    "points_not_taken": gettext_noop("Points cannot be used at the moment"),
    "points_too_few": gettext_noop("Points can be used from %(least)s on; you have %(points)s"),
    "points_possible": gettext_noop("%(points)s points can pay ¥%(off_fen)s"),
    "points_taken": gettext_noop("%(points)s points paid ¥%(off_fen)s"),
    "points_taken_up_to_cap": gettext_noop("%(points)s points paid ¥%(off_fen)s, which is the most"),
}

HINTS = frozenset(
    key
    for key in WORDS
    if (key.startswith("short_of_") and not key.endswith("_add_on"))
    or key in ("bundle_incomplete", "not_with_offer")
)
"""Reasons that help a shopper; the others are for operators. Add-ons have their own place on the page."""
