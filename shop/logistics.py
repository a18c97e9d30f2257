"""Words and pure rules of parcels and of what buyers are told: no database, no clock."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

# --- Parcels -------------------------------------------------------------------------------------------------------
SENT, COLLECTED, TRANSIT, DELIVERING = "sent", "collected", "transit", "delivering"
PICKED, PROBLEM, RETURNED = "signed", "problem", "returned"
STATES = [
    (SENT, _("sent off")),
    (COLLECTED, _("collected by the carrier")),
    (TRANSIT, _("on its way")),
    (DELIVERING, _("out for delivery")),
    (PICKED, _("signed for")),
    (PROBLEM, _("there is a problem")),
    (RETURNED, _("going back")),
]
FINAL = (PICKED, RETURNED)

# The usual carriers: code at Kuaidi100, name, phone, the carrier's own tracking page.
CARRIERS = [
    (
        "shunfeng",
        "顺丰速运",
        "95338",
        "https://www.sf-express.com/we/ow/chn/sc/waybill/waybill-detail/{number}",
    ),
    ("jd", "京东快递", "950616", "https://www.jdl.com/orderSearch/?waybillCodes={number}"),
    ("zhongtong", "中通快递", "95311", "https://www.zto.com/express/expressCheck.html?txtBill={number}"),
    ("yuantong", "圆通速递", "95554", "https://www.yto.net.cn/tracesimple.html?number={number}"),
    ("shentong", "申通快递", "95543", ""),
    ("yunda", "韵达快递", "95546", ""),
    ("jtexpress", "极兔速递", "956025", ""),
    ("ems", "EMS", "11183", "https://www.ems.com.cn/queryList?mailNo={number}"),
    ("youzhengguonei", "邮政快递包裹", "11183", ""),
    ("debangkuaidi", "德邦快递", "95353", ""),
]

# How long until a parcel is asked about again when nothing new was said, by times asked in vain.
ASK_AGAIN = tuple(timedelta(hours=hours) for hours in (1, 2, 4, 6, 8, 12, 24))
ASK_SOON = timedelta(hours=2)
ASK_AT_MOST = timedelta(days=30)


def next_ask(at: datetime, shipped_at: datetime, *, in_vain: int, state: str) -> datetime | None:
    """When to ask about a parcel again; None when it has arrived or nobody will say more."""
    if state in FINAL or at - shipped_at > ASK_AT_MOST:
        return None
    if in_vain == 0:
        return at + ASK_SOON
    return at + ASK_AGAIN[min(in_vain - 1, len(ASK_AGAIN) - 1)]


def state_of(events: Iterable[tuple[datetime, str]]) -> str:
    """The state that (moment, state) pairs in any order end in; of equal moments the furthest."""
    rank = {word: number for number, (word, _label) in enumerate(STATES)}
    latest = max(events, key=lambda event: (event[0], rank[event[1]]), default=None)
    return latest[1] if latest else SENT


# --- Order messages ------------------------------------------------------------------------------------------------
PAID, SHIPPED, SIGNED, REFUNDED, UNPAID = "paid", "shipped", "signed", "refunded", "unpaid"
READY, BALANCE, REVIEW, VOUCHER = "ready", "balance", "review", "voucher"
MESSAGE_KINDS = (PAID, SHIPPED, SIGNED, READY, REFUNDED, UNPAID, BALANCE, REVIEW, VOUCHER)
_NAME = re.compile(r"\{(\w+)\}")
NAMES = frozenset(
    {
        "number",
        "goods",
        "amount",
        "carrier",
        "parcel",
        "time",
        "minutes",
        "pieces",
        "until",
        "state",
        "shop",
        "store",
        "code",
    }
)
# What a subscription notification's field takes (contract A8): characters by the field's kind.
FIELD_LIMITS = {"thing": 20, "character_string": 32, "number": 32, "phrase": 5, "name": 10, "const": 20}


def unknown_names(text: str) -> list[str]:
    return sorted({name for name in _NAME.findall(text) if name not in NAMES})


def filled(text: str, values: Mapping[str, str]) -> str:
    """`{name}` replaced by its value; an unknown or empty name disappears."""
    return _NAME.sub(lambda found: values.get(found[1], ""), text)


def filled_fields(fields: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Template fields with their values, cut to what the platform takes; an empty value would be refused: a dash."""
    cut = {}
    for name, text in fields.items():
        limit = FIELD_LIMITS.get(name.rstrip("0123456789"), 200)
        value = filled(str(text), values).strip()
        cut[name] = f"{value[: limit - 1]}…" if len(value) > limit else value or "–"
    return cut


# --- Questions in the chat -----------------------------------------------------------------------------------------
_ABOUT_PARCELS = re.compile(r"物流|快递|包裹|运单|发货了|到哪|什么时候到|查单")
_ABOUT_ORDERS = re.compile(r"^(?:我的|查|查询|查看)?订单(?:状态|查询)?[?？。!！]?$|查.{0,2}订单|订单.{0,2}到")
_ORDER_NUMBER = re.compile(r"(?<!\d)\d{18}(?!\d)")
_TRACKING_NUMBER = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{0,4}\d{8,30}(?:-\d{1,3})*(?![A-Za-z0-9])")
LONGEST_QUESTION = 60


@dataclass(frozen=True)
class Question:
    """What a member asked in the chat: about all that is under way, or about numbers she sent along."""

    is_general: bool
    order_numbers: tuple[str, ...] = ()
    tracking_numbers: tuple[str, ...] = ()


def question_in(text: str) -> Question | None:
    """The question of a chat message, None when it is about something else: a person answers that."""
    said = text.strip()
    if not said or len(said) > LONGEST_QUESTION:
        return None
    orders = tuple(dict.fromkeys(_ORDER_NUMBER.findall(said)))[:3]
    parcels = tuple(dict.fromkeys(number.upper() for number in _TRACKING_NUMBER.findall(said)))[:3]
    general = bool(_ABOUT_PARCELS.search(said) or _ABOUT_ORDERS.search(said))
    if not (general or orders or parcels):
        return None
    return Question(general, orders, parcels)


# --- The funnel ----------------------------------------------------------------------------------------------------
CART, CHECKOUT, NO_ADDRESS, ADDRESS = "cart", "checkout", "no_address", "address"
REFUSED, SHEET, LEFT = "refused", "sheet", "left"
FUNNEL_STEPS = [
    (CART, _("looked at the cart")),
    (CHECKOUT, _("opened the checkout")),
    (NO_ADDRESS, _("had no address")),
    (ADDRESS, _("had an address")),
    (REFUSED, _("was refused at checkout")),
    (SHEET, _("opened WeChat's payment sheet")),
    (LEFT, _("left the till")),
]
