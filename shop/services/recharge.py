"""Recharging stored value on the phone, and giving a recharge back.

Principal is what she paid, bonus what the shop adds: two accounts of the ledger. See `RechargePolicy` for how they
are spent.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils.translation import gettext as _

from core import clock, ledger, money
from core.ledger import HOUSE
from core.locks import advisory_lock, lock_row, lock_rows
from core.models import LedgerAccount, LedgerLot, LedgerLotUse
from crm import services as crm_services
from shop import recharge_rules as rules
from shop.errors import NoSuchOffer, NothingToRefund, RechargeRefused, WrongState
from shop.models import DirectPayment, DirectRefund, Payment, Recharge, Refund
from shop.queries.recharge import offers_now
from shop.queries.stored_value import BONUS, PRINCIPAL, spendable_of
from shop.services.direct import Goods, fits, new_direct_payment, refuse_other_terms, sell, start_sheet
from shop.services.direct_refunds import request_direct_refund
from shop.services.payments_booked import Payer
from shop.services.tallies import give_one_back, take_one
from shop.services.tenders import follow_member


def start_recharge(
    *, offer_id: int, member_id: int, shown: str = "", way: str = Payment.JSAPI, client_ip: str = ""
) -> dict[str, Any]:
    """Start the payment of an offer, see `start_sheet`. `shown`: its `terms` as she saw them. Raises NoSuchOffer,
    RechargeRefused, PaymentNotPossible, PlatformBusy.
    """
    return start_sheet(
        lambda payer: (
            arrange_recharge(offer_id=offer_id, member_id=member_id, shown=shown, payer=payer).payment
        ),
        member_id=member_id,
        wish=Q(recharge__offer_id=offer_id),
        as_offered=_as_offered(),
        way=way,
        client_ip=client_ip,
    )


def _as_offered() -> Q:
    """Payments of a recharge that is what its offer says now."""
    same = {"principal_fen": "pay_fen", "bonus_fen": "bonus_fen", "bonus_days": "bonus_days"}
    return Q(**{f"recharge__{ours}": F(f"recharge__offer__{theirs}") for ours, theirs in same.items()})


@transaction.atomic
def arrange_recharge(*, offer_id: int, member_id: int, payer: Payer, shown: str = "") -> Recharge:
    """The recharge and its open payment, as the offer says now; written before WeChat is asked.

    Locks: the member's recharges (advisory), member (key share), her tally. Idempotent: the open payment of the same
    offer, amounts and payer is found again. Raises NoSuchOffer (it ended, or is not what she was shown),
    RechargeRefused (she has had it as often as she may).
    """
    advisory_lock("shop.recharge", member_id)
    member_id = crm_services.living_id(member_id)
    offer = offers_now().filter(pk=offer_id).first()
    if offer is None:
        raise NoSuchOffer(_("This offer is over. Please choose another one."))
    refuse_other_terms(shown, offer.terms)
    opened = DirectPayment.objects.filter(fits(payer), _as_offered(), member_id=member_id)
    opened = opened.filter(recharge__offer=offer).select_related("recharge")
    if known := opened.order_by("pk").last():
        return known.recharge
    if not take_one(subject=_subject(offer.pk), member_id=member_id, limit=offer.per_member):
        raise RechargeRefused(_("You have already used this offer. Please choose another one."))
    payment = new_direct_payment(
        kind=DirectPayment.RECHARGE, member_id=member_id, amount_fen=offer.pay_fen, payer=payer
    )
    return Recharge.objects.create(
        payment=payment,
        offer=offer,
        principal_fen=offer.pay_fen,
        bonus_fen=offer.bonus_fen,
        bonus_days=offer.bonus_days,
        counts=True,
    )


def _subject(offer_id: int | None) -> str:
    return f"recharge:{offer_id}"


def _cause(recharge_id: int, kind: str) -> str:
    return f"recharge:{recharge_id}:{kind}"


def _book(payment: DirectPayment) -> None:
    """The value is hers. Under the payment's lock."""
    recharge = payment.recharge
    member_id = crm_services.living_id(payment.member_id)
    if not recharge.counts and recharge.offer_id:  # paid after its sheet was closed: promised all the same
        take_one(subject=_subject(recharge.offer_id), member_id=member_id, limit=0)
        Recharge.objects.filter(pk=recharge.pk).update(counts=True)
    crm_services.record_activity(
        member_id=member_id,
        kind="recharged",
        at=payment.paid_at or clock.now(),
        subject=f"recharge:{recharge.pk}",
        amount_fen=recharge.principal_fen,
    )
    ends = (  # from the day on which she has it: a late notice costs her no day
        clock.day_start(clock.today() + timedelta(days=recharge.bonus_days + 1))
        if recharge.bonus_days
        else None
    )
    for kind, amount, expires_at in (
        (PRINCIPAL, recharge.principal_fen, None),
        (BONUS, recharge.bonus_fen, ends),
    ):
        if amount:
            ledger.transfer(
                cause=_cause(recharge.pk, kind),
                debit=ledger.open_account(kind=kind, owner_id=HOUSE),
                credit=ledger.open_account(kind=kind, owner_id=member_id),
                amount=amount,
                expires_at=expires_at,
            )


