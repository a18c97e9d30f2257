"""When two members turn out to be one person, what she did in the shop follows."""

from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Least

from core.locks import advisory_lock
from crm import services as crm_services
from shop import rules
from shop.models import Address, CartLine, FunnelStep, GiftCard, Order
from shop.services.booking import move_bookings
from shop.services.coupons import move_coupons
from shop.services.favourites import move_favourites
from shop.services.limits import count_limits, move_limits
from shop.services.mall import move_exchanges
from shop.services.offers import count_takes, move_offers
from shop.services.questions import move_questions
from shop.services.queueing import move_tickets
from shop.services.recharge import move_direct
from shop.services.reviews import move_reviews
from shop.services.stored_value_requests import move_stored_value_requests
from shop.services.tallies import count_tallies, move_tallies
from shop.services.tenders import move_value, return_value

WATCHED = {
    "shop_coupongrant": ["ordinal"],
    "shop_address": ["is_default"],
    "shop_offertake": ["is_first_order"],
    "shop_order": ["idempotency_key"],
    "shop_storedvaluerequest": ["state", "decided_at"],
}
"""What a merge changes in rows besides whose they are; a cancelled booking stays cancelled: its place is taken."""

COUNTED = ["shop_offertally", "shop_producttally", "shop_tally"]
"""What is counted from other rows, and so counted again."""


@transaction.atomic
def follow_merge(*, merge_id: int) -> bool:
    """What the merged member did in the shop follows her; what moved is kept. False when the merge was undone.

    Locks: as move_member. Idempotent.
    """
    return crm_services.move_rows(
        merge_id=merge_id,
        room="shop",
        move=lambda kept_id, merged_id: move_member(kept_id=kept_id, merged_id=merged_id),
        watched=WATCHED,
        without=COUNTED,
    )


@transaction.atomic
def follow_undo(*, merge_id: int, kept_id: int, merged_id: int, merged_at: datetime) -> dict[str, int]:
    """Two persons after all: orders, coupons and the like of the merged member are hers again, and of her stored value
    and points what is still there. Returns what was spent since and is not: ledger kind → amount.

    Locks: orders, tallies, ledger accounts. Idempotent on: the merge. Raises NotYet when a later merge comes first.
    """
    crm_services.return_rows(merge_id=merge_id, room="shop")
    count_takes(member_ids=[kept_id, merged_id])
    count_limits(member_ids=[kept_id, merged_id])
    count_tallies(member_ids=[kept_id, merged_id])
    rest = return_value(kept_id=kept_id, merged_id=merged_id, merge_id=merge_id, since=merged_at)
    crm_services.note_rest(merge_id=merge_id, rest=rest)
    return rest


@transaction.atomic
def move_member(*, kept_id: int, merged_id: int) -> int:
    """Give orders, coupons, offers, cart, addresses, stored value and gift cards of the merged member to the kept one;
    returns how many orders moved.

    Locks: orders, cart lines, addresses of both, ledger accounts. Idempotent.
    """
    advisory_lock("shop.addresses", min(kept_id, merged_id))
    advisory_lock("shop.addresses", max(kept_id, merged_id))
    keys = Order.objects.filter(member_id=kept_id, idempotency_key__isnull=False).values("idempotency_key")
    Order.objects.filter(member_id=merged_id, idempotency_key__in=keys).update(idempotency_key=None)
    move_bookings(kept_id=kept_id, merged_id=merged_id)
    move_tickets(kept_id=kept_id, merged_id=merged_id)
    move_favourites(kept_id=kept_id, merged_id=merged_id)
    move_questions(kept_id=kept_id, merged_id=merged_id)
    move_reviews(kept_id=kept_id, merged_id=merged_id)
    moved = Order.objects.filter(member_id=merged_id).update(member_id=kept_id)
    move_direct(kept_id=kept_id, merged_id=merged_id)
    GiftCard.objects.filter(member_id=merged_id).update(member_id=kept_id)

    move_coupons(kept_id=kept_id, merged_id=merged_id)
    move_offers(kept_id=kept_id, merged_id=merged_id)
    move_limits(kept_id=kept_id, merged_id=merged_id)

    for line in CartLine.objects.filter(member_id=merged_id):
        CartLine.objects.filter(member_id=kept_id, sku_id=line.sku_id).update(
            quantity=Least(F("quantity") + line.quantity, Value(rules.MAX_QUANTITY))
        )
    kept_skus = CartLine.objects.filter(member_id=kept_id).values("sku_id")
    CartLine.objects.filter(member_id=merged_id, sku_id__in=kept_skus).delete()
    CartLine.objects.filter(member_id=merged_id).update(member_id=kept_id)

    with connection.cursor() as cursor:  # what both did on one day is one fact
        cursor.execute(
            """
            DELETE FROM shop_funnelstep a USING shop_funnelstep b
            WHERE a.member_id = %s AND b.member_id = %s AND a.order_id IS NULL AND b.order_id IS NULL
              AND (a.day, a.step, a.reason) = (b.day, b.step, b.reason)
            """,
            [merged_id, kept_id],
        )
    FunnelStep.objects.filter(member_id=merged_id).update(member_id=kept_id)

    if Address.objects.filter(member_id=kept_id, is_default=True).exists():
        Address.objects.filter(member_id=merged_id).update(is_default=False)
    Address.objects.filter(member_id=merged_id).update(member_id=kept_id)
    with connection.cursor() as cursor:  # the same address typed under both
        cursor.execute(
            """
            DELETE FROM shop_address a USING shop_address b
            WHERE a.member_id = %s AND b.member_id = a.member_id AND NOT a.is_default
              AND (b.is_default, b.id) > (a.is_default, a.id)
              AND (a.receiver, a.phone, a.province, a.city, a.district, a.street)
                  = (b.receiver, b.phone, b.province, b.city, b.district, b.street)
            """,
            [kept_id],
        )
    move_exchanges(kept_id=kept_id, merged_id=merged_id)
    move_stored_value_requests(kept_id=kept_id, merged_id=merged_id)
    move_tallies(kept_id=kept_id, merged_id=merged_id)
    move_value(kept_id=kept_id, merged_id=merged_id)
    return moved
