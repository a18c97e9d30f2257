"""What the shop adds to a member's page: what she holds, and her last orders."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from core import clock
from core.money import yuan
from crm.services import Cell, Panel, register_panel
from shop.models import Order
from shop.queries.picture import holdings_of, last_orders_of
from shop.queries.rest import own_store_of

STATES = {Order.RECEIVED: "good", Order.REFUNDED: "bad", Order.CANCELLED: "bad"}


def holdings_panel(member_id: int, viewer: Any) -> Panel:
    """Balances and coupons as figures at the top."""
    held = holdings_of(member_id)
    stored = held.principal + held.bonus
    coupons = reverse("admin:shop_coupongrant_changelist") + f"?{urlencode({'member__id__exact': member_id})}"
    until = clock.local(held.next_expiry).date() if held.next_expiry else None
    return Panel(
        figures=[
            (_("points"), Cell(f"{held.points:,}")),
            (_("growth"), Cell(f"{held.growth:,}")),
            (
                _("stored value"),
                Cell(
                    f"¥{yuan(stored)}",
                    note=_("of it bonus ¥%(yuan)s") % {"yuan": yuan(held.bonus)} if held.bonus else "",
                ),
            ),
            (
                _("usable coupons"),
                Cell(
                    str(held.coupons),
                    address=coupons if held.coupons else "",
                    note=_("first ends %(day)s") % {"day": until} if until else "",
                ),
            ),
        ]
    )


def orders_panel(member_id: int, viewer: Any) -> Panel:
    orders: list[Any] = last_orders_of(member_id, store_id=own_store_of(viewer))
    return Panel(
        title=_("Orders"),
        rows=[
            [
                Cell(
                    order.number,
                    address=reverse("admin:shop_order_change", args=[order.pk]),
                    note=order.goods or "",
                ),
                Cell(f"¥{yuan(order.total_fen)}", note=f"{clock.local(order.placed_at):%Y-%m-%d}"),
                Cell(str(order.get_status_display()), state=STATES.get(order.status, "plain")),
            ]
            for order in orders
        ],
        empty=_("She has not ordered yet."),
        more=Cell(
            _("All"),
            address=reverse("admin:shop_order_changelist")
            + f"?{urlencode({'member__id__exact': member_id})}",
        )
        if orders
        else None,
    )


register_panel("shop.holdings", holdings_panel, permission="shop.view_coupongrant", position=10)
register_panel("shop.orders", orders_panel, permission="shop.view_order", position=20)
