"""What can be applied for, and what became of it. Shoppers see their own; access is decided here."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, Prefetch, Q
from django.utils.translation import gettext as _

from shop import aftersales_rules as rules
from shop.errors import NoSuchAfterSale
from shop.models import AfterSale, AfterSaleLine, AfterSalePhoto, Invoice, Order, OrderLine, Sku, Stock
from shop.queries.vouchers import redeemed_of


@dataclass(frozen=True, slots=True)
class ApplicableLine:
    """A line with how many of its pieces can still be applied for; `is_taken`: an application is under way."""

    line: OrderLine
    left: int
    is_taken: bool
    piece_fen: int  # what one piece gives back
    variants: list[Sku]  # what it can be exchanged for, itself among them
    held: list[
        tuple[Sku, int]
    ]  # what she has of it by now, with pieces: other than the line's after an exchange
    in_stock: frozenset[
        int
    ]  # SKUs of `variants` that can be sent now: by the store that sent the line, or another
    kept_fen: int  # what the pieces that she keeps cost her, all of them
    now_fen: int  # what these pieces cost today
    fallen_fen: int  # what the protection of the price gives back for them; 0: they cost no less today

    @property
    def is_as_sold(self) -> bool:
        return [sku.pk for sku, _count in self.held] in ([], [self.line.sku_id])


def applicable_lines(order: Order) -> list[ApplicableLine]:
    """Six statements, however many lines."""
    lines = list(OrderLine.objects.filter(order=order).select_related("sku").order_by("pk"))
    taken = set(
        AfterSaleLine.objects.filter(line__order=order, is_open=True).values_list("line_id", flat=True)
    )
    used, held = redeemed_of(order.pk), held_of(lines)
    variants: dict[int, list[Sku]] = {}
    for sku in Sku.objects.filter(product__in={line.sku.product_id for line in lines}).order_by(
        "position", "pk"
    ):
        variants.setdefault(sku.product_id, []).append(sku)
    somewhere = frozenset(
        Stock.objects.filter(
            Q(store__in={line.store_id for line in lines})
            | Q(store__is_active=True, store__ships_online=True),
            sku__in=[sku for some in variants.values() for sku in some],
            on_hand__gt=F("reserved"),
        ).values_list("sku_id", flat=True)
    )
    rows = []
    for line in lines:
        left = line.quantity - line.refunded_quantity - used.get(line.pk, 0)
        piece = rules.share_fen(
            total_fen=line.total_fen,
            quantity=line.quantity,
            refunded_fen=line.refunded_fen,
            refunded_quantity=line.refunded_quantity,
            returning=min(left, 1),
        )
        here = variants.get(line.sku.product_id, [])
        hers = [(sku, count) for sku in here if (count := held[line.pk].get(sku.pk, 0))]
        prices = {sku.price_fen for sku, _count in hers}
        same = [sku for sku in here if sku.pk in held[line.pk] or (sku.is_active and sku.price_fen in prices)]
        there = somewhere & {sku.pk for sku in same}
        kept = line.quantity - line.refunded_quantity
        rows.append(
            ApplicableLine(
                line,
                left,
                line.pk in taken,
                piece,
                same,
                hers,
                there,
                kept_fen=line.total_fen - line.refunded_fen,
                now_fen=line.sku.price_fen * kept,
                fallen_fen=rules.protection_fen(
                    total_fen=line.total_fen,
                    quantity=line.quantity,
                    refunded_fen=line.refunded_fen,
                    refunded_quantity=line.refunded_quantity,
                    price_now_fen=line.sku.price_fen,
                ),
            )
        )
    return rows


def held_of(lines: Sequence[OrderLine]) -> dict[int, dict[int, int]]:
    """Line → SKU → pieces that the buyer holds by now, after exchanges and returns. One statement.

    Money that went back without goods leaves them with her: how many may still be applied for, the line says.
    """
    steps: dict[int, list[tuple[int, int, int | None]]] = {}
    rows = AfterSaleLine.objects.filter(
        line__in=lines, aftersale__kind__in=rules.WITH_RETURN, aftersale__status__in=rules.CAME_BACK
    ).order_by("aftersale__applied_at", "pk")
    for row in rows.select_related("line"):
        back = row.held_sku_id or row.line.sku_id
        steps.setdefault(row.line_id, []).append((back, row.quantity, row.new_sku_id))
    return {line.pk: rules.held_pieces(line.sku_id, line.quantity, steps.get(line.pk, ())) for line in lines}


def aftersales_of(member_id: int, *, limit: int = 50) -> list[AfterSale]:
    """A member's applications, newest first, with their lines."""
    mine = AfterSale.objects.filter(order__member_id=member_id).select_related("order")
    return list(mine.prefetch_related(_lines()).order_by("-applied_at", "-pk")[:limit])


def aftersales_of_order(order_id: int) -> list[AfterSale]:
    return list(AfterSale.objects.filter(order_id=order_id).order_by("-pk"))


def aftersale_for(number: str, *, member_id: int) -> AfterSale:
    """Her own application with lines, photos and log. Raises NoSuchAfterSale, also for another member's."""
    found = (
        AfterSale.objects.filter(number=number, order__member_id=member_id)
        .select_related("order")
        .prefetch_related(_lines(), "photos", "log")
        .first()
    )
    if found is None:
        raise NoSuchAfterSale(_("This application does not exist."))
    return found


def photo_for(photo_id: int, *, member_id: int) -> AfterSalePhoto:
    """A photo of her own. Raises NoSuchAfterSale."""
    found = AfterSalePhoto.objects.filter(pk=photo_id, aftersale__order__member_id=member_id).first()
    if found is None:
        raise NoSuchAfterSale(_("This application does not exist."))
    return found


def _lines() -> Prefetch:
    return Prefetch(
        "lines", AfterSaleLine.objects.select_related("line__sku", "new_sku", "held_sku").order_by("pk")
    )


def invoice_of(order_id: int) -> Invoice | None:
    """The latest request of an order."""
    return Invoice.objects.filter(order_id=order_id).order_by("-pk").first()


def orders_to_ship_with(order: Order) -> list[Order]:
    """Other paid orders of the same buyer to the same address that wait to be shipped, oldest first."""
    if order.status != Order.PAID or order.member_id is None or order.delivery != Order.SHIP:
        return []
    return list(
        Order.objects.filter(
            member_id=order.member_id,
            status=Order.PAID,
            refund_requested_at__isnull=True,
            delivery=Order.SHIP,
            receiver=order.receiver,
            phone=order.phone,
            region=order.region,
            street=order.street,
        )
        .exclude(pk=order.pk)
        .order_by("paid_at", "pk")[:20]
    )
