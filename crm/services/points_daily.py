"""Points beside orders: signing in each day, a complete profile; and the word before points expire."""

import datetime as dt
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min, Sum
from django.utils.translation import gettext as _

from core import clock
from core.models import LedgerLot
from crm import points_rules as rules
from crm.errors import BadPoints
from crm.models import Earning, Identity, Member, MemberDay, PointsRules, PointsTask, SignIn, Touch
from crm.models.points import POINTS
from crm.queries.accounts import official_accounts
from crm.queries.points import has_profile_points
from crm.queries.touch import touched_member_ids
from crm.services.points import current_points_rules, earn, living_id
from crm.services.points_tasks import advance_tasks
from crm.services.touch import book_touches
from wechat import queries as wechat_queries
from wechat import services as wechat_services


@transaction.atomic
def sign_in(*, member_id: int) -> SignIn:
    """She signs in today: points once a day of the shop's calendar, and a bonus for so many days in a row.

    Locks: as `earn`. Idempotent on: (member, day), by a unique key. Raises BadPoints while nothing is earned by it.
    """
    current = _rules("signin_points")
    member_id = living_id(member_id)
    today = clock.today()
    last = (
        SignIn.objects.filter(member_id=member_id, day__lt=today)
        .order_by("-day")
        .values_list("day", "streak")
    )
    streak = rules.streak_of(today, last.first())
    row, is_new = SignIn.objects.get_or_create(
        member_id=member_id, day=today, defaults={"streak": streak, "at": clock.now()}
    )
    if is_new:
        about = f"{member_id}:{today:%Y%m%d}"
        earn(
            member_id=member_id,
            cause=f"signin:{about}",
            source=Earning.SIGNIN,
            points=current.signin_points,
            months=current.months,
        )
        if rules.has_bonus(streak, current.streak_days):
            earn(
                member_id=member_id,
                cause=f"streak:{about}",
                source=Earning.STREAK,
                points=current.streak_points,
                months=current.months,
            )
    return row


def missing_in_profile(member_id: int) -> list[str]:
    """What her profile still lacks, in words; empty: it is complete. Three statements."""
    member = Member.objects.only("name", "birthday").get(pk=member_id)
    lunar = MemberDay.objects.filter(member=member_id, kind=MemberDay.BIRTHDAY)
    has_phone = Identity.objects.filter(member_id=member_id, kind=Identity.PHONE).exists()
    return [
        word
        for word, is_there in (
            (_("name"), bool(member.name)),
            (_("birthday"), member.birthday is not None or lunar.exists()),
            (_("phone"), has_phone),
        )
        if not is_there
    ]


@transaction.atomic
def reward_profile(*, member_id: int) -> list[Earning]:
    """Points for a complete profile, once in a member's life. Idempotent. Raises BadPoints: something is missing."""
    current = _rules("profile_points")
    member_id = living_id(member_id)
    if missing := missing_in_profile(member_id):
        raise BadPoints(_("Still missing: %(what)s.") % {"what": "、".join(missing)})
    if has_profile_points(member_id):  # also under the number that she had before a merge
        return []
    return earn(
        member_id=member_id,
        cause=f"profile:{member_id}",
        source=Earning.PROFILE,
        points=current.profile_points,
        months=current.months,
    )


@transaction.atomic
def reward_review(*, member_id: int, review_id: int) -> list[Earning]:
    """Points for a review that others see now, and what tasks give for it. Idempotent on: the review. Nothing while
    the rules give nothing.
    """
    made = advance_tasks(member_id=member_id, kind=PointsTask.REVIEW, key=f"review:{review_id}")
    current = current_points_rules()
    if current is None or not current.review_points:
        return made
    return made + earn(
        member_id=member_id,
        cause=f"review:{review_id}",
        source=Earning.REVIEW,
        points=current.review_points,
        months=current.months,
    )


def _rules(field: str) -> PointsRules:
    current = current_points_rules()
    if current is None or not getattr(current, field):
        raise BadPoints(_("There are no points for this at the moment."))
    return current


def remind_of_expiring_points(*, limit: int = 500) -> int:
    """Tell members whose points end soon, once for each month in which some end; returns how many were written to.

    The touch policy decides as for marketing: who may not be touched now is asked about again. One transaction per
    account and month. Runs twice without harm: the touch is booked once per (month, member).
    """
    current = current_points_rules()
    if current is None or not current.remind_days:
        return 0
    first = clock.today()
    days = (first + timedelta(days=ahead) for ahead in range(current.remind_days + 1))
    return sum(
        _remind_of(month, current.remind_days, limit)
        for month in sorted({day.replace(day=1) for day in days})
    )


def _remind_of(month: dt.date, days: int, limit: int) -> int:
    """A lot that ends with the last day of a month expires at the first midnight of the next. Who has one that ends
    within `days` is told of all that end in the month: there is no other word of them.
    """
    origin = f"points-end:{month:%Y-%m}"
    after = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
    begins = max(clock.now(), clock.day_start(month))
    ends = clock.day_start(after)
    soon = min(ends, clock.day_start(clock.today() + timedelta(days=days + 1)))
    sent = 0
    for account_id, _name in official_accounts():
        reachable = (
            Identity.objects.filter(kind=Identity.OPENID, account_id=account_id, is_following=True)
            .filter(value__in=wechat_queries.open_reply_windows(account_id))
            .exclude(member_id__in=touched_member_ids(origin))
        )
        ending = (
            LedgerLot.objects.filter(remaining__gt=0, expires_at__gt=begins, expires_at__lte=ends)
            .filter(account__kind=POINTS, account__owner_id__in=reachable.values("member_id"))
            .values("account__owner_id")
            .annotate(points=Sum("remaining"), first=Min("expires_at"))
            .filter(first__lte=soon)
            .order_by("account__owner_id")
            .values_list("account__owner_id", "points")
        )
        last = 0  # by key to the end: those who may not be touched must not keep the others waiting
        while points := dict(ending.filter(account__owner_id__gt=last)[:limit]):
            last = max(points)
            openids = dict(reachable.filter(member_id__in=points).values_list("member_id", "value"))
            sent += _write_to(account_id, {pk: (openids[pk], points[pk]) for pk in openids}, origin)
    return sent


@transaction.atomic
def _write_to(account_id: int, people: dict[int, tuple[str, int]], origin: str) -> int:
    before = set(touched_member_ids(origin).filter(member_id__in=people))
    book_touches(
        origin=origin,
        member_ids=sorted(set(people) - before),
        purpose=Touch.MARKETING,
        channel="custom",
        account_id=account_id,
    )
    booked = set(touched_member_ids(origin).filter(member_id__in=people)) - before
    for member_id in sorted(booked):
        openid, points = people[member_id]
        wechat_services.enqueue_message(
            account_id=account_id,
            channel="custom",
            to=openid,
            body={
                "kind": "link",
                "title": _("%(points)s of your points end soon") % {"points": f"{points:,}"},
                "description": _("See until when they can be spent."),
                "url": f"{settings.PUBLIC_URL}/me/points/",
                "image_url": "",
            },
            origin=origin[:60],
            origin_id=member_id,
        )
    return len(booked)


@transaction.atomic
def move_sign_ins(*, kept_id: int, merged_id: int) -> None:
    """A day on which both signed in is one day. Idempotent."""
    days = SignIn.objects.filter(member_id=kept_id).values("day")
    SignIn.objects.filter(member_id=merged_id, day__in=days).delete()
    SignIn.objects.filter(member_id=merged_id).update(member_id=kept_id)
