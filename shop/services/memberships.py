"""Selling memberships on the phone, and giving the days that are left back. The terms are crm's."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock, lock_row
from crm import queries as crm_queries
from crm import services as crm_services
from shop.errors import NoSuchOffer, NothingToRefund, WrongState
from shop.models import DirectPayment, DirectRefund, MembershipSale, Payment, Refund
from shop.services.direct import Goods, fits, new_direct_payment, refuse_other_terms, sell, start_sheet
from shop.services.direct_refunds import request_direct_refund
from shop.services.payments_booked import Payer


def start_membership(
    *, plan_id: int, member_id: int, shown: str = "", way: str = Payment.JSAPI, client_ip: str = ""
) -> dict[str, Any]:
    """Start the payment of a plan, see `start_sheet`. `shown`: its `membership_terms` as she saw them.

    Raises NoSuchOffer, WrongState, PaymentNotPossible, PlatformBusy.
    """
    return start_sheet(
        lambda payer: (
            arrange_membership(plan_id=plan_id, member_id=member_id, shown=shown, payer=payer).payment
        ),
        member_id=member_id,
        wish=Q(membership_sale__plan_id=plan_id),
        as_offered=_as_sold(),
        way=way,
        client_ip=client_ip,
    )


def membership_terms(plan: Any) -> str:
    """What a shopper agrees to: price, tier and days of a plan."""
    return f"{plan.price_fen}/{plan.tier}/{plan.days}"


def _as_sold() -> Q:
    """Payments of a sale as its plan says now."""
    same = {"membership_sale__name": "name", "membership_sale__tier": "tier", "membership_sale__days": "days"}
    same["amount_fen"] = "price_fen"
    return Q(**{ours: F(f"membership_sale__plan__{theirs}") for ours, theirs in same.items()})


@transaction.atomic
def arrange_membership(*, plan_id: int, member_id: int, payer: Payer, shown: str = "") -> MembershipSale:
    """The sale and its open payment, as the plan says now; written before WeChat is asked.

    Locks: the member's sales (advisory), member (key share). Idempotent: the open payment of the same plan, price and
    payer is found again. Raises NoSuchOffer (not for sale, or not what she was shown), WrongState (staff gave her a
    tier of another scheme, which a membership would not change).
    """
    advisory_lock("shop.memberships", member_id)
    member_id = crm_services.living_id(member_id)
    plan = next((one for one in crm_queries.plans_for_sale() if one.pk == plan_id), None)
    if plan is None:
        raise NoSuchOffer(_("This membership is not for sale any more. Please choose another one."))
    refuse_other_terms(shown, membership_terms(plan))
    if not crm_queries.may_wear(crm_queries.tier_of(member_id)):
        raise WrongState(_("Your tier was given by our staff: a membership would not change it."))
    opened = DirectPayment.objects.filter(fits(payer), _as_sold(), member_id=member_id)
    opened = opened.filter(membership_sale__plan=plan).select_related("membership_sale")
    if known := opened.order_by("pk").last():
        return known.membership_sale
    payment = new_direct_payment(
        kind=DirectPayment.MEMBERSHIP, member_id=member_id, amount_fen=plan.price_fen, payer=payer
    )
    return MembershipSale.objects.create(
        payment=payment, plan=plan, name=plan.name, tier=plan.tier, days=plan.days
    )


def _cause(payment_id: int) -> str:
    return f"direct:{payment_id}"


def _grant(payment: DirectPayment) -> None:
    sale = payment.membership_sale
    crm_services.grant_membership(
        member_id=payment.member_id,
        cause=_cause(payment.pk),
        name=sale.name,
        tier=sale.tier,
        days=sale.days,
        plan_id=sale.plan_id,
        at=clock.now(),  # not of the payment: a late notice costs her no day
    )


@transaction.atomic
def refund_membership(
    *, payment_id: int, reason: str, by: str = "", user_id: int | None = None
) -> DirectRefund:
    """Give the days that are left back: their share of the price, whole days, rounded down. The term ends at once.

    Locks: payment, member. Idempotent: the refund under way is returned. Raises WrongState (not paid), NothingToRefund.
    """
    payment = lock_row(DirectPayment.objects.filter(pk=payment_id, kind=DirectPayment.MEMBERSHIP))
    if payment is None or payment.status != DirectPayment.PAID:
        raise WrongState(_("Only a membership that was paid can be given back."))
    known = payment.refunds.exclude(status=Refund.CLOSED).first()
    if known is not None:
        return known
    term = crm_queries.membership_of(_cause(payment.pk))
    days = payment.membership_sale.days
    left = (
        0
        if term is None
        else min(days, (term.ends_at - max(clock.now(), term.begins_at)) // timedelta(days=1))
    )
    fen = payment.paid_fen * max(left, 0) // days
    if fen <= 0:
        raise NothingToRefund(_("No whole day of this membership is left."))
    crm_services.end_membership(cause=_cause(payment.pk))
    return request_direct_refund(payment, amount_fen=fen, reason=reason, by=by, user_id=user_id)


def _resume(refund: DirectRefund) -> None:
    crm_services.continue_membership(cause=_cause(refund.payment_id))


def _nothing(_payment: DirectPayment) -> None:
    """Nothing was taken when the sheet opened."""


sell(
    DirectPayment.MEMBERSHIP,
    Goods(
        words=lambda payment: str(payment.membership_sale.name),
        paid=_grant,
        closed=_nothing,
        refund_refused=_resume,
    ),
)
