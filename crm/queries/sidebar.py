"""The short picture of a customer beside her chat in WeCom: whose she is, what she holds, when she was written to."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef

from core.models import LedgerAccount
from crm.models import Contact, Identity, Member, Staff, Touch
from crm.queries.merging import BALANCES

TOUCHES_SHOWN = 5


@dataclass(frozen=True)
class Customer:
    """Whom a chat is with. `is_ours`: somebody of the viewer's store has her as a contact, or had."""

    member: Member
    is_ours: bool


def colleague(user: Any) -> Staff | None:
    """The guide behind a login, None for a login that is no guide's."""
    return Staff.objects.filter(user=user).first()


def customer_of(*, account_id: int, external_userid: str, store_id: int | None) -> Customer | None:
    """The member whom this corp knows by this number, with her figures; None: nobody we know. One statement.

    `store_id` None: the viewer belongs to no store, everybody is hers to serve.
    """
    guides = Staff.objects.filter(store=store_id, work_userid__isnull=False).values("work_userid")
    served = Contact.objects.filter(identity__member=OuterRef("member_id"), userid__in=guides)
    found = (
        Identity.objects.filter(
            kind=Identity.EXTERNAL_USERID,
            account=account_id,
            value=external_userid,
            member__erased_at__isnull=True,
        )
        .select_related("member__stats")
        .annotate(served=Exists(served))
        .first()
    )
    if found is None:
        return None
    row: Any = found
    return Customer(found.member, store_id is None or bool(row.served))


def balances_of(member_id: int) -> list[tuple[str, int, bool]]:
    """(label, amount, is it money in fen) of what she holds, in a fixed order; nothing for what she never had."""
    rows = dict(
        LedgerAccount.objects.filter(owner_id=member_id, kind__in=BALANCES).values_list("kind", "balance")
    )
    return [
        (str(label), rows[kind], is_money) for kind, (label, is_money) in BALANCES.items() if kind in rows
    ]


def last_touches(member_id: int) -> list[Touch]:
    """What was sent to her or was not, newest first."""
    return list(Touch.objects.filter(member=member_id).order_by("-at", "-pk")[:TOUCHES_SHOWN])
