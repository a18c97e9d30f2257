"""The shop's own means of payment: stored value and gift cards, held in the ledger until the order is paid.

A `Payment` of such a kind stands on holds named `order:<order>:<ledger kind>:<payment>`. Stored value takes principal
and bonus in the order that `RechargePolicy` says; what goes back, goes back to each part as it came from it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from core import clock, ledger
from core.ledger import HOUSE, CauseTaken, ReversesTooMuch
from core.locks import lock_row, lock_rows
from core.models import LedgerAccount, LedgerHold, LedgerTransfer
from shop import recharge_rules as rules
from shop.errors import NoSuchOrder
from shop.models import Payment, RechargePolicy
from shop.queries.stored_value import BONUS, GIFT_CARD, POINTS, PRINCIPAL, spendable_of


def hold_tender(payment: Payment, *, member_id: int) -> None:
    """Set the payment's amount aside. Locks: ledger accounts. Idempotent on: payment. Raises BalanceTooLow."""
    if LedgerHold.objects.filter(cause__in=_causes(payment)).exists():
        return
    if payment.kind == Payment.GIFT_CARD:
        assert payment.gift_card_id is not None
        account = ledger.open_account(kind=GIFT_CARD, owner_id=payment.gift_card_id)
        ledger.hold(cause=_cause(payment, GIFT_CARD), account=account, amount=payment.amount_fen)
        return
    accounts = {kind: ledger.open_account(kind=kind, owner_id=member_id) for kind in (PRINCIPAL, BONUS)}
    lock_rows(LedgerAccount.objects.filter(pk__in=[account.pk for account in accounts.values()]))
    principal = rules.principal_part(
        payment.amount_fen,
        principal_fen=max(spendable_of(accounts[PRINCIPAL].pk), 0),
        bonus_fen=max(spendable_of(accounts[BONUS].pk), 0),
        in_proportion=spends_in_proportion(),
    )
    for kind, part in ((PRINCIPAL, principal), (BONUS, payment.amount_fen - principal)):
        if part:
            ledger.hold(cause=_cause(payment, kind), account=accounts[kind], amount=part)


def capture_tender(payment: Payment, *, at: datetime) -> None:
    """Spend what was held; the payment is paid. Locks: ledger accounts. Idempotent on: payment."""
    for hold in LedgerHold.objects.filter(cause__in=_causes(payment)).select_related("account"):
        spent = ledger.open_account(kind=f"{ledger.unit_of(hold.account.kind)}.spent", owner_id=HOUSE)
        ledger.capture(cause=hold.cause, credit=spent)
    Payment.objects.filter(pk=payment.pk, status=Payment.OPEN).update(
        status=Payment.PAID, paid_fen=payment.amount_fen, paid_at=at
    )


def release_tender(payment: Payment, *, member_id: int | None = None) -> None:
    """Give what was held free; the payment is closed. Locks: ledger accounts. Idempotent on: payment.

    `member_id` is whose order it is by now: after a merge of members, her value follows her.
    """
    close_tender(payment)
    owners: set[int] = set()
    for cause in LedgerHold.objects.filter(cause__in=_causes(payment)).values_list("cause", flat=True):
        owners.add(ledger.release(cause=cause).account.owner_id)
    if payment.kind == Payment.STORED_VALUE:
        follow_member(owners, member_id)


def close_tender(payment: Payment) -> None:
    """The payment's row only; `release_tender` gives the hold free."""
    Payment.objects.filter(pk=payment.pk, status=Payment.OPEN).update(
        status=Payment.CLOSED, closed_at=clock.now()
    )


def release_tenders_of(order_id: int, *, member_id: int | None) -> None:
    """Release every open tender of an order that will not be paid. Call under its lock, after every other lock."""
    for payment in open_tenders_of(order_id):
        release_tender(payment, member_id=member_id)


def open_tenders_of(order_id: int) -> list[Payment]:
    return list(
        Payment.objects.filter(order_id=order_id, status=Payment.OPEN, kind__in=Payment.INTERNAL).order_by(
            "pk"
        )
    )


