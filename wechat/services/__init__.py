"""What other apps ask of the platforms. Shapes are dataclasses of `wechat.gateway.answers`, refusals `wechat.errors`.

Calls of a platform belong outside of a transaction; queueing messages belongs inside the caller's.
"""

from wechat.errors import PlatformError
from wechat.gateway.answers import (
    ContactWay,
    Follow,
    Follower,
    OAuthPerson,
    PaymentState,
    QrCode,
    RefundState,
    WorkContact,
    WorkGroup,
    WorkGroupMember,
    WorkGroupRow,
)
from wechat.gateway.sandbox import tell_sandbox
from wechat.outbound.queue import (
    BadContent,
    cancel_messages,
    enqueue_from_select,
    enqueue_message,
    enqueue_messages,
    hold_messages,
    make_body,
    release_messages,
    retry_messages,
)
from wechat.services.accounts import ConnectionReport, set_account, test_connection
from wechat.services.notices import replay_notices
from wechat.services.official import (
    create_qr_code,
    follower,
    follower_openids,
    jssdk_config,
    jssdk_url,
    oauth_login_url,
    oauth_person,
    set_menu,
    tag_followers,
)
from wechat.services.payments import (
    close_payment,
    query_payment,
    query_refund,
    refund_payment,
    start_payment,
    trade_bill,
)
from wechat.services.work import (
    create_contact_way,
    mark_work_tags,
    send_work_welcome,
    work_contact,
    work_contacts,
    work_follow_users,
    work_group,
    work_groups,
)

__all__ = [
    "BadContent",
    "ConnectionReport",
    "ContactWay",
    "Follow",
    "Follower",
    "OAuthPerson",
    "PaymentState",
    "PlatformError",
    "QrCode",
    "RefundState",
    "WorkContact",
    "WorkGroup",
    "WorkGroupMember",
    "WorkGroupRow",
    "cancel_messages",
    "close_payment",
    "create_contact_way",
    "create_qr_code",
    "enqueue_from_select",
    "enqueue_message",
    "enqueue_messages",
    "follower",
    "follower_openids",
    "hold_messages",
    "jssdk_config",
    "jssdk_url",
    "make_body",
    "mark_work_tags",
    "oauth_login_url",
    "oauth_person",
    "query_payment",
    "query_refund",
    "refund_payment",
    "release_messages",
    "replay_notices",
    "retry_messages",
    "send_work_welcome",
    "set_account",
    "set_menu",
    "start_payment",
    "tag_followers",
    "tell_sandbox",
    "test_connection",
    "trade_bill",
    "work_contact",
    "work_contacts",
    "work_follow_users",
    "work_group",
    "work_groups",
]
