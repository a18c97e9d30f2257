"""The terms of presales: those that are offered, and those under which an order was placed."""

from collections.abc import Iterable

from shop.models import Order, Presale, PresaleOrder, Refund
from shop.pricing.types import Quote


def presales_of(offer_ids: Iterable[int]) -> dict[int, Presale]:
    """Offer → its terms. One statement; none for nothing."""
    ids = list(offer_ids)
    return {one.offer_id: one for one in Presale.objects.filter(offer_id__in=ids)} if ids else {}


def presale_quoted(quote: Quote) -> Presale | None:
    """The terms of what a quote takes on presale. One statement; none when it takes nothing so."""
    if not quote.deposit_fen:
        return None
    return next(iter(presales_of(offer_id for offer_id, _sku, _pieces in quote.offer_takes).values()), None)


def presale_of_order(order: Order) -> PresaleOrder | None:
    """The frozen terms of an order. One statement; none for an order that is paid at once."""
    return PresaleOrder.objects.filter(order_id=order.pk).first() if order.deposit_fen else None


def is_deposit_back(order: Order) -> bool:
    """Whether all that was to go back of a closed presale has arrived. One statement."""
    states = set(order.refunds.exclude(status=Refund.CLOSED).values_list("status", flat=True))
    return states == {Refund.SUCCESS}
