"""What the page "my data" shows a member of what is kept about her; masked, somebody may look over her shoulder."""

from dataclasses import dataclass
from datetime import datetime

from crm.models import Consent, DataRequest, Identity, MemberDay, MemberTag


@dataclass(frozen=True)
class OwnIdentity:
    label: str
    account: str
    value: str
    since: datetime
    is_following: bool


def own_identities(member_id: int) -> list[OwnIdentity]:
    """Her addresses, phones with four digits hidden, WeChat's numbers with their ends only."""
    rows = Identity.objects.filter(member=member_id).select_related("account").order_by("created_at", "pk")
    return [
        OwnIdentity(
            label=str(row.get_kind_display()),
            account=str(row.account) if row.account else "",
            value=row.hidden
            if row.kind == Identity.PHONE
            else f"{row.value[:4]}…{row.value[-4:]}"
            if len(row.value) > 10
            else row.value,
            since=row.created_at,
            is_following=row.is_following,
        )
        for row in rows
    ]


def shown_tags(member_id: int) -> list[str]:
    """Names of her tags of the groups that members may see."""
    rows = MemberTag.objects.filter(member=member_id, tag__group__is_shown_to_members=True)
    return list(rows.order_by("tag__group__sort", "tag__sort").values_list("tag__name", flat=True))


def consent_history(member_id: int, *, most: int = 30) -> list[Consent]:
    """Each giving and withdrawing with the version of the text and the moment, newest first."""
    rows = Consent.objects.filter(member=member_id).select_related("account")
    return list(rows.order_by("-at", "-pk")[:most])


def open_erasure(member_id: int) -> DataRequest | None:
    return DataRequest.objects.filter(
        member=member_id, kind=DataRequest.ERASE, state=DataRequest.OPEN
    ).first()


def lunar_birthday(member_id: int) -> tuple[str, str, str]:
    """(month, day, leap) as the page's form has them; empty texts for none."""
    row = MemberDay.objects.filter(member=member_id, kind=MemberDay.BIRTHDAY).first()
    return (str(row.month), str(row.day), "1" if row.is_leap else "") if row else ("", "", "")
