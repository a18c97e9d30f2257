"""Asking for stored value back: she asks, an operator decides; how a recharge goes back is `services.recharge`."""

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_rows
from crm import services as crm_services
from shop.errors import NothingToRefund, WrongState
from shop.models import DirectPayment, DirectRefund, StoredValueRequest
from shop.queries.stored_value import balance_for
from shop.services.recharge import refund_recharge


@transaction.atomic
def ask_for_stored_value(*, member_id: int, reason: str = "") -> StoredValueRequest:
    """She asks for what is left of what she paid in. Her open request is found again.

    Locks: member (key share). Idempotent on: her open request, by a unique key. Raises NothingToRefund.
    """
    member_id = crm_services.living_id(member_id)
    principal = balance_for(member_id).principal
    if principal <= 0:
        raise NothingToRefund(_("Nothing of what you paid in is left."))
    row, _made = StoredValueRequest.objects.get_or_create(
        member_id=member_id,
        state=StoredValueRequest.OPEN,
        defaults={"asked_fen": principal, "reason": _text(reason), "asked_at": clock.now()},
    )
    return row


@transaction.atomic
def withdraw_stored_value_request(*, member_id: int) -> bool:
    """She keeps it after all; False when nothing was open."""
    opened = StoredValueRequest.objects.filter(member_id=member_id, state=StoredValueRequest.OPEN)
    return bool(opened.update(state=StoredValueRequest.WITHDRAWN, decided_at=clock.now()))


@transaction.atomic
def pay_stored_value_back(*, request_id: int, by: str = "", user_id: int | None = None) -> StoredValueRequest:
    """Give back, recharge by recharge, the newest first, what is left of the principal and of each recharge.

    Locks: her direct payments, then as `refund_recharge`. Idempotent: what is decided stays. Raises WrongState (not
    open any more), NothingToRefund (nothing of it came by a recharge of the last year, or open orders hold it).
    """
    request = StoredValueRequest.objects.filter(pk=request_id).first()
    if request is None:
        raise WrongState(_("There is no such request."))
    hers = DirectPayment.objects.filter(
        member_id=crm_services.living_id(request.member_id),
        kind=DirectPayment.RECHARGE,
        status=DirectPayment.PAID,
    )
    payments = lock_rows(hers)[0]
    claimed = StoredValueRequest.objects.filter(pk=request_id, state=StoredValueRequest.OPEN).update(
        state=StoredValueRequest.DECLINED, decided_at=clock.now()
    )
    request.refresh_from_db()
    if not claimed:
        if request.state == StoredValueRequest.PAID:
            return request
        raise WrongState(_("This request was decided already."))
    refunds = []
    for payment in sorted(payments, key=lambda one: one.pk, reverse=True):
        if refund := _given_back(payment, by, user_id):
            refunds.append(refund)
    if not refunds:
        raise NothingToRefund(
            _(
                "Nothing can go back by WeChat Pay: open orders hold it, or no recharge of the last year paid it in."
            )
        )
    request.state, request.paid_fen = StoredValueRequest.PAID, sum(one.amount_fen for one in refunds)
    request.refunds, request.actor, request.user_id = [one.pk for one in refunds], by[:80], user_id
    request.save(update_fields=["state", "paid_fen", "refunds", "actor", "user"])
    return request


def _given_back(payment: DirectPayment, by: str, user_id: int | None) -> DirectRefund | None:
    """None: nothing of it is left, it is too old, or a refund of it is under way already."""
    known = set(payment.refunds.values_list("pk", flat=True))
    try:
        refund = refund_recharge(
            recharge_id=payment.pk, reason=_("Stored value asked back"), by=by, user_id=user_id
        )
    except (NothingToRefund, WrongState):
        return None
    return refund if refund.pk not in known else None


@transaction.atomic
def decline_stored_value_request(
    *, request_id: int, answer: str, by: str = "", user_id: int | None = None
) -> StoredValueRequest:
    """Say no, with words that she reads. Idempotent. Raises WrongState (no words; decided otherwise)."""
    words = _text(answer)
    if not words:
        raise WrongState(_("Say why: the member reads it."))
    StoredValueRequest.objects.filter(pk=request_id, state=StoredValueRequest.OPEN).update(
        state=StoredValueRequest.DECLINED,
        answer=words,
        decided_at=clock.now(),
        actor=by[:80],
        user_id=user_id,
    )
    request = StoredValueRequest.objects.filter(pk=request_id).first()
    if request is None or request.state != StoredValueRequest.DECLINED:
        raise WrongState(_("This request was decided already."))
    return request


@transaction.atomic
def move_stored_value_requests(*, kept_id: int, merged_id: int) -> None:
    """Two open ones are one. Idempotent."""
    hers = StoredValueRequest.objects.filter(member_id=merged_id)
    if StoredValueRequest.objects.filter(member_id=kept_id, state=StoredValueRequest.OPEN).exists():
        hers.filter(state=StoredValueRequest.OPEN).update(
            state=StoredValueRequest.WITHDRAWN, decided_at=clock.now()
        )
    hers.update(member_id=kept_id)


def _text(words: str) -> str:
    return " ".join(words.replace("\x00", "").split())[:120]
