"""One member as a whole: her tags with who put them, her guides, her consents, and the words for all that is named."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import BooleanField, Case, F, FilteredRelation, OuterRef, Q, Subquery, When
from django.db.models.functions import Coalesce, JSONObject, TruncDate

from core import clock
from crm.models import Consent, Contact, Identity, Staff, Tag
from crm.picture import subject_sources

OPEN = Q(added_at__isnull=False) & (Q(removed_at__isnull=True) | Q(added_at__gt=F("removed_at")))

MOST_TAGS = 1_000
MOST_CONSENTS = 100
MOST_GUIDES = 20


@dataclass(frozen=True)
class CarriedTag:
    tag_id: int
    group: str
    name: str
    origin: str
    at: datetime


@dataclass(frozen=True)
class Tags:
    """The tags she carries, and those she could get."""

    carried: list[CarriedTag]
    others: list[Tag]


def tags_of(member_id: int) -> Tags:
    """One statement for both lists; of a house with very many tags the first thousand are offered."""
    hers = FilteredRelation("member_tags", condition=Q(member_tags__member=member_id))
    rows = (
        Tag.objects.select_related("group")
        .annotate(hers=hers)
        .annotate(origin=F("hers__origin"), since=F("hers__at"))
        .order_by(F("hers__at").asc(nulls_last=True), "group__sort", "group_id", "sort", "pk")[:MOST_TAGS]
    )
    carried, others = [], []
    for tag in rows:
        row: Any = tag
        if row.since is None:
            others.append(tag)
        else:
            carried.append(CarriedTag(tag.pk, tag.group.name, tag.name, row.origin, row.since))
    return Tags(carried, sorted(others, key=lambda tag: (tag.group.sort, tag.group_id, tag.sort, tag.pk)))


def identities_with_guides(member_id: int) -> list[Any]:
    """Her identities with their accounts, each with `guides`: {"guide" (a name we know), "is_open", "added",
    "removed" (the shop's days), "remark"} of her WeCom contacts, ended ones too. One statement.
    """
    zone = clock.zone()
    contacts = (
        Contact.objects.filter(identity=OuterRef("pk"))
        .annotate(guide=Subquery(Staff.objects.filter(work_userid=OuterRef("userid")).values("name")[:1]))
        .order_by("-added_at", "pk")
        .values(
            told=JSONObject(
                guide=Coalesce("guide", "userid"),
                is_open=Case(When(OPEN, then=True), default=False, output_field=BooleanField()),
                added=TruncDate("added_at", tzinfo=zone),
                removed=TruncDate("removed_at", tzinfo=zone),
                remark="remark",
            )
        )[:MOST_GUIDES]
    )
    rows = Identity.objects.filter(member=member_id).select_related("account")
    return list(rows.annotate(guides=ArraySubquery(contacts)).order_by("pk"))


def consents_of(member_id: int) -> tuple[list[Consent], dict[str, bool]]:
    """Her answers, the newest first, and the latest of each purpose (as `consent_answers`). One statement."""
    rows = list(
        Consent.objects.filter(member=member_id)
        .select_related("account")
        .order_by("-at", "-pk")[:MOST_CONSENTS]
    )
    latest = {row.purpose: row.is_given for row in reversed(rows) if row.account_id is None}
    return rows, latest


def subject_names(subjects: Iterable[str], *, viewer: Any) -> dict[str, str]:
    """ "broadcast:3" → its name, for every subject whose app has said how it is called and that this viewer may see.

    One statement, or none. "staff:3" names the login that acted.
    """
    wanted: dict[str, set[int]] = {}
    for subject in subjects:
        kind, _colon, number = subject.partition(":")
        kind = "user" if kind == "staff" else kind
        if number.isascii() and number.isdigit() and len(number) < 19:
            wanted.setdefault(kind, set()).add(int(number))
    sources = subject_sources(viewer)
    parts = [(kind, sources[kind], sorted(ids)) for kind, ids in wanted.items() if kind in sources]
    if not parts:
        return {}
    sql = " UNION ALL ".join(
        f"SELECT %s || ':' || named.id, named.name FROM ({source}) AS named(id, name)"  # noqa: S608  registered by code
        for _kind, (source, _more), _ids in parts
    )
    params: list[Any] = []
    for kind, (_source, more), ids in parts:
        params += ["staff" if kind == "user" else kind, ids, *more]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return dict(cursor.fetchall())
