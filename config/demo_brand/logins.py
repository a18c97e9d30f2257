"""Who may log in to the demo's admin: an administrator, roles, and the guides."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User

from config.demo_brand.shelves import GUIDES
from crm.models import Staff

# role → app labels with everything, then single permissions
ROLES: dict[str, tuple[list[str], list[str]]] = {
    "运营": (
        ["crm", "shop", "community", "campaigns", "analytics"],
        ["core.view_job", "pghistory.view_events"],
    ),
    "店长": (
        [],
        [
            *(
                "shop.view_product",
                "shop.view_category",
                "shop.view_stock",
                "shop.change_stock",
                "shop.view_order",
            ),
            *("shop.view_fulfilment", "shop.view_stocktake", "shop.add_stocktake"),
            *("shop.view_transfer", "shop.add_transfer"),
            *("shop.change_order", "shop.view_shipment", "shop.add_shipment", "shop.view_stockmovement"),
            *("crm.view_member", "crm.view_staff", "crm.view_store", "community.view_group"),
            *("crm.add_membertag", "crm.delete_membertag", "crm.change_memberfieldvalue", "crm.view_phone"),
            "crm.add_consent",
        ],
    ),
    "客服": (
        [],
        [
            *(
                "shop.view_order",
                "shop.view_payment",
                "shop.view_refund",
                "shop.view_shipment",
                "shop.view_product",
            ),
            *("shop.view_aftersale", "shop.change_aftersale", "shop.view_invoice", "shop.change_invoice"),
            *("crm.view_member", "crm.view_phone", "crm.view_activity", "wechat.view_outboundmessage"),
        ],
    ),
}


def put_logins() -> None:
    """Roles with their permissions; `admin` with the password in demo-login.json, which stays on later runs."""
    for name, (apps, single) in ROLES.items():
        role, _created = Group.objects.get_or_create(name=name)
        wanted = [
            permission
            for permission in Permission.objects.select_related("content_type")
            if permission.content_type.app_label in apps
            or f"{permission.content_type.app_label}.{permission.codename}" in single
        ]
        role.permissions.set(wanted)
    path = settings.VAR / "demo-login.json"
    login = _read(path)
    login.setdefault("username", "admin")
    login.setdefault("password", secrets.token_urlsafe(9))
    others = login.setdefault("others", {})
    _put_user(login["username"], login["password"], name="管理员", is_superuser=True)
    manager = Group.objects.get(name="店长")
    for userid, name, _store in GUIDES:
        others.setdefault(userid, secrets.token_urlsafe(9))
        user = _put_user(userid, others[userid], name=name)
        user.groups.add(manager)
        Staff.objects.filter(work_userid=userid, user=None).update(user=user)
    _write(path, login)


def _put_user(username: str, password: str, *, name: str, is_superuser: bool = False) -> User:
    user, _created = User.objects.get_or_create(
        username=username, defaults={"is_staff": True, "is_superuser": is_superuser, "first_name": name}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(path: Path, login: dict[str, Any]) -> None:
    """Readable by its owner only, from the first byte on."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(login, file, ensure_ascii=False, indent=1)
    fresh.replace(path)
