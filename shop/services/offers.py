"""Offers: who waits for a place of a sold-out one, and how she hears of it. Orders take and return the pieces."""

from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from shop.errors import NoSuchOffer, OfferGone
from shop.models import Offer, OfferTally, OfferWaiting, Product
from wechat import queries as wechat_queries
from wechat import services as wechat_services

HEAD_START = timedelta(minutes=30)
MOST_ASKED = 500  # of one queue in one go
_CAN_BE_ORDERED = {"is_active": True, "sku__is_active": True, "sku__product__status": Product.ON_SALE}


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

    Nobody is told while the product is off the shelf. Who may not be written to now (touch policy, no channel) keeps
    her place with the reason in `outcome`, and the next in line is told. Who has as many as one person may is taken
    off the list. Locks: the queue (advisory, not the offer: its buyers need not wait), so that two returns at once
    tell two people. Idempotent on: (waiting, its round).
    """
    advisory_lock("offer waiting", offer_id)
    return _tell_next(offer_id, places)


@transaction.atomic
def _tell_of_lying(offer_id: int) -> int:
    """Of pieces that lie free, less those of which somebody was told a while ago. Locks: the queue."""
    advisory_lock("offer waiting", offer_id)
    lately = OfferWaiting.objects.filter(
        offer_id=offer_id, told_at__gt=clock.now() - HEAD_START, outcome="sent"
    )
    offer = Offer.objects.get(pk=offer_id)
    return _tell_next(offer_id, offer.left - lately.count())


def _tell_next(offer_id: int, places: int) -> int:
    moment = clock.now()
    offer = Offer.objects.filter(pk=offer_id, **_CAN_BE_ORDERED).first()
    if offer is None or offer.ends_at <= moment:
        return 0
    told = 0
    free = min(places, offer.left)
    has_hers = OfferTally.objects.filter(
        offer_id=offer_id, member_id=OuterRef("member_id"), taken__gte=offer.per_member_limit
    )
    queue = OfferWaiting.objects.filter(offer_id=offer_id, told_at__isnull=True)
    queue.filter(Exists(has_hers)).delete()
    for waiting in queue.order_by("joined_at", "pk")[:MOST_ASKED]:
        if told >= free:
            break
        outcome = _tell(offer, waiting)
        if outcome == "sent":
            told += 1
            OfferWaiting.objects.filter(pk=waiting.pk).update(told_at=moment, outcome=outcome)
        elif outcome != waiting.outcome:
            OfferWaiting.objects.filter(pk=waiting.pk).update(outcome=outcome)
    return told


def tell_waiting_again() -> int:
    """Pieces that lie free while somebody waits (nobody could be written to at night, or who was told did not buy):
    tell the next; returns how many were told.

    Who was told has `HEAD_START` before another hears of the same piece. Each offer in its own transaction; one that
    fails stands in no other's way.
    """
    moment = clock.now()
    waits = OfferWaiting.objects.filter(offer_id=OuterRef("pk"), told_at__isnull=True)
    lying = Offer.objects.filter(
        Exists(waits), **_CAN_BE_ORDERED, starts_at__lte=moment, ends_at__gt=moment, taken__lt=F("quota")
    )
    return sweep(
        list(lying.order_by("pk").values_list("pk", flat=True)),
        _tell_of_lying,
        fault="telling who waits for an offer failed",
        put_off=lambda _pk: None,  # it is looked at again in the next round, after the others as well
    )


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
def count_takes(*, member_ids: list[int]) -> None:
    """Count again what members took of offers, after takes changed hands. Idempotent: it counts."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_offertally WHERE member_id = ANY(%s)", [member_ids])
        cursor.execute(
            """
            INSERT INTO shop_offertally (offer_id, member_id, taken)
            SELECT offer_id, member_id, sum(quantity) FROM shop_offertake WHERE member_id = ANY(%s) GROUP BY 1, 2
            """,
            [member_ids],
        )


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
