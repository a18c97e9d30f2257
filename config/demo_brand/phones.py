"""What the sandbox must know of the demo: its members, so that messages reach their phones, and its templates."""

import logging
from typing import Any

from django.conf import settings

from config.demo_brand.marketing import ARRIVALS, ARRIVALS_TITLE, PARCEL_TEMPLATES
from crm import services as crm
from crm.models import Identity
from wechat import services as wechat
from wechat.errors import NotReached
from wechat.models import Account

log = logging.getLogger(__name__)


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
        person = {"id": openid, "name": name, "openids": {account.appid: openid}, "listed": False}
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


def print_codes() -> int:
    """The channel codes, ready to be scanned on the phone from the first minute; returns how many were made."""
    return crm.make_missing_qr_codes() if settings.SANDBOX_URL else 0
