"""How she pays: the balance, a gift card, and WeChat in the way that her browser can."""

from ipaddress import ip_address
from typing import Any, NamedTuple

import segno
from django.conf import settings
from django.http import HttpRequest
from markupsafe import Markup

from shop import queries
from shop.forms import whole_number
from shop.models import Order, Payment
from shop.pages.frame import in_wechat

PHONES = ("Mobile", "Android", "iPhone", "HarmonyOS")


class Choice(NamedTuple):
    """What she ticked: the whole balance or nothing of it, a card of hers, or the code of a new one."""

    use_balance: bool
    gift_card_id: int | None
    gift_card_code: str
    way: str


def choice_of(request: HttpRequest) -> Choice:
    sent = request.POST
    way = sent.get("way", "")
    return Choice(
        use_balance=sent.get("use_balance") == "1",
        gift_card_id=whole_number(sent.get("gift_card")) or None,
        gift_card_code=sent.get("gift_card_code", "")[:100],
        way=way if way in Payment.WECHAT else Payment.JSAPI,
    )


def way_for(request: HttpRequest) -> str:
    """jsapi inside WeChat, h5 in another browser of a phone, native (a QR code) on a desktop."""
    # On a plain http address browsers do not say that a page is in the sandbox's phone.
    unsaid = bool(settings.SANDBOX_URL) and "Sec-Fetch-Dest" not in request.headers
    if in_wechat(request) or unsaid:
        return Payment.JSAPI
    agent = request.headers.get("User-Agent", "")
    return Payment.H5 if any(word in agent for word in PHONES) else Payment.NATIVE


def client_ip(request: HttpRequest) -> str:
    """The payer's address for WeChat's risk control, empty when it is none."""
    given = request.headers.get("X-Real-IP") or request.META.get("REMOTE_ADDR", "")
    try:
        return str(ip_address(given))
    except ValueError:
        return ""


def means_of(order: Order, member_id: int) -> dict[str, Any]:
    """What she can use for this order (fen), with what it holds already counted in; and what is ticked."""
    held = queries.held_for(order.pk)
    balance = queries.balance_for(member_id).spendable + held.stored_value
    cards = [
        {"pk": card.pk, "name": card.name, "code_end": card.code_end, "fen": card.spendable + extra}
        for card in queries.gift_cards_of(member_id, also=held.gift_card_id)
        if (extra := held.gift_card if card.pk == held.gift_card_id else 0) + card.spendable
    ]
    chosen = [int(str(card["fen"])) for card in cards if card["pk"] == held.gift_card_id]
    card_fen = min(order.due_fen, sum(chosen))
    use_balance = held.stored_value > 0
    balance_fen = min(balance, order.due_fen - card_fen) if use_balance else 0
    return {
        "balance": balance,
        "cards": cards,
        "card_id": held.gift_card_id,
        "use_balance": use_balance,
        "rest_fen": order.due_fen - card_fen - balance_fen,
    }


def drawn(code_url: str) -> Markup:
    """A QR code as SVG without styles, for the page's strict policy."""
    picture = segno.make(code_url, error="m")
    svg = picture.svg_inline(scale=4, border=2, svgclass="qr", lineclass=None, omitsize=True)
    return Markup(svg)  # noqa: S704  made of squares by us
