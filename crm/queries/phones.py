"""A member's phones as she sees them, and the number that waits for its code."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from core import clock
from core.secrets import masked_phone
from crm import sms
from crm.models import Identity, PhoneClaim
from crm.models.phones import MOST_TRIES

MOST_LOOKED_AT = 500


@dataclass(frozen=True)
class OwnPhone:
    """`number` is masked: somebody may look over her shoulder."""

    pk: int
    number: str
    is_confirmed: bool
    source: str
    since: datetime


@dataclass(frozen=True)
class WaitingCode:
    """`number` is masked. `failed`: the code could not be sent, and why, one of crm.sms; else ""."""

    number: str
    failed: str
    asked_at: datetime
    expires_at: datetime


def own_phones(member_id: int) -> list[OwnPhone]:
    """Confirmed ones first. One statement."""
    rows = Identity.objects.filter(member=member_id, kind=Identity.PHONE)
    return [
        OwnPhone(
            row.pk, masked_phone(row.value), row.is_verified, str(row.get_source_display()), row.created_at
        )
        for row in rows.order_by("-is_verified", "created_at", "pk")
    ]


def open_claim(member_id: int) -> PhoneClaim | None:
    """The number that waits for its code."""
    return PhoneClaim.objects.filter(
        member=member_id, state=PhoneClaim.OPEN, expires_at__gt=clock.now(), tries__lt=MOST_TRIES
    ).first()


def waiting_code(member_id: int) -> WaitingCode | None:
    """The same for the page. One statement."""
    claim = open_claim(member_id)
    if claim is None:
        return None
    gone_wrong = claim.error if claim.due_at is None else ""
    because = gone_wrong.partition(": ")[0] if ": " in gone_wrong else sms.AGAIN
    failed = because if gone_wrong and because != sms.UNKNOWN else ""
    return WaitingCode(masked_phone(claim.phone), failed, claim.asked_at, claim.expires_at)


@dataclass(frozen=True)
class SmsTrouble:
    """Codes of today and yesterday that the provider refused for a reason of the house's; `code` of the newest."""

    count: int
    code: str
    since: datetime


def sms_trouble() -> SmsTrouble | None:
    """None when codes go out again, or always did. One statement over the claims of two days."""
    yesterday = clock.today() - timedelta(days=1)
    sent_for = PhoneClaim.objects.filter(day__gte=yesterday, attempts__gt=0, due_at__isnull=True)
    rows = list(sent_for.order_by("-pk").values_list("error", "asked_at")[:MOST_LOOKED_AT])
    bad = list(
        takewhile(lambda row: row[0].startswith(f"{sms.HOUSE}: "), (row for row in rows if _says(row[0])))
    )
    if not bad:
        return None
    return SmsTrouble(len(bad), bad[0][0].partition(": ")[2], bad[-1][1])


def _says(error: str) -> bool:
    """Whether this outcome tells if the house can send: a wrong number and a silence do not."""
    return not error or error.startswith(f"{sms.HOUSE}: ")
