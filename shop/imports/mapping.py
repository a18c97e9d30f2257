"""Which column of a foreign file means what, and how its dates and amounts are written."""

import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import WrongMapping

# field → (name for people, needed?, header names by which it is recognised)
FIELDS: dict[str, tuple[Any, bool, tuple[str, ...]]] = {
    "order_number": (
        gettext_lazy("Order number"),
        True,
        ("invoiceno", "invoice", "orderid", "ordernumber", "orderno", "订单号", "订单编号", "单号"),
    ),
    "code": (
        gettext_lazy("SKU code"),
        True,
        (
            "stockcode",
            "sku",
            "skucode",
            "productcode",
            "itemcode",
            "barcode",
            "商品编码",
            "规格编码",
            "货号",
            "条码",
        ),
    ),
    "name": (
        gettext_lazy("Product name"),
        False,
        ("description", "productname", "product", "title", "itemname", "商品名称", "商品", "品名"),
    ),
    "quantity": (gettext_lazy("Quantity"), True, ("quantity", "qty", "count", "数量", "件数", "购买数量")),
    "placed_at": (
        gettext_lazy("Ordered at"),
        True,
        (
            "invoicedate",
            "orderdate",
            "date",
            "createdat",
            "paidat",
            "下单时间",
            "付款时间",
            "订单时间",
            "日期",
        ),
    ),
    "price": (
        gettext_lazy("Unit price"),
        True,
        ("unitprice", "price", "单价", "成交单价", "售价"),
    ),
    "customer": (
        gettext_lazy("Customer number"),
        False,
        ("customerid", "customer", "customerno", "memberid", "会员号", "会员编号", "客户编号", "买家账号"),
    ),
    "customer_name": (gettext_lazy("Customer name"), False, ("customername", "会员姓名", "客户姓名")),
    "phone": (gettext_lazy("Phone"), False, ("phone", "mobile", "手机", "手机号", "联系电话")),
}
UCI_COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
# Codes of the UCI Online Retail data that are no goods; checked without regard to case.
UCI_SERVICES = (
    "M",
    "D",
    "S",
    "B",
    "PADS",
    "CRUK",
    "BANK CHARGES",
    "AMAZONFEE",
    "ADJUST",
    "ADJUST2",
    "TEST001",
)
UCI_SHIPPING = ("POST", "DOT", "C2")
CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class Mapping:
    """How to read a file. `columns` is field → header of the file; amounts are written in the currency's main unit
    ("3.39") and kept in its smallest one (339), nothing is converted.
    """

    columns: dict[str, str]
    currency: str = "CNY"
    time_zone: str = field(default_factory=lambda: settings.TIME_ZONE)
    cancellation_prefix: str = ""  # an order number that begins so takes an earlier purchase back
    shipping_codes: tuple[str, ...] = ()  # lines with these codes are the order's shipping
    service_codes: tuple[
        str, ...
    ] = ()  # lines with these codes, or beginning with one that ends in *, are no goods

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def checked(self, header: Sequence[str]) -> "Mapping":
        """Itself, when it fits the file. Raises WrongMapping."""
        unknown = [name for name in self.columns if name not in FIELDS]
        missing = [str(FIELDS[name][0]) for name in FIELDS if FIELDS[name][1] and not self.columns.get(name)]
        absent = [column for column in self.columns.values() if column and column not in header]
        if unknown:
            raise WrongMapping(
                _("The mapping names unknown fields: %(names)s.") % {"names": ", ".join(unknown)}
            )
        if missing:
            raise WrongMapping(_("No column is chosen for: %(names)s.") % {"names": ", ".join(missing)})
        if absent:
            raise WrongMapping(_("The file has no column %(names)s.") % {"names": ", ".join(absent)})
        if not CURRENCY.fullmatch(self.currency):
            raise WrongMapping(_("The currency is three capital letters, such as CNY."))
        if self.time_zone not in zoneinfo.available_timezones():
            raise WrongMapping(_("%(zone)s is not a time zone.") % {"zone": self.time_zone})
        return self


def from_json(given: dict[str, Any]) -> Mapping:
    """A mapping from a file or a form: {"columns": {…}, "currency": "CNY", …}. Raises WrongMapping."""
    known = {one.name for one in fields(Mapping)}
    if not isinstance(given, dict) or not isinstance(given.get("columns"), dict) or set(given) - known:
        raise WrongMapping(
            _("A mapping is an object with columns and, if need be: %(names)s.")
            % {"names": ", ".join(sorted(known - {"columns"}))}
        )
    values: dict[str, Any] = dict(given)
    for name in ("shipping_codes", "service_codes"):
        if name in values:
            values[name] = tuple(str(code) for code in values[name])
    return Mapping(**values)


def detect(header: Sequence[str]) -> Mapping:
    """The best guess from the names of the columns; the UCI Online Retail data are known in full.

    What is not recognised is left out: `checked` then says which needed field has no column.
    """
    if set(UCI_COLUMNS) <= set(header):
        names = ("order_number", "code", "name", "quantity", "placed_at", "price", "customer")
        return Mapping(
            columns=dict(zip(names, UCI_COLUMNS, strict=True)),
            currency="GBP",
            time_zone="Europe/London",
            cancellation_prefix="C",
            shipping_codes=UCI_SHIPPING,
            service_codes=(*UCI_SERVICES, "gift_*"),
        )
    columns: dict[str, str] = {}
    for name, (_label, _needed, known) in FIELDS.items():
        for column in header:
            if re.sub(r"[\s_\-]", "", column).lower() in known and column not in columns.values():
                columns[name] = column
                break
    return Mapping(columns=columns)
