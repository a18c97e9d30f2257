"""What the platforms answer, in our words. Moments are aware UTC, money is fen."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class OAuthPerson:
    """Who logged in. `unionid` only with snsapi_userinfo. A snapshot page's visitor is not a real person: refuse."""

    openid: str
    unionid: str = ""
    nickname: str = ""
    avatar_url: str = ""
    is_snapshot: bool = False


@dataclass(frozen=True)
class QrCode:
    ticket: str
    url: str  # what the code says
    image_url: str
    expires_seconds: int | None = None


@dataclass(frozen=True)
class Follower:
    openid: str
    unionid: str
    is_following: bool
    subscribed_at: datetime | None
    scene: str  # of the code through which she came
    tag_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class FollowerPage:
    """One page of openids: of the followers (`total` of them), or of who carries a tag. `after` names the next page."""

    openids: list[str]
    after: str  # "" when this was the last page
    total: int = 0


@dataclass(frozen=True)
class PaymentState:
    trade_state: str  # SUCCESS REFUND NOTPAY CLOSED REVOKED USERPAYING PAYERROR
    transaction_id: str
    paid_fen: int
    openid: str
    success_at: datetime | None


@dataclass(frozen=True)
class RefundState:
    refund_id: str
    status: str  # SUCCESS PROCESSING CLOSED ABNORMAL
    refund_fen: int


@dataclass(frozen=True)
class Follow:
    """One staff member's tie to a customer."""

    userid: str
    remark: str
    state: str
    tag_ids: list[str]
    created_at: datetime


@dataclass(frozen=True)
class WorkContact:
    external_userid: str
    name: str
    unionid: str
    avatar_url: str
    follows: list[Follow] = field(default_factory=list)


@dataclass(frozen=True)
class ContactWay:
    config_id: str
    qr_url: str


@dataclass(frozen=True)
class OfficialTagRow:
    """A tag of an official account, and how many followers carry it."""

    tag_id: int
    name: str
    count: int


@dataclass(frozen=True)
class WorkTagGroup:
    """A group of enterprise tags; tags are (id, name)."""

    name: str
    tags: list[tuple[str, str]]
    id: str = ""


@dataclass(frozen=True)
class WorkGroupRow:
    chat_id: str
    status: int


@dataclass(frozen=True)
class WorkGroupMember:
    id: str  # userid or external_userid
    kind: str  # "staff" | "customer"
    unionid: str
    joined_at: datetime | None
    join_scene: int  # 1 invited, 2 invitation link, 3 QR code
    name: str
    state: str


@dataclass(frozen=True)
class WorkGroup:
    chat_id: str
    name: str
    owner: str
    notice: str
    created_at: datetime
    members: list[WorkGroupMember] = field(default_factory=list)
