"""The cart as it stands now, what checkout would cost, and the member's addresses."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection
from django.utils.translation import gettext as _

from shop import rules
from shop.models import Address
from shop.queries.routing import AVAILABLE


@dataclass(frozen=True, slots=True)
class CartRow:
    sku_id: int
    product_id: int
    product_name: str
    sku_name: str
    image_url: str
    image_width: int
    image_height: int
    price_fen: int  # now
    seen_price_fen: int  # when it was put in
    quantity: int
    available: int
    is_selected: bool
    problem: str  # "": can be ordered; "off": no longer sold; "sold_out"; "short": fewer left than wanted
    limit_per_order: int | None = None  # of its product, None: as many as she likes
    limit_per_member: int | None = None
    bought: int = 0  # pieces of its product that count against the limit per member
    supply: str = "stock"  # a word of Sku.SUPPLIES
    is_parcel: bool = True  # something of it has to be sent or collected

    @property
    def price_changed_fen(self) -> int:
        """Dearer (positive) or cheaper since it was put in."""
        return self.price_fen - self.seen_price_fen

    @property
    def total_fen(self) -> int:
        return self.price_fen * self.quantity

    @property
    def problem_text(self) -> str:
        if self.problem == "short":
            return _("only %(count)d left") % {"count": self.available}
        return {"off": _("no longer sold"), "sold_out": _("sold out")}.get(self.problem, "")


@dataclass(frozen=True, slots=True)
class CartPage:
    lines: list[CartRow]

    @property
    def selected(self) -> list[CartRow]:
        """The ticked lines that can be ordered as they are."""
        return [line for line in self.lines if line.is_selected and not line.problem]

    @property
    def total_fen(self) -> int:
        return sum(line.total_fen for line in self.selected)

    @property
    def count(self) -> int:
        return sum(line.quantity for line in self.lines)


@dataclass(frozen=True, slots=True)
class CheckoutPage:
    lines: list[CartRow]
    items_fen: int
    shipping_fen: int
    discount_fen: int
    total_fen: int
    problems: list[str]  # sentences; empty when the order can be placed


_LINES = """
SELECT s.id, p.id, p.name, s.name, coalesce(i.file, ''), coalesce(i.width, 0), coalesce(i.height, 0), s.price_fen,
       w.seen, w.quantity, st.available, w.selected,
       CASE WHEN NOT (s.is_active AND p.status = 'on_sale') THEN 'off'
            WHEN st.available <= 0 THEN 'sold_out'
            WHEN st.available < w.quantity THEN 'short' ELSE '' END,
       p.limit_per_order, p.limit_per_member, coalesce(b.taken, 0),
       s.supply, CASE s.supply WHEN 'parts' THEN EXISTS (
           SELECT FROM shop_bundleitem b JOIN shop_sku c ON c.id = b.sku_id
           WHERE b.bundle_id = s.id AND c.supply = 'stock'
       ) ELSE s.supply = 'stock' END
FROM ({wanted}) w
JOIN shop_sku s ON s.id = w.sku_id
JOIN shop_product p ON p.id = s.product_id
{available}
LEFT JOIN shop_producttally b ON b.product_id = p.id AND b.member_id = %s
LEFT JOIN LATERAL (
    SELECT coalesce(nullif(i.thumbnail, ''), i.image) AS file, i.width, i.height
    FROM shop_productimage i WHERE i.product_id = p.id ORDER BY i.position, i.id LIMIT 1
) i ON true
ORDER BY w.rank
"""
_OF_CART = _LINES.format(
    available=AVAILABLE,
    wanted="""SELECT sku_id, quantity, is_selected AS selected, seen_price_fen AS seen,
              row_number() OVER (ORDER BY added_at DESC, id DESC) AS rank
              FROM shop_cartline WHERE member_id = %s""",
)
_OF_CHOICE = _LINES.format(
    available=AVAILABLE,
    wanted="""SELECT sku_id, quantity, true AS selected, NULL::bigint AS seen, rank
              FROM unnest(%s::bigint[], %s::int[]) WITH ORDINALITY AS t(sku_id, quantity, rank)""",
)


def cart_of(member_id: int) -> CartPage:
    """The member's cart, newest first, with prices and stock of this moment. One statement."""
    return CartPage(lines=_rows(_OF_CART, [member_id, member_id]))


def cart_count(member_id: int) -> int:
    """Pieces in the cart, for the badge of every page: by hand, for compiling it took longer than running it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(quantity), 0) FROM shop_cartline WHERE member_id = %s", [member_id]
        )
        return int(cursor.fetchone()[0])


def checkout_of(member_id: int, lines: Iterable[tuple[int, int]] | None = None) -> CheckoutPage:
    """What the given (sku id, quantity) would cost now; None: the ticked lines of the cart. One statement."""
    if lines is None:
        rows = [row for row in cart_of(member_id).lines if row.is_selected]
    else:
        wanted = rules.merged_lines(lines)
        rows = _rows(
            _OF_CHOICE, [[sku for sku, _n in wanted], [quantity for _s, quantity in wanted], member_id]
        )
    sums = rules.totals(rules.PricedLine(row.price_fen, row.quantity) for row in rows)
    return CheckoutPage(
        lines=rows,
        items_fen=sums.items_fen,
        shipping_fen=sums.shipping_fen,
        discount_fen=sums.discount_fen,
        total_fen=sums.total_fen,
        problems=[
            f"{row.product_name} {row.sku_name}".strip() + "：" + row.problem_text
            for row in rows
            if row.problem
        ],
    )


def _rows(sql: str, params: list[Any]) -> list[CartRow]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows = [CartRow(*row) for row in cursor.fetchall()]
    return [
        replace(
            row,
            image_url=default_storage.url(row.image_url) if row.image_url else "",
            seen_price_fen=row.price_fen if row.seen_price_fen is None else row.seen_price_fen,
        )
        for row in rows
    ]


def addresses_of(member_id: int) -> list[Address]:
    """The default first, then the ones used last."""
    return list(Address.objects.filter(member_id=member_id).order_by("-is_default", "-used_at", "-pk"))


def default_address(member_id: int) -> Address | None:
    return Address.objects.filter(member_id=member_id).order_by("-is_default", "-used_at", "-pk").first()
