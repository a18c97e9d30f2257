"""What the sandbox must know of the demo: its members, so that messages reach their phones, and its templates."""

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings

from config.demo_brand.marketing import ARRIVALS, ARRIVALS_TITLE, PARCEL_TEMPLATES
from config.demo_brand.people import STAR_OPENID
from core import clock
from crm import services as crm
from crm.models import Identity
from shop.models import Payment
from shop.services.payments import notify_url
from wechat import services as wechat
from wechat.errors import NotReached
from wechat.models import Account

log = logging.getLogger(__name__)

PAYMENTS_KNOWN = timedelta(days=60)


def introduce_members(account: Account) -> bool:
    """Make the demo's members people of the sandbox; False when it is away. Whom it knows stays as she is."""
    if not settings.SANDBOX_URL or not account.appid:
        return False
    rows = (
        Identity.objects.filter(kind=Identity.OPENID, account=account, value__startswith="demo-o-")
        .order_by("value")
        .values_list("value", "member__name", "is_following")
    )
    groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for openid, name, is_following in rows:
        is_listed = openid == STAR_OPENID
        person = {"id": openid, "name": name, "openids": {account.appid: openid}, "listed": is_listed}
        groups[is_following].append(person)
    templates = [(ARRIVALS, ARRIVALS_TITLE), *PARCEL_TEMPLATES.values()]
    try:
        for template_id, title in templates:
            template = {"account": account.key, "template_id": template_id, "title": title}
            wechat.tell_sandbox("templates", {**template, "content": "", "family": "subscribe"})
        for is_following, people in groups.items():
            follow = [account.key] if is_following else []
            wechat.tell_sandbox("people", {"people": people, "follow": follow, "keep_known": True})
    except NotReached as error:
        log.warning("the sandbox does not know the demo's members: %s", error.detail)
        return False
    return True


def introduce_payments(merchant: Account, account: Account) -> bool:
    """Make what the demo's members have paid known to the sandbox's WeChat Pay; False when it is away.

    So an operator can refund any order of the last months, and the bills have no hole.
    """
    if not settings.SANDBOX_URL or not merchant.mchid or not account.appid:
        return False
    rows = Payment.objects.filter(
        status=Payment.PAID,
        kind__in=Payment.WECHAT,
        account=merchant,
        openid__startswith="demo-o-",
        paid_at__gte=clock.now() - PAYMENTS_KNOWN,
    ).order_by("pk")
    orders = [
        {
            "out_trade_no": number,
            "openid": openid,
            "total": total,
            "refunded": refunded,
            "transaction_id": transaction,
            "success_time": clock.local(paid_at).replace(microsecond=0).isoformat(),
            "description": "池塘香氛订单",
        }
        for number, openid, total, refunded, transaction, paid_at in rows.values_list(
            "out_trade_no", "openid", "paid_fen", "refunded_fen", "transaction_id", "paid_at"
        )
        if paid_at is not None
    ]
    body = {"account": merchant.key, "app": account.key, "notify_url": notify_url(merchant.key)}
    try:
        wechat.tell_sandbox("orders", {**body, "orders": orders})
    except NotReached as error:
        log.warning("the sandbox does not know the demo's payments: %s", error.detail)
        return False
    return True


def print_codes() -> int:
    """The channel codes, ready to be scanned on the phone from the first minute; returns how many were made."""
    return crm.make_missing_qr_codes() if settings.SANDBOX_URL else 0
