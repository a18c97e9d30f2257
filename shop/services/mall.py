"""Exchanging points for goods and coupons, sending them, taking them back."""

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from core import clock, ledger
from core.ledger import HOUSE, BalanceTooLow
from core.locks import lock_row, lock_rows
from crm import services as crm_services
from shop.errors import BadAddress, MallRefused, NoSuchOffer, WrongState
from shop.models import Address, CouponGrant, DirectPayment, MallExchange, MallItem, StockMovement
from shop.queries.mall import items_now
from shop.queries.stored_value import POINTS
from shop.services.coupons import grant_coupon, revoke_coupons, try_coupon
from shop.services.direct import new_direct_payment, refuse_other_terms
from shop.services.direct_refunds import request_direct_refund
from shop.services.payments_booked import Payer
from shop.services.stock import Move, move_stock, warehouse_id
from shop.services.tallies import give_one_back, take_one
from shop.services.tenders import follow_member

MALL = "points.mall"  # the house's account of points that were exchanged


class _DoneBefore(Exception):
    """Another call with the same key was first."""


def exchange_points(
    *,
    item_id: int,
    member_id: int,
    key: str,
    address_id: int | None = None,
    payer: Payer | None = None,
    shown: str = "",
) -> MallExchange:
    """Give what an item offers for a member's points, those that end first. `key` is of her form, once.

    What takes money as well needs a `payer`: points and goods are taken now, and wait for her payment (unpaid); a
    coupon is given when it is paid. `shown`: the item's `terms` as she saw them.
    Locks: item (its guarded count), stock, coupon, member (key share), her tally, ledger account. Idempotent on:
    (member, key). Raises NoSuchOffer (not offered now, or not so), MallRefused (all gone, she has had it, not enough
    points), BadAddress (goods need one of hers), CouponRefused; then nothing was written.
    """
    own = exchange_key(member_id, key)
    known = MallExchange.objects.filter(key=own).first()
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return _exchange(item_id, member_id, own, address_id, payer, shown)
    except _DoneBefore:
        return MallExchange.objects.get(key=own)


def exchange_key(member_id: int, key: str) -> str:
    """Two members' forms may carry the same key."""
    return f"{member_id}:{key[:40]}"


def _exchange(
    item_id: int, member_id: int, key: str, address_id: int | None, payer: Payer | None, shown: str
) -> MallExchange:
    item = items_now().filter(pk=item_id).first()
    if item is None:
        raise NoSuchOffer(_("This is not on offer any more."))
    refuse_other_terms(shown, item.terms)
    if item.price_fen and payer is None:
        raise MallRefused(_("This takes money as well. Please open the page anew."))
    taken = MallItem.objects.filter(
        Q(quota__isnull=True) | Q(taken__lt=F("quota")),
        pk=item_id,
        points=item.points,
        price_fen=item.price_fen,
        is_active=True,
    ).update(taken=F("taken") + 1)
    # The count locks the item until the commit: a second click waits above, and finds the first one here.
    if MallExchange.objects.filter(key=key).exists():
        raise _DoneBefore
    same = MallItem.objects.filter(pk=item_id, points=item.points, price_fen=item.price_fen, is_active=True)
    if not taken and not same.exists():
        raise NoSuchOffer(_("This has just changed. Please look at it again."))
    if not taken:
        raise MallRefused(_("“%(name)s” is all gone.") % {"name": item.name})
    made = MallExchange(
        item=item, name=item.name, points=item.points, key=key, at=clock.now(), sku_id=item.sku_id
    )
    if item.sku_id is not None:
        _send_to(made, member_id, address_id)
        stock_cause = f"mall:{item.pk}:{key}"
        move = Move(item.sku_id, warehouse_id(), on_hand=-1)
        if not move_stock(
            [move], cause=stock_cause, reason=StockMovement.EXCHANGE, actor="member", note=item.name
        ):
            raise MallRefused(_("“%(name)s” is all gone.") % {"name": item.name})
        made.state = MallExchange.WAITING
    else:
        assert item.coupon_id is not None
        give = try_coupon if item.price_fen else grant_coupon
        made.grant = give(coupon_id=item.coupon_id, member_id=member_id, key=coupon_key(item.pk, key))
        made.coupon_id = item.coupon_id if item.price_fen else None
        made.state, made.done_at = MallExchange.DONE, made.at
    if crm_services.living_id(member_id) != member_id:
        raise WrongState(_("Your account has just changed. Please open this page anew."))
    made.member_id = member_id
    if not take_one(subject=_subject(item.pk), member_id=member_id, limit=item.per_member):
        raise MallRefused(
            _("Each member may have “%(name)s” %(count)d times; you have had it.")
            % {"name": item.name, "count": item.per_member}
        )
    if item.price_fen and payer is not None:
        made.state, made.price_fen, made.done_at = MallExchange.UNPAID, item.price_fen, None
        made.payment = new_direct_payment(
            kind=DirectPayment.MALL, member_id=member_id, amount_fen=item.price_fen, payer=payer
        )
    made.save()
    if made.state != MallExchange.UNPAID:
        note_exchange(made)
    try:
        ledger.transfer(
            cause=_cause(made.pk),
            debit=ledger.open_account(kind=POINTS, owner_id=member_id),
            credit=ledger.open_account(kind=MALL, owner_id=HOUSE),
            amount=item.points,
        )
    except BalanceTooLow:
        raise MallRefused(
            _("Your points are not enough: this takes %(points)s.") % {"points": f"{item.points:,}"}
        ) from None
    return made


def coupon_key(item_id: int, key: str) -> str:
    return f"mall:{item_id}:{key}"


