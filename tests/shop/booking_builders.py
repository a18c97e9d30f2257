"""A store that can be booked, for the tests of booking and queueing."""

import itertools
from datetime import datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from core import clock
from crm import services as crm_services
from crm import sessions
from shop import services
from shop.models import BookableService, BookingSlot, ServiceOpening
from tests.shop import builders

_numbers = itertools.count(1)
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=clock.zone())


def store(name: str = "静安店") -> Any:
    return apps.get_model("crm", "Store").objects.create(
        code=f"store-{next(_numbers)}", name=name, address="延平路 1 号"
    )


def clerk(of: Any, name: str = "小周") -> Any:
    """A colleague of a store with a login."""
    user = User.objects.create_user(f"clerk-{next(_numbers)}", is_staff=True)
    return apps.get_model("crm", "Staff").objects.create(name=name, store=of, user=user)


def service(at: Any, *, capacity: int = 1, minutes: int = 60, **extra: Any) -> BookableService:
    """Open every day from 10 to 12 and from 14 to 18, with its slots."""
    made = BookableService.objects.create(
        name="调香体验", capacity=capacity, minutes=minutes, days_ahead=extra.pop("days_ahead", 3), **extra
    )
    made.stores.set([at])
    ServiceOpening.objects.bulk_create(
        ServiceOpening(service=made, weekday=weekday, opens=time(opens), closes=time(closes))
        for weekday in range(7)
        for opens, closes in ((10, 12), (14, 18))
    )
    services.plan_slots(service_id=made.pk)
    return made


def slot(of: BookableService, hour: int = 10, days: int = 0) -> BookingSlot:
    day = clock.today() + timedelta(days=days)
    return of.slots.get(starts_at=datetime.combine(day, time(hour), tzinfo=clock.zone()))


def reachable(name: str = "小池") -> Any:
    """A member who follows the account and wrote to it a moment ago."""
    openid = f"o-near-{next(_numbers)}"
    member = builders.member(name=name, openid=openid)
    identity = member.identities.get(kind="openid")
    crm_services.note_follow(identity_id=identity.pk, at=clock.now())
    apps.get_model("wechat", "ReplyWindow").objects.create(
        account=builders.official_account(),
        openid=openid,
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=72),
        remaining=5,
    )
    return member


def phone(of: Any) -> Client:
    """A member's browser, logged in."""
    carrier = HttpResponse()
    sessions.log_in(carrier, of)
    client = Client()
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    return client


def sent(origin: str) -> int:
    return apps.get_model("wechat", "OutboundMessage").objects.filter(origin=origin).count()
