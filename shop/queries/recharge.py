"""What a member may recharge, and what she has recharged."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from core import clock
from shop.models import DirectPayment, Recharge, RechargeOffer, Tally


@dataclass(frozen=True)
class OfferShown:
    """An offer as she sees it; `is_used`: she has had it as often as she may. Fen."""

    pk: int
    name: str
    pay: int
    bonus: int
    bonus_days: int
    terms: str
    is_used: bool


@dataclass(frozen=True)
class OwnRecharge:
    """One that she paid; `returned` is what of it went back or is on its way. Fen."""

    pk: int
    paid_at: datetime
    principal: int
    bonus: int
    returned: int


def offers_now() -> QuerySet[RechargeOffer]:
    """What is offered at this moment, in the operator's order."""
    moment = clock.now()
    return RechargeOffer.objects.filter(
        Q(starts_at__isnull=True) | Q(starts_at__lte=moment),
        Q(ends_at__isnull=True) | Q(ends_at__gt=moment),
        is_active=True,
    )


def has_recharge_offers() -> bool:
    return offers_now().exists()


def recharge_offers_for(member_id: int) -> list[OfferShown]:
    """What she left unpaid uses nothing up: it ends when she pays in another way. At most three statements."""
    offers = list(offers_now())
    limited = [offer.pk for offer in offers if offer.per_member]
    used = _used(member_id, limited) if limited else {}
    return [
        OfferShown(
            pk=offer.pk,
            name=offer.name,
            pay=offer.pay_fen,
            bonus=offer.bonus_fen,
            bonus_days=offer.bonus_days,
            terms=offer.terms,
            is_used=0 < offer.per_member <= used.get(offer.pk, 0),
        )
        for offer in offers
    ]


def _used(member_id: int, offer_ids: list[int]) -> dict[int, int]:
    """Offer → how often she has paid it."""
    subjects = {f"recharge:{pk}": pk for pk in offer_ids}
    taken = Tally.objects.filter(member_id=member_id, subject__in=subjects)
    unpaid = Recharge.objects.filter(
        offer__in=offer_ids, counts=True, payment__member_id=member_id, payment__status=DirectPayment.OPEN
    ).order_by()
    left = dict(unpaid.values_list("offer_id").annotate(count=Count("pk")))
    return {
        subjects[subject]: count - left.get(subjects[subject], 0)
        for subject, count in taken.values_list("subject", "taken")
    }


def recharges_of(member_id: int, *, limit: int = 20) -> list[OwnRecharge]:
    """What she paid, newest first. One statement."""
    rows = Recharge.objects.filter(
        payment__member_id=member_id, payment__status=DirectPayment.PAID
    ).select_related("payment")
    return [
        OwnRecharge(
            pk=row.pk,
            paid_at=row.payment.paid_at or row.payment.created_at,
            principal=row.principal_fen,
            bonus=row.bonus_fen,
            returned=row.payment.refunded_fen,
        )
        for row in rows.order_by("-payment__paid_at", "-pk")[:limit]
    ]
