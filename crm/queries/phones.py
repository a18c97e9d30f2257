"""A member's phones as she sees them, and the number that waits for its code."""

from dataclasses import dataclass
from datetime import datetime

from core import clock
from core.secrets import masked_phone
from crm.models import Identity, PhoneClaim
from crm.models.phones import MOST_TRIES


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
    """`number` is masked. `is_failed`: the code could not be sent."""

    number: str
    is_failed: bool
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
    is_failed = bool(claim.error) and claim.due_at is None
    return WaitingCode(masked_phone(claim.phone), is_failed, claim.asked_at, claim.expires_at)
