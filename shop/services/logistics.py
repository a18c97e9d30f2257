"""What buyers are told about their orders, and answers to their questions in the chat."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock, money
from crm import queries as crm_queries
from shop import logistics
from shop.models import Fulfilment, Order, OrderLine, OrderMessage, Refund, Shipment, Voucher
from shop.queries import tracking as parcels
from shop.queries.logistics import ParcelWords, order_message
from wechat import queries as wechat_queries
from wechat import services as wechat_services


@transaction.atomic
def tell_order(
    *,
    order_id: int,
    kind: str,
    shipment_id: int | None = None,
    fulfilment_id: int | None = None,
    refund_id: int | None = None,
) -> str:
    """Tell the buyer about one moment of her order, once; returns the channel, "" when there is no way to her.

    Idempotent on: (order, kind, parcel, part or refund).
    """
    order = Order.objects.filter(pk=order_id, member__isnull=False).first()
    if order is None:
        return ""
    shipments = Shipment.objects.filter(order_id=order_id)
    shipment = shipments.filter(pk=shipment_id).first() if shipment_id else shipments.order_by("pk").first()
    part = None
    if fulfilment_id is not None:
        part = Fulfilment.objects.select_related("store").filter(pk=fulfilment_id, order_id=order_id).first()
    refund = Refund.objects.filter(pk=refund_id, order_id=order_id).first() if refund_id else None
    return send_order_message(order=order, kind=kind, shipment=shipment, part=part, refund=refund)


def send_order_message(
    *,
    order: Order,
    kind: str,
    shipment: Shipment | None = None,
    part: Fulfilment | None = None,
    refund: Refund | None = None,
    vouchers: Sequence[Voucher] = (),
) -> str:
    """Queue the message on the best way there is: an accepted subscription, a template message, an open chat.

    Call inside the transaction of the fact it tells. Idempotent on: (order, kind, parcel, part or refund, or the line
    of the vouchers and the day on which they end).
    """
    words = order_message(kind)
    if not words.is_active or order.member_id is None:
        return ""
    values = _values(order, shipment, part)
    if vouchers:
        last = clock.local(vouchers[0].expires_at)
        values |= {
            "goods": vouchers[0].line.product_name,
            "until": f"{last:%m-%d}",
            "pieces": str(len(vouchers)),
        }
    about, about_id, dedupe = "", order.pk, order.pk
    together: list[str] = []
    if shipment is not None and kind in (logistics.SHIPPED, logistics.SIGNED):
        # Orders in one parcel are told of together: whose turn comes first speaks for all.
        parcel = shipment.leader or shipment
        about, about_id, dedupe = f":{parcel.pk}", parcel.pk, parcel.order_id
        together = parcels.orders_in(parcel)
    elif part is not None:
        about, about_id = f":{part.pk}", part.pk
    elif refund is not None:
        about, about_id = f":{refund.pk}", refund.pk
        values["amount"] = f"¥{money.yuan(refund.amount_fen)}"
    elif vouchers:  # given more time, they are reminded of again
        about = f":{vouchers[0].line_id}:{last:%Y%m%d}"
        about_id = vouchers[0].line_id * 1_000_000 + last.toordinal()
    address = settings.PUBLIC_URL + reverse("shop:order", args=[order.number])
    if kind == logistics.REVIEW:
        address = settings.PUBLIC_URL + reverse("shop:reviews_order", args=[order.number])
    if kind == logistics.VOUCHER:
        address = settings.PUBLIC_URL + reverse("shop:vouchers")
    if kind in (logistics.UNPAID, logistics.BALANCE):
        address = settings.PUBLIC_URL + reverse("shop:pay", args=[order.number])
    for identity in crm_queries.identities_of(order.member_id):
        if identity.kind != "openid" or not identity.account_id:
            continue
        channel, content = _way(words, identity.account_id, identity.value, identity.is_following)
        if not channel:
            continue
        if content["kind"] == "template":
            content["data"] = logistics.filled_fields(words.fields, values)
            content["url"] = address
        else:
            said = logistics.filled(words.text, values) if words.text else ParcelWords.of(kind, values)
            if len(together) > 1 and kind == logistics.SHIPPED:
                said += "\n" + _("In this parcel: orders %(numbers)s.") % {"numbers": "、".join(together)}
            content["text"] = f"{said}\n{address}"
        wechat_services.enqueue_message(
            account_id=identity.account_id,
            channel=channel,
            to=identity.value,
            body=content,
            origin=f"shop-{kind}",
            origin_id=about_id,
            dedupe_key=f"order:{dedupe}:{kind}{about}",
        )
        return channel
    return ""


def _way(
    words: OrderMessage, account_id: int, openid: str, is_following: bool
) -> tuple[str, dict[str, object]]:
    """(channel, the beginning of the content) for one of the member's accounts; ("", {}) when there is none."""
    template = words.subscribe_template
    if template and wechat_queries.subscription_quotas(account_id, template).filter(openid=openid).exists():
        return "subscribe", {"kind": "template", "template_id": template}
    if words.notice_template and is_following:
        return "template", {"kind": "template", "template_id": words.notice_template}
    if words.uses_chat and wechat_queries.open_reply_windows(account_id).filter(openid=openid).exists():
        return "custom", {"kind": "text"}
    return "", {}