def _close(payment: DirectPayment) -> None:
    recharge = payment.recharge
    if Recharge.objects.filter(pk=recharge.pk, counts=True).update(counts=False):
        give_one_back(subject=_subject(recharge.offer_id), member_id=payment.member_id)


@transaction.atomic
def refund_recharge(
    *, recharge_id: int, reason: str, by: str = "", user_id: int | None = None
) -> DirectRefund:
    """Give back what is left of a recharge: principal only, and the bonus that this part brought is taken back.

    What is left: at most what she has of principal that no open order holds, whichever recharge it came from, for
    principal is all alike. The bonus goes in proportion (`rules.bonus_of`), as far as she still has it; what the spent
    principal brought stays hers, and what of this bonus has expired is not asked for again. Both are taken at once, so
    that nothing is spent while the money is under way.
    Locks: payment, member (key share), ledger accounts. Idempotent: the refund under way is returned.
    Raises WrongState (not paid; older than a year), NothingToRefund.
    """
    payment = lock_row(DirectPayment.objects.filter(pk=recharge_id, kind=DirectPayment.RECHARGE))
    if payment is None or payment.status != DirectPayment.PAID:
        raise WrongState(_("Only a recharge that was paid can be given back."))
    under_way = payment.refunds.exclude(
        status__in=[Refund.SUCCESS, Refund.CLOSED, DirectRefund.OUTSIDE]
    ).first()
    if under_way is not None:
        return under_way
    recharge = payment.recharge
    member_id = crm_services.living_id(payment.member_id)
    accounts = {kind: ledger.open_account(kind=kind, owner_id=member_id) for kind in (PRINCIPAL, BONUS)}
    lock_rows(LedgerAccount.objects.filter(pk__in=[account.pk for account in accounts.values()]))
    left = min(payment.paid_fen - payment.refunded_fen, spendable_of(accounts[PRINCIPAL].pk))
    if left <= 0:
        raise NothingToRefund(_("Nothing of this recharge is left: it was spent, or open orders hold it."))
    bonus = min(_bonus_due(recharge, payment.refunded_fen, left), spendable_of(accounts[BONUS].pk))
    bonus = max(bonus, 0)
    refund = request_direct_refund(
        payment, amount_fen=left, bonus_fen=bonus, reason=reason, by=by, user_id=user_id
    )
    for kind, amount in ((PRINCIPAL, left), (BONUS, bonus)):
        if amount:
            ledger.transfer(
                cause=_refund_cause(refund, kind),
                debit=accounts[kind],
                credit=ledger.open_account(kind=kind, owner_id=HOUSE),
                amount=amount,
            )
    return refund


def _bonus_due(recharge: Recharge, refunded_fen: int, more_fen: int) -> int:
    """The bonus that goes with `more_fen` of the principal, after what went with the `refunded_fen` before it: all
    parts together take what the whole would, and what has expired of it first.
    """
    own = LedgerLot.objects.filter(transfer__cause=_cause(recharge.pk, BONUS))
    moved_out = LedgerLotUse.objects.filter(
        lot__in=own, transfer__credit__kind=f"{ledger.unit_of(BONUS)}.expired"
    )
    expired = (moved_out.aggregate(fen=Sum("amount"))["fen"] or 0) + (
        own.filter(expires_at__lte=clock.now()).aggregate(fen=Sum("remaining"))["fen"] or 0
    )

    def due(principal: int) -> int:
        bonus = rules.bonus_of(principal, principal_fen=recharge.principal_fen, bonus_fen=recharge.bonus_fen)
        return max(bonus - expired, 0)

    return due(refunded_fen + more_fen) - due(refunded_fen)


def _refund_cause(refund: DirectRefund, kind: str) -> str:
    return f"{_cause(refund.payment_id, f'refund:{refund.pk}')}:{kind}"


def _refuse(refund: DirectRefund) -> None:
    """WeChat did not return the money: what was taken is hers again, with the days that it had."""
    for kind, amount in ((PRINCIPAL, refund.amount_fen), (BONUS, refund.bonus_fen)):
        if amount:
            cause = _refund_cause(refund, kind)
            back = ledger.reverse(transfer_cause=cause, cause=f"{cause}:undone")
            follow_member({back.credit.owner_id}, refund.payment.member_id)


def _words(payment: DirectPayment) -> str:
    return _("Recharge ¥%(amount)s") % {"amount": money.yuan(payment.amount_fen)}


sell(
    DirectPayment.RECHARGE,
    Goods(words=_words, paid=_book, closed=_close, refund_refused=_refuse),
)


@transaction.atomic
def move_direct(*, kept_id: int, merged_id: int) -> None:
    """Direct payments of a merged member are the kept one's. Idempotent."""
    DirectPayment.objects.filter(member_id=merged_id).update(member_id=kept_id)
