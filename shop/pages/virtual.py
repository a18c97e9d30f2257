"""What an order delivers without a parcel, on its page."""

from typing import Any

from shop import queries
from shop.models import Order
from shop.pages.vouchers import shown_voucher, told


def shown_delivery(order: Order) -> list[dict[str, Any]]:
    """One entry a line: its text, its codes, its vouchers."""
    return [
        {
            "name": row.line.product_name,
            "variant": row.line.sku_name,
            "text": told(row.text),
            "codes": row.codes,
            "vouchers": [shown_voucher(voucher) for voucher in row.vouchers],
        }
        for row in queries.delivered_of(order)
    ]
