"""What the platforms told us, in our words. Published by the notice handlers; `at` is the platform's own moment."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Followed:
    account_id: int
    openid: str
    scene: str  # of the scanned code, "" when none
    at: datetime


@dataclass(frozen=True)
class Unfollowed:
    account_id: int
    openid: str
    at: datetime


@dataclass(frozen=True)
class Scanned:
    """An existing follower scanned a code."""

    account_id: int
    openid: str
    scene: str
    at: datetime


@dataclass(frozen=True)
class MessageReceived:
    account_id: int
    openid: str
    msg_type: str
    text: str
    msg_id: str
    at: datetime


@dataclass(frozen=True)
class MenuClicked:
    account_id: int
    openid: str
    key: str  # the button's key, or the address that a link button opened
    at: datetime


@dataclass(frozen=True)
class SubscriptionAnswered:
    account_id: int
    openid: str
    template_id: str
    accepted: bool
    at: datetime


@dataclass(frozen=True)
class ContactAdded:
    """A customer became a contact of a staff member. The welcome code lives 20 seconds; "" when none came."""

    account_id: int
    userid: str
    external_userid: str
    state: str
    welcome_code: str
    at: datetime


@dataclass(frozen=True)
class ContactRemoved:
    account_id: int
    userid: str
    external_userid: str
    by: str  # "staff" | "customer"
    at: datetime


@dataclass(frozen=True)
class ContactEdited:
    account_id: int
    userid: str
    external_userid: str
    at: datetime


@dataclass(frozen=True)
class GroupChanged:
    """A hint: events get lost and arrive late, so read the group again."""

    account_id: int
    chat_id: str
    change: str  # "create" | "update" | "dismiss"
    detail: str  # add_member, del_member, change_owner, change_name, change_notice or ""
    at: datetime


@dataclass(frozen=True)
class WorkTagChanged:
    account_id: int
    tag_id: str
    change: str  # "create" | "update" | "delete" | "shuffle"
    at: datetime


@dataclass(frozen=True)
class PaymentNotified:
    """WeChat Pay says that an order was paid. The receiver compares the amount with its own order."""

    account_id: int
    out_trade_no: str
    transaction_id: str
    trade_state: str
    paid_fen: int
    openid: str
    success_at: datetime | None
    at: datetime


@dataclass(frozen=True)
class RefundNotified:
    account_id: int
    out_trade_no: str
    out_refund_no: str
    refund_id: str
    status: str  # SUCCESS | CLOSED | ABNORMAL | PROCESSING
    refund_fen: int
    at: datetime
