"""Hearts, and the promise to tell a member when what she wants is back."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock
from crm import queries as crm_queries
from shop import queries
from shop.errors import Enough, NoSuchProduct
from shop.models import Favourite, Product, StockNotice
from shop.services.booking_messages import NO_WINDOW, SENT, tell_member

MOST_FAVOURITES = 500
MOST_NOTICES = 50
GIVE_UP_AFTER = timedelta(days=90)
LOOK_AGAIN = timedelta(hours=1)


@transaction.atomic
def set_favourite(*, member_id: int, product_id: int, wanted: bool) -> bool:
    """Mark a product with a heart or take it away; returns `wanted`.

    Locks: advisory on the member when marking. Idempotent. Raises NoSuchProduct, Enough.
    """
    if not wanted:
        Favourite.objects.filter(member_id=member_id, product_id=product_id).delete()
        return False
    _must_be_seen(product_id)
    advisory_lock("shop.favourites", member_id)
    if Favourite.objects.filter(member_id=member_id).count() >= MOST_FAVOURITES:
        raise Enough(_("Your list of favourites is full. Please take something out first."))
    Favourite.objects.get_or_create(
        member_id=member_id, product_id=product_id, defaults={"added_at": clock.now()}
    )
    return True


def _must_be_seen(product_id: int) -> None:
    if not Product.objects.filter(pk=product_id).exclude(status=Product.DRAFT).exists():
        raise NoSuchProduct(_("This product does not exist any more."))


@transaction.atomic
def ask_stock_notice(*, member_id: int, product_id: int) -> StockNotice:
    """Remember that she wants to hear of it. Idempotent while it waits. Raises NoSuchProduct, Enough."""
    _must_be_seen(product_id)
    advisory_lock("shop.favourites", member_id)
    waiting = StockNotice.objects.filter(member_id=member_id, state=StockNotice.WAITING)
    mine = waiting.filter(product_id=product_id).first()
    if mine is not None:
        return mine
    if waiting.count() >= MOST_NOTICES:
        raise Enough(_("You wait for many things already. Please take something out first."))
    moment = clock.now()
    return StockNotice.objects.create(
        member_id=member_id, product_id=product_id, asked_at=moment, due_at=moment
    )


@transaction.atomic
def withdraw_stock_notice(*, member_id: int, product_id: int) -> int:
    """She does not want to hear of it any more. Idempotent."""
    waiting = StockNotice.objects.filter(
        member_id=member_id, product_id=product_id, state=StockNotice.WAITING
    )
    return waiting.update(state=StockNotice.GIVEN_UP, reason="withdrawn", ended_at=clock.now())


def send_stock_notices(*, limit: int = 200) -> int:
    """Tell those whose product can be bought again; returns how many were told. One transaction each."""
    moment = clock.now()
    waiting = StockNotice.objects.filter(state=StockNotice.WAITING)
    waiting.filter(asked_at__lt=moment - GIVE_UP_AFTER).update(
        state=StockNotice.GIVEN_UP, reason="too_long", ended_at=moment
    )
    due = (
        waiting.filter(
            due_at__lte=moment,
            product__status=Product.ON_SALE,
            product__skus__is_active=True,
            product__skus__stocks__on_hand__gt=F("product__skus__stocks__reserved"),
        )
        .order_by("asked_at", "pk")
        .distinct()
    )
    rows = list(due.values_list("pk", "product_id", "asked_at")[:limit])
    # There is stock somewhere; whether it can be ordered, the product page itself decides.
    back = {
        product_id
        for product_id in {product_id for _pk, product_id, _at in rows}
        if queries.product_page(product_id).available > 0
    }
    waiting.filter(pk__in=[pk for pk, product_id, _at in rows if product_id not in back]).update(
        due_at=moment + LOOK_AGAIN
    )
    return sum(_tell(pk) for pk, product_id, _at in rows if product_id in back)


@transaction.atomic
def _tell(notice_id: int) -> int:
    """Locks: the notice, then what the touch needs. Idempotent: a notice that was told stays told."""
    notice = (
        StockNotice.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("product")
        .filter(pk=notice_id, state=StockNotice.WAITING)
        .first()
    )
    if notice is None:
        return 0
    moment = clock.now()
    verdict = crm_queries.touch_verdict(notice.member_id, "marketing", moment)
    if verdict.answer != "send":
        notice.due_at, notice.reason = verdict.until or moment + LOOK_AGAIN, verdict.reason
        notice.save(update_fields=["due_at", "reason"])
        return 0
    outcome = tell_member(
        member_id=notice.member_id,
        origin="back-in-stock",
        origin_id=notice.pk,
        title=_("Back in stock: %(product)s") % {"product": notice.product.name},
        text=_("You asked us to tell you. It can be ordered again now."),
        path=f"/p/{notice.product_id}/",
        touch=f"restock:{notice.pk}",
        purpose="marketing",
    )
    if outcome != SENT:
        notice.due_at = moment + LOOK_AGAIN
        notice.reason = "no_window" if outcome == NO_WINDOW else "refused"
        notice.save(update_fields=["due_at", "reason"])
        return 0
    notice.state, notice.ended_at, notice.reason = StockNotice.TOLD, moment, ""
    notice.save(update_fields=["state", "ended_at", "reason"])
    return 1


@transaction.atomic
def move_favourites(*, kept_id: int, merged_id: int) -> int:
    """Hearts and wishes of a member who turned out to be another. Idempotent."""
    for rows in (Favourite.objects.all(), StockNotice.objects.filter(state=StockNotice.WAITING)):
        held = rows.filter(member_id=kept_id).values("product_id")
        rows.filter(
            member_id=merged_id, product_id__in=list(held.values_list("product_id", flat=True))
        ).delete()
    StockNotice.objects.filter(member_id=merged_id).update(member_id=kept_id)
    return Favourite.objects.filter(member_id=merged_id).update(member_id=kept_id)
