"""The ground of this room's tests: an account of each kind, a morning on which nothing is quiet."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from core import clock
from crm import services
from crm.models import Identity, Member, Tag, TagGroup
from wechat.models import Account

MORNING = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)  # Wednesday, 10:00 in Shanghai


@pytest.fixture
def morning() -> Iterator[datetime]:
    with clock.travel(MORNING):
        yield MORNING


@pytest.fixture
def brand(db: Any) -> Account:
    return Account.objects.create(kind=Account.SERVICE, key="brand", name="池塘香氛", appid="wx-brand")


@pytest.fixture
def event_account(db: Any) -> Account:
    return Account.objects.create(kind=Account.SERVICE, key="event", name="池塘活动号", appid="wx-event")


@pytest.fixture
def corp(db: Any) -> Account:
    return Account.objects.create(kind=Account.WORK, key="corp", name="池塘企业微信", corpid="ww-pond")


@pytest.fixture
def follower(brand: Account) -> Callable[..., Member]:
    """A member who follows the brand's account."""

    def make(openid: str = "o-1", at: datetime = MORNING, **more: Any) -> Member:
        member = services.member_for_openid(account_id=brand.pk, openid=openid, at=at, **more)
        identity = Identity.objects.get(kind="openid", account=brand, value=openid)
        services.note_follow(identity_id=identity.pk, at=at)
        return member

    return make


@pytest.fixture
def tag(db: Any) -> Callable[[str], Tag]:
    def make(name: str) -> Tag:
        group, _ = TagGroup.objects.get_or_create(name="兴趣")
        return Tag.objects.get_or_create(group=group, name=name)[0]

    return make
