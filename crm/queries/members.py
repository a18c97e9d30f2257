"""Finding members, their identities, and those who fell silent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from crm.models import Identity, Member, MemberStats, Staff, Store


def of_account(account_id: int | None) -> Q:
    """Identities of this account; None: of no account (unionid, phone, imports)."""
    return Q(account__isnull=True) if account_id is None else Q(account=account_id)


@dataclass(frozen=True)
class MemberIdentity:
    kind: str
    account_id: int | None
    value: str
    is_following: bool
    is_verified: bool
    followed_at: datetime | None
    unfollowed_at: datetime | None
    takes_marketing: bool = True


def find_member(pk: int) -> Member | None:
    """The member, or the living one that she was merged into."""
    member = Member.objects.select_related("merged_into").filter(pk=pk).first()
    return (member.merged_into or member) if member else None


def living_ids(member_ids: Iterable[int]) -> dict[int, int]:
    """Each id → the living member's id (itself unless merged); unknown ids are left out."""
    rows = Member.objects.filter(pk__in=list(member_ids)).values_list("pk", "merged_into_id")
    return {pk: merged_into_id or pk for pk, merged_into_id in rows}


def identities_of(member_id: int) -> list[MemberIdentity]:
    """All addresses of a member. Phones are whole here: mask them before they are shown."""
    rows = Identity.objects.filter(member=member_id).order_by("pk")
    return [
        MemberIdentity(
            row.kind,
            row.account_id,
            row.value,
            row.is_following,
            row.is_verified,
            row.followed_at,
            row.unfollowed_at,
            row.takes_marketing,
        )
        for row in rows
    ]


def openids_of(
    account_id: int, *, following: bool = True, welcome: bool = False
) -> QuerySet[Identity, tuple[int, str]]:
    """(member_id, openid) of an account's followers; for WeCom accounts external userids. Usable as a subquery.

    `welcome`: only of those who take marketing there.
    """
    rows = Identity.objects.filter(
        account_id=account_id, kind__in=[Identity.OPENID, Identity.EXTERNAL_USERID]
    )
    if following:
        rows = rows.filter(is_following=True)
    if welcome:
        rows = rows.filter(takes_marketing=True)
    return rows.values_list("member_id", "value")


def import_numbers_of(member_id: int) -> dict[str, list[str]]:
    """Her numbers in other systems, by source."""
    numbers: dict[str, list[str]] = {}
    rows = Identity.objects.filter(member=member_id, kind=Identity.IMPORT).order_by("pk")
    for value in rows.values_list("value", flat=True):
        source, _colon, number = value.partition(":")
        numbers.setdefault(source, []).append(number)
    return numbers


def members_by_identity(*, kind: str, account_id: int | None, values: Iterable[str]) -> dict[str, int]:
    """Identity value → member id, for the values that are known (and, phones, verified)."""
    wanted = [value for value in values if value]
    if not wanted:
        return {}
    return dict(
        Identity.objects.filter(
            of_account(account_id), kind=kind, value__in=wanted, is_verified=True
        ).values_list("value", "member_id")
    )


def member_by_phone(phone: str) -> int | None:
    """The living member with this phone: who confirmed it, else the only one for whom it was typed."""
    rows = Identity.objects.filter(kind=Identity.PHONE, value=phone, member__merged_into__isnull=True)
    found = dict(rows.order_by("is_verified").values_list("is_verified", "member_id"))
    if True in found:
        return found[True]
    typed = set(rows.values_list("member_id", flat=True)) if found else set()
    return typed.pop() if len(typed) == 1 else None


def names_of(member_ids: Iterable[int]) -> dict[int, str]:
    return dict(Member.objects.filter(pk__in=list(member_ids)).values_list("pk", "name"))


def staff_ids(work_userids: Iterable[str]) -> dict[str, int]:
    """WeCom userid → Staff id, for those we know."""
    known = Staff.objects.filter(work_userid__in=[userid for userid in work_userids if userid])
    return {str(userid): pk for userid, pk in known.values_list("work_userid", "pk")}


def stores(*, only_active: bool = True) -> QuerySet[Store]:
    rows = Store.objects.order_by("name")
    return rows.filter(is_active=True) if only_active else rows


def silent_since(at: datetime) -> QuerySet[MemberStats, int]:
    """Ids of members who bought before `at` and have neither ordered nor done anything since. A subquery."""
    return (
        MemberStats.objects.filter(last_paid_at__lt=at)
        .filter(Q(last_active_at__isnull=True) | Q(last_active_at__lt=at))
        .values_list("pk", flat=True)
    )


def way_in(word: str) -> str:
    """ "follow" → "followed", in the reader's language: how she became a member."""
    return str(dict(Member.WAYS).get(word, word))
