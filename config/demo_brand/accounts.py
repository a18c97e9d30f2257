"""The demo's accounts, wired to the sandbox when it stands; and the service account's menu."""

import json
import logging
from typing import Any

from django.conf import settings

from wechat import services as wechat
from wechat.models import Account
from wechat.services.accounts import ALLOWED, COMMON, set_account

log = logging.getLogger(__name__)

NAMES = {
    ("service", "brand"): "池塘香氛服务号",
    ("service", "event"): "池塘活动号",
    ("subscription", "news"): "池塘生活志",
    ("work", "corp"): "池塘香氛",
    ("pay", "pay"): "池塘香氛",
}
ROLES = {("service", "event"): Account.EVENT}


def wire_accounts() -> dict[str, Account]:
    """Every account by its key. With the sandbox's credentials they work; without they only stand in the admin."""
    path = settings.VAR / "sandbox" / "credentials.json"
    if settings.SANDBOX_URL and path.exists():
        for given in json.loads(path.read_text(encoding="utf-8")):
            kind, key = given["kind"], given["key"]
            fields = {
                name: str(value)
                for name, value in given.items()
                if name in (*ALLOWED[kind], *COMMON) and value not in (None, "")
            }
            if (kind, key) in ROLES:
                fields["role"] = ROLES[kind, key]
            set_account(kind=kind, key=key, fields=fields)
    for (kind, key), name in NAMES.items():
        role = ROLES.get((kind, key), Account.BRAND)
        Account.objects.get_or_create(kind=kind, key=key, defaults={"name": name, "role": role})
    return {key: Account.objects.get(kind=kind, key=key) for kind, key in NAMES}


def put_menu(account: Account) -> bool:
    """The menu of the service account leads into the shop; False when the platform is away."""
    if not account.appid:
        return False
    shop = settings.PUBLIC_URL
    buttons: list[dict[str, Any]] = [
        {"type": "view", "name": "逛商城", "url": f"{shop}/"},
        {
            "name": "我的",
            "sub_button": [
                {"type": "view", "name": "我的订单", "url": f"{shop}/orders/"},
                {"type": "view", "name": "购物车", "url": f"{shop}/cart/"},
                {"type": "view", "name": "会员中心", "url": f"{shop}/me/"},
            ],
        },
        {"type": "click", "name": "联系导购", "key": "guide"},
    ]
    try:
        wechat.set_menu(account_id=account.pk, buttons=buttons)
    except Exception as error:  # whatever the platform answers: the demo goes on without a menu
        log.warning("the menu could not be set: %s", type(error).__name__)
        return False
    return True