def note_exchange(made: MallExchange) -> None:
    """To her timeline, when it is hers for good."""
    crm_services.record_activity(
        member_id=made.member_id,
        kind="exchanged",
        at=clock.now(),
        subject=f"mall:{made.pk}",
        amount_fen=made.price_fen,
        data={"name": made.name, "points": made.points},
    )


def _send_to(made: MallExchange, member_id: int, address_id: int | None) -> None:
    address = Address.objects.filter(pk=address_id or 0, member_id=member_id).first()
    if address is None:
        raise BadAddress({"": _("Choose where we shall send it.")})
    made.receiver, made.phone = address.receiver, address.phone
    made.address = " ".join(
        part for part in (address.province, address.city, address.district, address.street) if part
    )


def _subject(item_id: int) -> str:
    return f"mall:{item_id}"


def _cause(exchange_id: int) -> str:
    return f"mall:{exchange_id}"


@transaction.atomic
def send_exchange(
    *, exchange_id: int, carrier: str, tracking_number: str, by: str = "", user_id: int | None = None
) -> MallExchange:
    """The goods of an exchange are on their way. Idempotent for the same parcel. Raises WrongState."""
    carrier, number = carrier.strip()[:40], tracking_number.strip()[:40]
    if not carrier or not number:
        raise WrongState(_("Enter the carrier and the tracking number."))
    sent = MallExchange.objects.filter(pk=exchange_id, state=MallExchange.WAITING).update(
        state=MallExchange.DONE,
        carrier=carrier,
        tracking_number=number,
        done_at=clock.now(),
        actor=by[:80],
        user_id=user_id,
    )
    row = MallExchange.objects.get(pk=exchange_id)
    if not sent and (row.state, row.carrier, row.tracking_number) != (MallExchange.DONE, carrier, number):
        raise WrongState(_("Only what waits to be sent can be sent."))
    return row


@transaction.atomic
def take_back_exchange(
    *,
    exchange_id: int,
    reason: str,
    is_back_in_stock: bool = False,
    by: str = "",
    user_id: int | None = None,
) -> MallExchange:
    """Staff take an exchange back: the points return to the lots that they came from, with the days that these had.

    Goods that were not sent return to the warehouse; sent ones when `is_back_in_stock` says that they are there. A
    coupon is revoked. Points pay first what she owes. Money that was paid goes back to her WeChat Pay.
    Locks: direct payment, item, exchange, stock, coupon, member (key share), her tally, ledger account. Idempotent:
    what is taken back stays. Raises WrongState (its coupon was used; its payment is under way).
    """
    row = MallExchange.objects.filter(pk=exchange_id).first()
    if row is None:
        raise WrongState(_("There is no such exchange."))
    payment = lock_row(DirectPayment.objects.filter(pk=row.payment_id)) if row.payment_id else None
    row = locked_exchange(row)
    if row.state == MallExchange.RETURNED:
        return row
    if payment is not None and payment.status == DirectPayment.OPEN:
        raise WrongState(_("She is paying at this moment. What is not paid comes back by itself."))
    unsent = row.state in (MallExchange.WAITING, MallExchange.UNPAID)
    give_back(
        row,
        is_back=row.sku_id is not None and (unsent or is_back_in_stock),
        reason=reason,
        by=by,
        user_id=user_id,
    )
    if payment is not None and payment.status == DirectPayment.PAID:
        return_money(payment, reason=reason, by=by, user_id=user_id)
    return row


def locked_exchange(row: MallExchange) -> MallExchange:
    """The exchange, read again under the locks of its item and itself."""
    lock_row(MallItem.objects.filter(pk=row.item_id))
    return lock_rows(MallExchange.objects.filter(pk=row.pk))[0][0]


def return_money(payment: DirectPayment, *, reason: str, by: str = "", user_id: int | None = None) -> None:
    """What of the payment is not on its way back yet. Under its lock."""
    left = payment.paid_fen - payment.refunded_fen
    if left > 0:
        request_direct_refund(payment, amount_fen=left, reason=reason, by=by, user_id=user_id)


def give_back(
    row: MallExchange, *, is_back: bool, reason: str, by: str = "", user_id: int | None = None
) -> None:
    """The exchange never was: stock, coupon, counts and points. Under the locks of item and exchange."""
    if is_back and row.sku_id is not None:
        back = Move(row.sku_id, warehouse_id(), on_hand=1)
        move_stock(
            [back],
            cause=f"mall:{row.item_id}:{row.key}:back",
            reason=StockMovement.EXCHANGE,
            actor=by,
            note=row.name,
        )
    if row.grant_id is not None:
        revoke_coupons(grant_ids=[row.grant_id])
        if CouponGrant.objects.filter(pk=row.grant_id, state=CouponGrant.USED).exists():
            raise WrongState(_("This coupon was used already."))
    row.state, row.returned_at, row.is_back_in_stock = MallExchange.RETURNED, clock.now(), is_back
    row.reason, row.actor, row.user_id = " ".join(reason.replace("\x00", "").split())[:120], by[:80], user_id
    row.save(update_fields=["state", "returned_at", "is_back_in_stock", "reason", "actor", "user"])
    member_id = crm_services.living_id(row.member_id)
    MallItem.objects.filter(pk=row.item_id, taken__gt=0).update(taken=F("taken") - 1)
    give_one_back(subject=_subject(row.item_id), member_id=member_id)
    returned = ledger.reverse(transfer_cause=_cause(row.pk), cause=f"{_cause(row.pk)}:back")
    follow_member({returned.credit.owner_id}, member_id)
    crm_services.settle_owed(member_id=member_id, by=_cause(row.pk))


@transaction.atomic
def move_exchanges(*, kept_id: int, merged_id: int) -> None:
    """Exchanges of a merged member are the kept one's. Idempotent."""
    MallExchange.objects.filter(member_id=merged_id).update(member_id=kept_id)
