"""A guide's own members: who they are, whom to look after, whose birthday comes. Everything here takes the guide."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Count,
    Exists,
    F,
    Func,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
)

from core import clock
from crm.days import SOLAR, YearDay, next_on
from crm.models import Contact, Identity, Member, MemberDay, MemberTag, MergeProposal, Segment, Staff
from crm.models.lifecycle import STAGES
from crm.queries.days import keeps_a_day
from crm.queries.picture import OPEN

MOST_LISTED = 50
MOST_BIRTHDAYS = 200
MOST_SEGMENTS = 20
SOON = dt.timedelta(days=14)
FADING = ("cooling", "dormant")
LISTS = ("all", "cooling", "dormant", "birthdays")


def members_of(guide: Staff, *, whole_store: bool = False) -> QuerySet[Member]:
    """Whom she has in WeCom or brought by a code of hers; with `whole_store` those of all colleagues of her store."""
    # Arrays, read first: Postgres cannot know how few these are, and joined it reads every member of the brand.
    ids = Func(
        *(ArraySubquery(members) for members in _hers(guide, whole_store=whole_store)),
        template="ANY(%(expressions)s)",
        arg_joiner=" || ",
        output_field=BigIntegerField(),
    )
    is_hers = Func(F("pk"), ids, template="%(expressions)s", arg_joiner=" = ", output_field=BooleanField())
    return Member.objects.known().filter(is_hers)


def contacts_of(guide: Staff, *, whole_store: bool = False) -> QuerySet[Contact]:
    """Whom she, or with `whole_store` any colleague of her store, has in WeCom."""
    colleagues = _colleagues(guide, whole_store=whole_store)
    return Contact.objects.filter(OPEN, userid__in=colleagues.values("work_userid"))


def _colleagues(guide: Staff, *, whole_store: bool) -> QuerySet[Staff]:
    if whole_store and guide.store_id is not None:
        return Staff.objects.filter(store=guide.store_id, is_active=True)
    return Staff.objects.filter(pk=guide.pk)


def _hers(guide: Staff, *, whole_store: bool) -> tuple[QuerySet[Any], QuerySet[Any]]:
    """Ids of members: by contacts, and by codes."""
    contacts = contacts_of(guide, whole_store=whole_store)
    brought = Member.objects.filter(
        source__staff__in=_colleagues(guide, whole_store=whole_store).values("pk")
    )
    return contacts.values("identity__member_id"), brought.values("pk")


def member_of(guide: Staff, member_id: int) -> Member | None:
    """One of her own or of her store's members, with her figures; None: not hers to see. One statement."""
    contacts, brought = _hers(guide, whole_store=True)
    is_hers = Q(Exists(contacts.filter(identity__member=member_id))) | Q(Exists(brought.filter(pk=member_id)))
    return Member.objects.known().select_related("stats").filter(is_hers, pk=member_id).first()


@dataclass(frozen=True)
class Counts:
    """How many members, and how many of them are fading or have their birthday in the next days."""

    all: int
    cooling: int
    dormant: int
    birthdays: int


def counts_of(members: QuerySet[Member]) -> Counts:
    """One statement."""
    counted = members.order_by().aggregate(
        all=Count("pk"),
        birthdays=Count("pk", filter=_has_birthday()),
        **{stage: Count("pk", filter=Q(life__stage=stage)) for stage in FADING},
    )
    return Counts(**counted)


def _has_birthday() -> Q:
    today = clock.today()
    return keeps_a_day(MemberDay.BIRTHDAY, since=today, until=today + SOON)


@dataclass(frozen=True)
class MemberRow:
    pk: int
    name: str
    avatar_url: str
    tier: str
    stage: str
    stage_label: str
    value_fen: int | None
    paid_fen: int
    orders_count: int
    last_paid: dt.date | None
    tags: list[str]
    birthday: str
    birthday_on: dt.date | None


@dataclass(frozen=True)
class Listed:
    rows: list[MemberRow]
    next_key: str  # "" at the end


