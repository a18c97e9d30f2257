"""How buyers are told about their orders: the operator's words, and the usual ones."""

from collections.abc import Mapping

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from shop import logistics
from shop.models import Order, OrderMessage
from shop.queries.tracking import ParcelRow
from shop.queries.vouchers import lines_with_unused_vouchers

# After the payment, and on the order that is on its way: what is still to come.
ASKED_AFTER_PAYMENT = (logistics.SHIPPED, logistics.SIGNED, logistics.REFUNDED)
ASKED_WHEN_COLLECTED = (logistics.READY, logistics.REFUNDED)
MOST_ASKED = 3  # WeChat's popup takes one to three templates


def order_message(kind: str) -> OrderMessage:
    """The row of this moment; unsaved with the defaults when nobody edited it. WeChat Pay itself tells that it was
    paid, so that is not said twice in the chat."""
    return OrderMessage.objects.filter(kind=kind).first() or OrderMessage(
        kind=kind, uses_chat=kind != logistics.PAID
    )


def asked_templates(order: Order) -> list[tuple[str, str]]:
    """(template id, what it tells) to ask the buyer for now: exactly what this order may still bring her."""
    kinds: tuple[str, ...] = ASKED_AFTER_PAYMENT
    if order.status == Order.SHIPPED:
        kinds = (logistics.SIGNED, logistics.REFUNDED, logistics.REVIEW)
    elif order.delivery == Order.PICKUP:
        kinds = ASKED_WHEN_COLLECTED
    if order.awaits_balance:
        kinds = (logistics.BALANCE, *kinds)
    elif order.status == Order.PENDING_PAYMENT:
        kinds = (logistics.UNPAID, *kinds)
    elif order.status == Order.RECEIVED and lines_with_unused_vouchers(order.pk):
        kinds = (logistics.VOUCHER, logistics.REFUNDED)
    elif order.status not in (Order.PAID, Order.SHIPPED):
        return []
    rows = {
        row.kind: row
        for row in OrderMessage.objects.filter(kind__in=kinds, is_active=True).exclude(subscribe_template="")
    }
    words = {
        logistics.UNPAID: _("A reminder before the time to pay is over"),
        logistics.BALANCE: _("When the balance can be paid"),
        logistics.SHIPPED: _("When the parcel is sent"),
        logistics.SIGNED: _("When the parcel was signed for"),
        logistics.READY: _("When it can be collected"),
        logistics.REFUNDED: _("When money comes back"),
        logistics.REVIEW: _("When we would like to hear how it was"),
        logistics.VOUCHER: _("Before a voucher ends"),
    }
    asked: dict[str, str] = {}
    for kind in kinds:
        if kind in rows:
            template = rows[kind].subscribe_template
            asked[template] = f"{asked[template]}、{words[kind]}" if template in asked else words[kind]
    return list(asked.items())[:MOST_ASKED]


class ParcelWords:
    """The usual words of messages and answers."""

    @staticmethod
    def of(kind: str, values: Mapping[str, str]) -> str:
        texts = {
            logistics.PAID: _(
                "We have your payment of %(amount)s for order %(number)s and are packing it now."
            ),
            logistics.SHIPPED: _("Your order %(number)s is on its way: %(carrier)s %(parcel)s."),
            logistics.SIGNED: _(
                "Your parcel %(parcel)s was signed for. If anything is wrong, just answer here."
            ),
            logistics.READY: _("Your order %(number)s is ready at %(store)s. Your pickup code: %(code)s."),
            logistics.REFUNDED: _("%(amount)s for order %(number)s is back with you, the way you paid."),
            logistics.BALANCE: _(
                "The balance of %(amount)s for your %(goods)s can be paid now, until %(until)s:"
            ),
            logistics.UNPAID: _(
                "Your %(goods)s is kept for you for another %(minutes)s minutes. You can pay here until then:"
            ),
            logistics.VOUCHER: _(
                "%(pieces)s × %(goods)s can still be used, until %(until)s. The code for the store is here:"
            ),
            logistics.REVIEW: _("How do you like %(goods)s? A few words and a photo help others choose:"),
        }
        return texts[kind] % dict(values)

    @staticmethod
    def parcel(row: ParcelRow) -> str:
        lines = [f"{row.carrier} {row.number}", _("State: %(state)s") % {"state": row.state_label}]
        if row.latest is not None:
            lines.append(f"{clock.local(row.latest.at):%m-%d %H:%M} {row.latest.text}")
        address = reverse("shop:tracking", args=[row.order_number])
        lines.append(_("The whole way: %(address)s") % {"address": settings.PUBLIC_URL + address})
        return "\n".join(lines)

    @staticmethod
    def order(order: Order) -> str:
        said = (
            _("waits for its balance; the deposit is paid")
            if order.awaits_balance
            else {
                Order.PENDING_PAYMENT: _("is not paid yet"),
                Order.PAID: _("is being packed; the number of the parcel comes here when it is sent"),
                Order.SHIPPED: _("is on its way"),
                Order.RECEIVED: _("was received"),
                Order.CANCELLED: _("was cancelled"),
                Order.REFUNDED: _("was refunded"),
            }[order.status]
        )
        address = settings.PUBLIC_URL + reverse("shop:order", args=[order.number])
        return _("Your order %(number)s %(said)s.") % {"number": order.number, "said": said} + f"\n{address}"
