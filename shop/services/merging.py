"""When two members turn out to be one person, what she did in the shop follows."""

from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Least

from core.locks import advisory_lock
from shop import rules
from shop.models import Address, CartLine, FunnelStep, GiftCard, Order
from shop.services.booking import move_bookings
from shop.services.coupons import move_coupons
from shop.services.favourites import move_favourites
from shop.services.limits import move_limits
from shop.services.offers import move_offers
from shop.services.questions import move_questions
from shop.services.queueing import move_tickets
from shop.services.reviews import move_reviews
from shop.services.tenders import move_value


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
    move_value(kept_id=kept_id, merged_id=merged_id)
    return moved