@transaction.atomic
def give_back(*, payment_id: int, amount_fen: int, cause: str) -> int:
    """Give a part (fen) of a stored-value or gift-card payment back to where it came from; returns the amount.

    `cause` names the refund ("refund:17"), at most 80 characters. Locks: payment, ledger accounts. Idempotent on:
    cause. Principal and bonus come back in the proportion in which they were spent, so that all parts together give
    back exactly what came from each; lots keep their expiry, so what expired meanwhile expires again.
    Raises NoSuchOrder (no such payment), ReversesTooMuch (more than is left of it), CauseTaken.
    """
    payment = lock_row(Payment.objects.filter(pk=payment_id, kind__in=Payment.INTERNAL))
    if payment is None:
        raise NoSuchOrder(_("There is no such payment from stored value or a gift card."))
    done = dict(
        LedgerTransfer.objects.filter(cause__in=[f"{cause}:{kind}" for kind in (GIFT_CARD, BONUS, PRINCIPAL)])
        .filter(reverses__cause__in=[f"capture:{one}" for one in _causes(payment)])
        .values_list("cause", "amount")
    )
    if done:
        if sum(done.values()) != amount_fen:
            raise CauseTaken(_("The cause %(cause)s already stands for another transfer.") % {"cause": cause})
        return amount_fen
    if amount_fen <= 0 or payment.status != Payment.PAID:
        raise ReversesTooMuch(_("Nothing of this payment can be given back."))
    spent = {
        kind: transfer
        for kind in (GIFT_CARD, BONUS, PRINCIPAL)
        for transfer in LedgerTransfer.objects.filter(
            cause=f"capture:{_cause(payment, kind)}"
        ).select_related("debit")
    }
    back = {
        kind: transfer.reversals.aggregate(total=Sum("amount"))["total"] or 0
        for kind, transfer in spent.items()
    }
    if amount_fen > payment.amount_fen - sum(back.values()):
        raise ReversesTooMuch(_("More would be given back than is left of this payment."))
    bonus = rules.bonus_back(
        amount_fen + sum(back.values()), spent_fen=payment.amount_fen, bonus_fen=_amount(spent, BONUS)
    )
    parts = {BONUS: max(min(bonus - back.get(BONUS, 0), amount_fen), 0)}
    if left := amount_fen - sum(parts.values()):
        parts[PRINCIPAL if PRINCIPAL in spent else GIFT_CARD] = left
    owners: set[int] = set()
    for kind, part in parts.items():
        if part:
            ledger.reverse(transfer_cause=spent[kind].cause, cause=f"{cause}:{kind}", amount=part)
            owners.add(spent[kind].debit.owner_id)
    if payment.kind == Payment.STORED_VALUE:
        follow_member(owners, payment.order.member_id)
    return amount_fen


def _amount(spent: Mapping[str, LedgerTransfer], kind: str) -> int:
    return spent[kind].amount if kind in spent else 0


def spends_in_proportion() -> bool:
    return not RechargePolicy.objects.filter(pk=1, spending=RechargePolicy.PRINCIPAL).exists()


def follow_member(owners: set[int], member_id: int | None) -> None:
    """What came back to these owners follows the member whose order it is by now: some were merged into her."""
    if member_id is not None:
        for owner in sorted(owners - {member_id}):
            move_value(kept_id=member_id, merged_id=owner)


@transaction.atomic
def move_value(*, kept_id: int, merged_id: int) -> int:
    """Move what a merged member can spend, stored value and points, to the kept one, lot by lot: each keeps its
    expiry. Returns how much.

    What is held stays until its order is paid or released; `follow_member` then brings it after.
    Locks: ledger accounts. May run twice.
    """
    moved = 0
    for kind in (PRINCIPAL, BONUS, POINTS):
        source = LedgerAccount.objects.filter(kind=kind, owner_id=merged_id).first()
        if source is None:
            continue
        target = ledger.open_account(kind=kind, owner_id=kept_id)
        lock_rows(LedgerAccount.objects.filter(pk__in=[source.pk, target.pk]))
        left = spendable_of(source.pk)
        lots = source.lots.filter(remaining__gt=0).order_by("expires_at", "pk")
        for lot in lots:
            if not left:
                break
            if lot.expires_at is not None and lot.expires_at <= clock.now():
                continue
            part = min(left, lot.remaining)
            ledger.transfer(
                cause=f"merge:{merged_id}:{kept_id}:lot:{lot.pk}:{lot.uses.count()}",
                debit=source,
                credit=target,
                amount=part,
                expires_at=lot.expires_at,
            )
            moved, left = moved + part, left - part
    return moved


@transaction.atomic
def return_value(*, kept_id: int, merged_id: int, merge_id: int, since: datetime) -> dict[str, int]:
    """The way back of `move_value`, for a merge that was undone: each lot goes back to where it came from, as far as
    the kept member still has it. `since`: the merge; an earlier one of the pair was settled by its own undo. Returns
    what she spent of it meanwhile, by ledger kind.

    Locks: ledger accounts. Idempotent on: the merge and the transfer.
    """
    moves = LedgerTransfer.objects.filter(
        cause__startswith=f"merge:{merged_id}:{kept_id}:lot:", posted_at__gte=since
    )
    accounts = LedgerAccount.objects.filter(
        Q(pk__in=moves.values("debit")) | Q(pk__in=moves.values("credit"))
    )
    lock_rows(accounts)
    rest: dict[str, int] = {}
    for move in moves.select_related("lot", "credit").order_by("-pk"):
        back = move.reversals.aggregate(total=Sum("amount"))["total"] or 0
        move.lot.refresh_from_db(fields=["remaining"])  # what expired meanwhile went with the turn before
        part = min(move.lot.remaining, move.amount - back, _free(move.credit_id))
        if part:
            ledger.reverse(transfer_cause=move.cause, cause=f"unmerge:{merge_id}:{move.pk}", amount=part)
        if left := move.amount - back - part:
            rest[move.credit.kind] = rest.get(move.credit.kind, 0) + left
    return rest


def _free(account_id: int) -> int:
    """What no hold covers; expired lots count, they go back to where they would expire too."""
    balance, held = LedgerAccount.objects.values_list("balance", "held").get(pk=account_id)
    return balance - held


def _cause(payment: Payment, kind: str) -> str:
    return f"order:{payment.order_id}:{kind}:{payment.pk}"


def _causes(payment: Payment) -> Sequence[str]:
    return [_cause(payment, kind) for kind in (PRINCIPAL, BONUS, GIFT_CARD)]
