"""What a member last answered."""

from dataclasses import dataclass

from crm.models import Consent, Identity


def consent_answers(member_id: int) -> dict[str, bool]:
    """Purpose → her latest answer; purposes she was never asked for are missing."""
    rows = Consent.objects.filter(member=member_id, account=None).order_by("purpose", "-at", "-pk")
    rows = rows.distinct("purpose")
    return dict(rows.values_list("purpose", "is_given"))


@dataclass(frozen=True)
class Channel:
    """An account on which she can be reached now, and whether marketing is welcome there."""

    account_id: int
    name: str
    takes_marketing: bool


def channels_of(member_id: int) -> list[Channel]:
    """The accounts that she follows and the corps whose contact she is. One statement."""
    rows = (
        Identity.objects.filter(
            member=member_id, kind__in=(Identity.OPENID, Identity.EXTERNAL_USERID), is_following=True
        )
        .select_related("account")
        .order_by("account_id", "pk")
    )
    found: dict[int, Channel] = {}
    for row in rows:
        if row.account is not None and row.account_id is not None:
            known = found.get(row.account_id)
            takes = row.takes_marketing and (known is None or known.takes_marketing)
            found[row.account_id] = Channel(row.account_id, row.account.name or row.account.key, takes)
    return list(found.values())
