"""What the shop keeps about one person, as plain JSON values: her copy (personal information law, 45).

Amounts are in fen.
"""

from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet

from core.models import LedgerAccount
from crm.queries.points import points_statement
from shop.models import (
    Address,
    AfterSale,
    Booking,
    CartLine,
    CouponGrant,
    DirectPayment,
    Favourite,
    FunnelStep,
    GiftCard,
    Invoice,
    MallExchange,
    OfferTake,
    OfferWaiting,
    Order,
    Payment,
    Question,
    QueueTicket,
    Review,
    StockNotice,
    StoredValueRequest,
)
from shop.queries.stored_value import BONUS, POINTS, PRINCIPAL, balance_statement

MOST = 5_000
"""Of movements and steps: the newest."""


def taken_orders(member_id: int) -> list[dict[str, Any]]:
    """Her orders with what was bought, paid, invoiced and complained of, newest first."""
    orders = Order.objects.filter(member=member_id).order_by("-placed_at").prefetch_related("lines")
    of_order: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for name, rows, columns in (
        ("payments", Payment.objects.all(), ("kind", "openid", "amount_fen", "status", "paid_at")),
        (
            "invoices",
            Invoice.objects.all(),
            ("kind", "title", "tax_number", "email", "amount_fen", "status", "number"),
        ),
        (
            "aftersales",
            AfterSale.objects.all(),
            ("number", "kind", "status", "reason", "description", "amount_fen", "applied_at"),
        ),
    ):
        known = of_order.setdefault(name, {})
        for row in rows.filter(order__member=member_id).order_by("pk").values("order_id", *columns):
            known.setdefault(row.pop("order_id"), []).append(_plain(row))
    return [
        {
            "number": order.number,
            "status": order.status,
            "placed_at": order.placed_at.isoformat(),
            "total_fen": order.total_fen,
            "paid_fen": order.paid_fen,
            "refunded_fen": order.refunded_fen,
            "receiver": order.receiver,
            "phone": order.phone,
            "address": f"{order.region} {order.street}".strip(),
            "note": order.note,
            "lines": [
                {"name": line.product_name, "quantity": line.quantity, "unit_price_fen": line.unit_price_fen}
                for line in order.lines.all()
            ],
            **{name: known.get(order.pk, []) for name, known in of_order.items()},
        }
        for order in orders
    ]


def taken_addresses(member_id: int) -> list[dict[str, Any]]:
    names = ("receiver", "phone", "province", "city", "district", "street", "postal_code")
    return _rows(Address.objects.filter(member=member_id).order_by("pk"), *names)


def taken_wishes(member_id: int) -> dict[str, list[dict[str, Any]]]:
    """What she put into the cart, marked, waits for, and how she came to pay."""
    hers = {"member": member_id}
    return {
        "cart": _rows(
            CartLine.objects.filter(**hers).order_by("pk"), "sku__product__name", "quantity", "added_at"
        ),
        "favourites": _rows(Favourite.objects.filter(**hers).order_by("pk"), "product__name", "added_at"),
        "notices": _rows(
            StockNotice.objects.filter(**hers).order_by("pk"), "product__name", "state", "asked_at"
        ),
        "waiting_lists": _rows(OfferWaiting.objects.filter(**hers).order_by("pk"), "offer_id", "joined_at"),
        "offers": _rows(OfferTake.objects.filter(**hers).order_by("pk"), "offer_id", "quantity"),
        "steps": _rows(FunnelStep.objects.filter(**hers).order_by("-pk")[:MOST], "step", "at"),
    }


def taken_exchanges(member_id: int) -> list[dict[str, Any]]:
    """What she had from the points mall, newest first."""
    names = ("name", "points", "price_fen", "state", "at", "receiver", "phone", "address")
    return _rows(MallExchange.objects.filter(member=member_id).order_by("-at", "-pk"), *names)


def balances_of(member_id: int) -> dict[str, int]:
    """Ledger kind → balance: fen, or points; and her usable coupons."""
    held = LedgerAccount.objects.filter(owner_id=member_id, kind__in=[PRINCIPAL, BONUS, POINTS])
    coupons = CouponGrant.objects.filter(member=member_id, state=CouponGrant.HELD).count()
    return {**dict(held.values_list("kind", "balance")), **({"coupons": coupons} if coupons else {})}


def taken_value(member_id: int) -> dict[str, Any]:
    """Her balances with every movement, newest first, her coupons and cards, and what she paid and asked for."""
    hers = {"member": member_id}
    return {
        **balances_of(member_id),
        "points_movements": [
            {"at": one.at.isoformat(), "what": str(one.words), "note": one.note, "points": one.amount}
            for one in points_statement(member_id, limit=MOST)
        ],
        "stored_value_movements": [
            {"at": one.at.isoformat(), "what": str(one.words), "note": one.note, "fen": one.amount}
            for one in balance_statement(member_id, limit=MOST)
        ],
        "coupons_given": _rows(
            CouponGrant.objects.filter(**hers).order_by("pk"), "coupon__name", "state", "granted_at"
        ),
        "gift_cards": _rows(GiftCard.objects.filter(**hers).order_by("pk"), "code_end", "bound_at"),
        "payments": _rows(
            DirectPayment.objects.filter(**hers).order_by("pk"),
            *("kind", "openid", "amount_fen", "status", "paid_at"),
        ),
        "requests": _rows(
            StoredValueRequest.objects.filter(**hers).order_by("pk"),
            *("state", "asked_fen", "reason", "asked_at", "paid_fen", "answer"),
        ),
    }


def taken_voices(member_id: int) -> dict[str, list[dict[str, Any]]]:
    """What she wrote: reviews, questions, and the notes of her bookings, newest first; her places in queues."""
    hers = {"member": member_id}
    reviews = Review.objects.filter(**hers).order_by("-written_at", "-pk").select_related("product")
    questions = Question.objects.filter(**hers).order_by("-asked_at", "-pk").select_related("product")
    bookings = Booking.objects.filter(**hers).order_by("-booked_at", "-pk")
    return {
        "reviews": [
            {
                "product": one.product.name,
                "stars": one.stars,
                "text": one.text,
                "at": one.written_at.isoformat(),
            }
            for one in reviews
        ],
        "questions": [
            {"product": one.product.name, "text": one.text, "at": one.asked_at.isoformat()}
            for one in questions
        ],
        "bookings": [
            {"code": one.code, "state": one.state, "note": one.note, "at": one.booked_at.isoformat()}
            for one in bookings
        ],
        "queues": _rows(QueueTicket.objects.filter(**hers).order_by("-pk"), "number", "guest", "state"),
    }


def _rows(rows: QuerySet[Any], *columns: str) -> list[dict[str, Any]]:
    return [_plain(row) for row in rows.values(*columns)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in row.items()
    }
