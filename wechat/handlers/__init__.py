"""What each kind of notice means. A handler may run twice and in any order, and makes no network call.

It writes quotas and outcomes, and publishes `wechat.events`; the row's done mark commits with its writes.
"""

from collections.abc import Callable

from wechat.handlers.official import OFFICIAL
from wechat.handlers.pay import PAY
from wechat.handlers.work import WORK
from wechat.models import Account, Notice
from wechat.outbound.results import NotOurs

__all__ = ["NotOurs", "find"]


def find(notice: Notice) -> Callable[[Notice], None] | None:
    """The handler of a notice, None for a type that Pond does not know."""
    kind = notice.account.kind
    if kind == Account.PAY:
        return PAY.get(notice.topic)
    if kind == Account.WORK:
        return WORK.get(notice.topic)
    if notice.topic.startswith("message."):
        return OFFICIAL["message"]
    return OFFICIAL.get(notice.topic)
