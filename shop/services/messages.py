"""What the shop tells a buyer inside WeChat. Only where WeChat allows it now; the order's log says it in any case."""

from core import clock
from crm import queries as crm_queries
from shop.models import Order, Payment
from wechat import queries as wechat_queries
from wechat import services as wechat_services


def tell_buyer(order: Order, payment: Payment, *, key: str, text: str) -> bool:
    """Queue a customer-service message to the payer when her 48 hours window is open; False when it is not.

    Idempotent on: (order, key). Call inside the transaction of the fact it tells. This is about her own order and
    money, so the touch policy is not asked.
    """
    account_id, openid = _buyer_of(order, payment.openid)
    if account_id is None:
        return False
    if not wechat_queries.open_reply_windows(account_id, clock.now()).filter(openid=openid).exists():
        return False
    wechat_services.enqueue_message(
        account_id=account_id,
        channel="custom",
        to=openid,
        body={"kind": "text", "text": text},
        origin=f"shop-{key}",
        origin_id=order.pk,
        dedupe_key=f"order:{order.pk}:{key}",
    )
    return True


def _buyer_of(order: Order, openid: str) -> tuple[int | None, str]:
    """The official account in which this openid names the buyer; without one (paid by QR code) the one she uses."""
    if order.member_id is None:
        return None, ""
    for identity in crm_queries.identities_of(order.member_id):
        if identity.kind == "openid" and identity.value == (openid or identity.value):
            return identity.account_id, identity.value
    return None, ""
