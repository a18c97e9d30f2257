"""Crediting stored value: what she paid for and what the shop adds are two balances."""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, ledger
from core.ledger import HOUSE, CauseTaken
from crm import services as crm_services
from shop.errors import BadAmount
from shop.models import StoredValueCredit
from shop.queries.stored_value import BONUS, PRINCIPAL

MOST_FEN = 10_000_000


@transaction.atomic
def credit_stored_value(
    *,
    member_id: int,
    principal_fen: int,
    bonus_fen: int = 0,
    reason: str,
    idempotency_key: str,
    bonus_expires_at: datetime | None = None,
    by: str = "",
    user_id: int | None = None,
) -> StoredValueCredit:
    """Add principal and bonus (fen, one of them may be 0) to a member's stored value.

    Locks: member (key share), ledger accounts. Idempotent on: idempotency_key. Raises BadAmount, CauseTaken (the key
    stands for another credit).
    """
    reason = " ".join(reason.split())[:120]
    if not 0 <= principal_fen <= MOST_FEN or not 0 <= bonus_fen <= MOST_FEN or principal_fen + bonus_fen == 0:
        raise BadAmount(_("Enter an amount between ¥0.01 and ¥100,000."))
    if not reason:
        raise BadAmount(_("Say why the member gets this value."))
    if bonus_expires_at is not None and bonus_expires_at <= clock.now():
        raise BadAmount(_("The bonus would be expired already."))
    credit, created = StoredValueCredit.objects.get_or_create(
        idempotency_key=idempotency_key[:64],
        defaults={
            "member_id": member_id,
            "principal_fen": principal_fen,
            "bonus_fen": bonus_fen,
            "bonus_expires_at": bonus_expires_at,
            "reason": reason,
            "actor": by,
            "user_id": user_id,
            "at": clock.now(),
        },
    )
    if not created:
        if (credit.member_id, credit.principal_fen, credit.bonus_fen) != (
            member_id,
            principal_fen,
            bonus_fen,
        ):
            raise CauseTaken(_("This form was already sent with other values. Please open it anew."))
        return credit
    owner_id = crm_services.living_id(member_id)  # the form may have lain open while she was merged
    for kind, amount, expires_at in (
        (PRINCIPAL, principal_fen, None),
        (BONUS, bonus_fen, bonus_expires_at),
    ):
        if amount:
            ledger.transfer(
                cause=f"credit:{credit.pk}:{kind}",
                debit=ledger.open_account(kind=kind, owner_id=HOUSE),
                credit=ledger.open_account(kind=kind, owner_id=owner_id),
                amount=amount,
                expires_at=expires_at,
            )
    return credit
