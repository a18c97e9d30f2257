"""Rows that these tests stand on: an account, members who follow, bought, wrote."""

from datetime import datetime, timedelta
from typing import Any

from campaigns.models import Broadcast, WinBackRule
from core import clock
from crm.models import Identity, Member, MemberStats
from wechat.models import Account, ReplyWindow, SubscriptionQuota

TEMPLATE = "tmpl-care"

NOON = datetime.fromisoformat("2026-11-18T12:00:00+08:00")  # a Wednesday, no quiet hour
NIGHT = datetime.fromisoformat("2026-11-18T23:30:00+08:00")


def service_account() -> Account:
    return Account.objects.get_or_create(
        kind="service",
        key="brand",
        defaults={"name": "Brand", "appid": "wx-brand", "secret": "s", "token": "t"},
    )[0]


def work_account() -> Account:
    return Account.objects.get_or_create(
        kind="work", key="corp", defaults={"name": "Corp", "corpid": "ww-corp", "secret": "s", "token": "t"}
    )[0]


def follower(
    name: str = "小池", *, account: Account | None = None, follows: bool = True, window: int = 0
) -> Member:
    """A member who follows; `window` > 0 leaves so many customer-service messages open for two days."""
    account = account or service_account()
    member = Member.objects.create(name=name, created_at=clock.now() - timedelta(days=300))
    MemberStats.objects.create(member=member)
    openid = f"openid-{member.pk}"
    Identity.objects.create(
        member=member,
        kind="openid",
        account=account,
        value=openid,
        is_following=follows,
        followed_at=clock.now() - timedelta(days=300),
        created_at=clock.now() - timedelta(days=300),
    )
    if window:
        open_window(member, remaining=window)
    return member


def open_window(member: Member, *, remaining: int = 5, hours: int = 48) -> None:
    identity = Identity.objects.get(member=member, kind="openid")
    ReplyWindow.objects.create(
        account_id=identity.account_id,
        openid=identity.value,
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=hours),
        remaining=remaining,
    )


def buyer(name: str = "小池", *, days_ago: int, subscribed: bool = True, **options: Any) -> Member:
    """A follower whose last order, and last sign of life, was so many days ago; she takes TEMPLATE's notices."""
    member = follower(name, **options)
    if subscribed:
        SubscriptionQuota.objects.create(
            account=service_account(), openid=f"openid-{member.pk}", template_id=TEMPLATE, remaining=5
        )
    moment = clock.now() - timedelta(days=days_ago)
    MemberStats.objects.filter(member=member).update(
        orders_count=1, paid_fen=19900, first_paid_at=moment, last_paid_at=moment, last_active_at=moment
    )
    return member


def broadcast(**changes: Any) -> Broadcast:
    values: dict[str, Any] = {
        "name": "周二上新",
        "kind": "text",
        "text": "{{name}}，新香上架：{{url}}",
        "url": "/p/1/",
        "account": service_account(),
        "created_at": clock.now(),
        **changes,
    }
    return Broadcast.objects.create(**values)


def rule(**changes: Any) -> WinBackRule:
    values: dict[str, Any] = {
        "name": "60 天未来",
        "kind": "text",
        "text": "{{name}}，好久不见：{{url}}",
        "url": "/",
        "account": service_account(),
        "channels": ["custom", "subscribe", "mass", "work_mass"],
        "silent_days": 60,
        "template_id": TEMPLATE,
        "template_fields": {"thing1": "好久不见"},
        "is_active": True,
        "created_at": clock.now(),
        **changes,
    }
    return WinBackRule.objects.create(**values)