def _values(order: Order, shipment: Shipment | None, part: Fulfilment | None) -> dict[str, str]:
    lines = list(
        OrderLine.objects.filter(order_id=order.pk).order_by("pk").values_list("product_name", flat=True)
    )
    goods = lines[0] if lines else ""
    if len(lines) > 1:
        goods = _("%(first)s and %(count)d more") % {"first": goods, "count": len(lines) - 1}
    moment = clock.now()
    left = int((order.expires_at - moment).total_seconds() // 60) if order.expires_at else 0
    amount = order.due_fen if order.awaits_balance else order.total_fen
    return {
        "number": order.number,
        "goods": goods,
        "amount": f"¥{money.yuan(amount)}",
        "carrier": shipment.carrier if shipment else "",
        "parcel": shipment.tracking_number if shipment else "",
        "time": f"{clock.local(moment):%Y-%m-%d %H:%M}",
        "minutes": str(max(left, 0)),
        "until": f"{clock.local(order.expires_at):%m-%d %H:%M}" if order.expires_at else "",
        "state": order.status_label,
        "shop": settings.SHOP_NAME,
        "store": part.store.name if part else "",
        "code": part.code if part else "",
    }


# --- Questions in the chat -----------------------------------------------------------------------------------------
@transaction.atomic
def answer_chat(*, account_id: int, openid: str, text: str, msg_id: str, at: datetime) -> int:
    """Answer a question about parcels or orders in the chat; 0 when it is none, or she is no member.

    Only her own orders are looked at; a number of somebody else's is "not found". Idempotent on: the message.
    Returns the id of the queued answer.
    """
    question = logistics.question_in(text)
    if question is None:
        return 0
    members = crm_queries.members_by_identity(kind="openid", account_id=account_id, values=[openid])
    member_id = members.get(openid)
    if member_id is None:
        return 0
    said = _answer(member_id, question)
    if not said:
        return 0
    if not wechat_queries.open_reply_windows(account_id, clock.now()).filter(openid=openid).exists():
        return 0
    key = f"{account_id}:{openid}:{msg_id}:{at.isoformat() if not msg_id else ''}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return wechat_services.enqueue_message(
        account_id=account_id,
        channel="custom",
        to=openid,
        body={"kind": "text", "text": said},
        origin="shop-answer",
        origin_id=int.from_bytes(digest, "big") >> 1,
        queue="fast",
    )


def _answer(member_id: int, question: logistics.Question) -> str:
    """The text of the answer; empty when numbers were sent that are nothing of hers and nothing was asked."""
    found: list[str] = []
    if question.tracking_numbers:
        rows = parcels.latest_parcels(member_id, tracking_numbers=question.tracking_numbers)
        found += [ParcelWords.parcel(row) for row in rows]
    if question.order_numbers:
        orders = Order.objects.filter(member_id=member_id, number__in=question.order_numbers)
        rows = parcels.latest_parcels(member_id, order_numbers=question.order_numbers)
        found += [ParcelWords.parcel(row) for row in rows]
        shown = {row.order_number for row in rows}
        found += [ParcelWords.order(order) for order in orders if order.number not in shown]
    if found:
        return "\n\n".join(found[:3])
    if question.order_numbers:
        return _("We find no order of yours with this number. Please copy it from “My orders”.")
    if not question.is_general:
        return ""  # some other number: a person answers
    rows = parcels.latest_parcels(member_id)
    if rows:
        return "\n\n".join(ParcelWords.parcel(row) for row in rows)
    latest = Order.objects.filter(member_id=member_id).order_by("-placed_at", "-pk").first()
    if latest is None:
        return _("You have no orders with us yet. Write to us if you ordered under another account.")
    return ParcelWords.order(latest)
