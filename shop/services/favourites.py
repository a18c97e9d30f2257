"""Hearts, and the promise to tell a member when what she wants is back."""

from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock
from core.sweeps import sweep
from crm import queries as crm_queries
from shop import queries
from shop.errors import Enough, NoSuchProduct
from shop.models import Favourite, Product, Sku, StockNotice
from shop.services.booking_messages import NO_WINDOW, SENT, open_address, tell_member

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
def ask_stock_notice(*, member_id: int, product_id: int, sku_id: int | None = None) -> StockNotice:
    """Remember that she wants to hear of a product, or of one variant of it. Idempotent while it waits.

    Locks: advisory on the member. Raises NoSuchProduct, Enough.
    """
    _must_be_seen(product_id)
    if sku_id and not Sku.objects.filter(pk=sku_id, product_id=product_id, is_active=True).exists():
        raise NoSuchProduct(_("This product does not exist any more."))
    advisory_lock("shop.favourites", member_id)
    waiting = StockNotice.objects.filter(member_id=member_id, state=StockNotice.WAITING)
    mine = waiting.filter(product_id=product_id, sku=sku_id).first()
    if mine is not None:
        return mine
    if waiting.count() >= MOST_NOTICES:
        raise Enough(_("You wait for many things already. Please take something out first."))
    moment = clock.now()
    return StockNotice.objects.create(
        member_id=member_id, product_id=product_id, sku_id=sku_id, asked_at=moment, due_at=moment
    )


@transaction.atomic
def withdraw_stock_notice(*, member_id: int, product_id: int, sku_id: int | None = None) -> int:
    """She does not want to hear of it any more. Idempotent."""
    waiting = StockNotice.objects.filter(
        member_id=member_id, product_id=product_id, sku=sku_id, state=StockNotice.WAITING
    )
    return waiting.update(state=StockNotice.GIVEN_UP, reason="withdrawn", ended_at=clock.now())


def send_stock_notices(*, limit: int = 200) -> int:
    """Tell those whose product can be bought again; returns how many were told. One transaction each."""
    moment = clock.now()
    waiting = StockNotice.objects.filter(state=StockNotice.WAITING)
    waiting.filter(asked_at__lt=moment - GIVE_UP_AFTER).update(
        state=StockNotice.GIVEN_UP, reason="too_long", ended_at=moment
    )
    # Whether anything is left, of services and bundles too, is counted each minute (`refresh_stock_marks`); of the
    # variant that she waits for, the product page itself decides.
    due = waiting.filter(due_at__lte=moment, product__status=Product.ON_SALE, product__is_in_stock=True)
    rows = list(due.order_by("asked_at", "pk").values_list("pk", "product_id", "sku_id")[:limit])
    back: set[tuple[int, int | None]] = set()
    for product_id in {product_id for _pk, product_id, _sku in rows}:
        left = {sku.pk: sku.available for sku in queries.product_page(product_id).skus}
        back |= {(product_id, pk) for pk, count in left.items() if count > 0}
        back |= {(product_id, None)} if any(left.values()) else set()
    waiting.filter(pk__in=[pk for pk, *what in rows if tuple(what) not in back]).update(
        due_at=moment + LOOK_AGAIN
    )
    return sweep(
        [pk for pk, *what in rows if tuple(what) in back],
        _tell,
        fault="telling of what is back in stock failed",
        put_off=lambda pk: waiting.filter(pk=pk).update(due_at=moment + LOOK_AGAIN),
    )


@transaction.atomic
def _tell(notice_id: int) -> int:
    """Locks: the notice, then what the touch needs. Idempotent: a notice that was told stays told."""
    notice = (
        StockNotice.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("product", "sku")
        .filter(pk=notice_id, state=StockNotice.WAITING)
        .first()
    )
    if notice is None:
        return 0
    moment = clock.now()
    address = open_address(notice.member_id, purpose="marketing")
    verdict = crm_queries.touch_verdict(
        notice.member_id, "marketing", moment, account_id=address[0] if address else None
    )
    if verdict.answer != "send":
        notice.due_at, notice.reason = verdict.until or moment + LOOK_AGAIN, verdict.reason
        notice.save(update_fields=["due_at", "reason"])
        return 0
    name = f"{notice.product.name} {notice.sku.name if notice.sku else ''}".strip()
    outcome = tell_member(
        member_id=notice.member_id,
        origin="back-in-stock",
        origin_id=notice.pk,
        title=_("Back in stock: %(product)s") % {"product": name},
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
    hearts = Favourite.objects.filter(member_id=kept_id).values_list("product_id", flat=True)
    Favourite.objects.filter(member_id=merged_id, product_id__in=list(hearts)).delete()
    waiting = StockNotice.objects.filter(state=StockNotice.WAITING)
    for product_id, sku_id in waiting.filter(member_id=kept_id).values_list("product_id", "sku_id"):
        waiting.filter(member_id=merged_id, product_id=product_id, sku=sku_id).delete()
    StockNotice.objects.filter(member_id=merged_id).update(member_id=kept_id)
    return Favourite.objects.filter(member_id=merged_id).update(member_id=kept_id)
