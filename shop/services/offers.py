"""Offers: who waits for a place of a sold-out one, and how she hears of it. Orders take and return the pieces."""

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from core.locks import lock_row
from crm import queries as crm_queries
from crm import services as crm_services
from shop.errors import NoSuchOffer, OfferGone
from shop.models import Offer, OfferWaiting
from wechat import queries as wechat_queries
from wechat import services as wechat_services


@transaction.atomic
def wait_for_offer(*, offer_id: int, member_id: int) -> OfferWaiting:
    """Put a member on the waiting list of a sold-out offer.

    Idempotent on: (offer, member); who was told once may wait again, at the end. Raises NoSuchOffer (over, switched
    off), OfferGone (`reason` "free": there are pieces, she can order).
    """
    moment = clock.now()
    offer = (
        Offer.objects.filter(pk=offer_id, is_active=True, ends_at__gt=moment)
        .exclude(kind=Offer.GROUP)
        .first()
    )
    if offer is None:
        raise NoSuchOffer(_("This offer is over."))
    if offer.starts_at <= moment and offer.taken < offer.quota:
        raise OfferGone("free", offer_id=offer_id, name=offer.name)
    waiting, _created = OfferWaiting.objects.get_or_create(
        offer_id=offer_id, member_id=member_id, defaults={"joined_at": moment}
    )
    if waiting.told_at is not None:
        OfferWaiting.objects.filter(pk=waiting.pk, told_at=waiting.told_at).update(
            joined_at=moment, told_at=None, outcome="", rounds=F("rounds") + 1
        )
        waiting.refresh_from_db()
    return waiting


def stop_waiting(*, offer_id: int, member_id: int) -> bool:
    """Take a member off the list; False when she was not on it. Idempotent."""
    gone, _rows = OfferWaiting.objects.filter(
        offer_id=offer_id, member_id=member_id, told_at__isnull=True
    ).delete()
    return bool(gone)


@transaction.atomic
def tell_waiting(*, offer_id: int, places: int) -> int:
    """Pieces came free: tell the first who wait, as many as there are pieces; returns how many were told.

    Who may not be touched now is passed by with the reason in `outcome`, and the next in line is told. Locks: the
    offer, so that two returns at once tell two people. Idempotent on: (waiting, its round).
    """
    offer = lock_row(Offer.objects.filter(pk=offer_id))
    moment = clock.now()
    if offer is None or not offer.is_active or offer.ends_at <= moment:
        return 0
    told = 0
    free = min(places, offer.left)
    queue = OfferWaiting.objects.filter(offer_id=offer_id, told_at__isnull=True).order_by("joined_at", "pk")
    for waiting in queue[: 50 + free]:
        if told >= free:
            break
        outcome = _tell(offer, waiting)
        OfferWaiting.objects.filter(pk=waiting.pk).update(told_at=moment, outcome=outcome)
        told += outcome == "sent"
    return told


def _tell(offer: Offer, waiting: OfferWaiting) -> str:
    """Queue one message within the touch policy; "sent", or the reason why not."""
    found = _reachable(waiting.member_id)
    if found is None:
        return "no_window"
    account_id, openid = found
    origin = f"offer-waiting:{waiting.pk}:{waiting.rounds}"
    booked = crm_services.book_touches(
        origin=origin,
        member_ids=[waiting.member_id],
        purpose="service",  # she asked for exactly this message
        channel="custom",
        account_id=account_id,
    )
    if not booked:
        return "touch_policy"
    product = reverse("shop:product", args=[offer.sku.product_id])
    text = _("A place came free: “%(name)s” can be ordered again. Be quick: %(link)s") % {
        "name": offer.name,
        "link": settings.PUBLIC_URL + product,
    }
    wechat_services.enqueue_message(
        account_id=account_id,
        channel="custom",
        to=openid,
        body={"kind": "text", "text": text},
        origin="offer-waiting",
        origin_id=waiting.pk,
        dedupe_key=origin,
    )
    return "sent"


def _reachable(member_id: int) -> tuple[int, str] | None:
    """An official account in which the member may be written to right now, with her openid."""
    moment = clock.now()
    for identity in crm_queries.identities_of(member_id):
        if identity.kind != "openid" or identity.account_id is None:
            continue
        windows = wechat_queries.open_reply_windows(identity.account_id, moment)
        if windows.filter(openid=identity.value).exists():
            return identity.account_id, identity.value
    return None


@transaction.atomic
def move_offers(*, kept_id: int, merged_id: int) -> None:
    """Two members turned out to be one: pieces taken and places in queues follow. Idempotent.

    A second living first-order price loses its mark: it was bought before anybody could know.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_offertake SET is_first_order = is_first_order AND NOT EXISTS (
                SELECT FROM shop_offertake k WHERE k.member_id = %s AND k.is_first_order AND k.released_at IS NULL
            ), member_id = %s WHERE member_id = %s
            """,
            [kept_id, kept_id, merged_id],
        )
        cursor.execute(
            """
            WITH gone AS (DELETE FROM shop_offertally WHERE member_id = %s RETURNING offer_id, taken)
            INSERT INTO shop_offertally AS t (offer_id, member_id, taken) SELECT offer_id, %s, taken FROM gone
            ON CONFLICT (offer_id, member_id) DO UPDATE SET taken = t.taken + excluded.taken
            """,
            [merged_id, kept_id],
        )
        cursor.execute(
            """
            DELETE FROM shop_offerwaiting m USING shop_offerwaiting k
            WHERE m.member_id = %s AND k.member_id = %s AND k.offer_id = m.offer_id
            """,
            [merged_id, kept_id],
        )
        cursor.execute(
            "UPDATE shop_offerwaiting SET member_id = %s WHERE member_id = %s", [kept_id, merged_id]
        )