def listed(
    members: QuerySet[Member],
    *,
    which: str = "all",
    term: str = "",
    contacts: QuerySet[Contact] | None = None,
    before: str = "",
) -> Listed:
    """One of the LISTS, or those whom `term` finds, in the remarks of `contacts` too. Three statements.

    All and found ones the newest first, paged by key; fading ones the most promising first; birthdays as they come.
    """
    rows = members.select_related("stats", "life").prefetch_related(
        Prefetch("member_tags", MemberTag.objects.select_related("tag").order_by("pk")),
        Prefetch("days", MemberDay.objects.filter(kind=MemberDay.BIRTHDAY)),
    )
    if term:
        rows = rows.filter(_found_by(term, Contact.objects.none() if contacts is None else contacts))
    elif which in FADING:
        best = rows.filter(life__stage=which).order_by(F("life__value_fen").desc(nulls_last=True), "-pk")
        return Listed([_row(member) for member in best[:MOST_LISTED]], "")
    elif which == "birthdays":
        shown = [_row(member) for member in rows.filter(_has_birthday())[:MOST_BIRTHDAYS]]
        return Listed(sorted(shown, key=lambda row: (row.birthday_on or dt.date.max, row.pk)), "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: MOST_LISTED + 1])
    more = len(found) > MOST_LISTED
    found = found[:MOST_LISTED]
    return Listed([_row(member) for member in found], str(found[-1].pk) if more else "")


def _found_by(term: str, contacts: QuerySet[Contact]) -> Q:
    """By name, by a remark in these contacts, by a whole phone number or its last four digits."""
    hers = Identity.objects.filter(member=OuterRef("pk"))
    noted = contacts.filter(remark__icontains=term)
    found = Q(name__icontains=term) | Q(pk__in=noted.values("identity__member"))
    digits = "".join(letter for letter in term if letter.isascii() and letter.isdigit())
    if len(digits) == 4 and digits == term:
        found |= Q(Exists(hers.filter(kind=Identity.PHONE, value__endswith=digits)))
    elif len(digits) >= 6:
        owners = Identity.objects.filter(kind=Identity.PHONE, value__in=[digits, digits.removeprefix("86")])
        found |= Q(pk__in=owners.values("member"))
    return found


def _row(member: Any) -> MemberRow:
    life = getattr(member, "life", None)
    day = birthday_of(member, member.days.all())
    return MemberRow(
        pk=member.pk,
        name=member.name,
        avatar_url=member.avatar_url,
        tier=member.tier,
        stage=life.stage if life else "",
        stage_label=str(dict(STAGES)[life.stage]) if life else "",
        value_fen=life.value_fen if life else None,
        paid_fen=member.stats.paid_fen,
        orders_count=member.stats.orders_count,
        last_paid=clock.local(member.stats.last_paid_at).date() if member.stats.last_paid_at else None,
        tags=[one.tag.name for one in member.member_tags.all()],
        birthday=str(day) if day else "",
        birthday_on=next_on(day, clock.today()) if day else None,
    )


def birthday_of(member: Member, days: Iterable[MemberDay]) -> YearDay | None:
    """The lunar one where she keeps that, else the one with its year."""
    for one in days:
        if one.kind == MemberDay.BIRTHDAY:
            return YearDay(one.calendar, one.month, one.day, one.is_leap)
    return YearDay(SOLAR, member.birthday.month, member.birthday.day) if member.birthday else None


def segments_for_guides() -> list[Segment]:
    """The segments that the brand shows to guides."""
    return list(Segment.objects.filter(is_shown_to_guides=True).order_by("name")[:MOST_SEGMENTS])


def may_be_another(member_id: int) -> bool:
    """Is somebody to decide whether she and another member are one person?"""
    pair = Q(elder=member_id) | Q(younger=member_id)
    return MergeProposal.objects.filter(pair, state=MergeProposal.OPEN).exists()
