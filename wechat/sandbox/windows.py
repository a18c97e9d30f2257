"""The allowance of customer-service messages after an interaction (contract A6, in force since 2023-06-12).

Whether allowances of several triggers add up is not documented. Here each trigger has its own, a new
interaction of the same kind renews it, and a message uses the one that ends first.
"""

from __future__ import annotations

from wechat.sandbox.errors import ApiError
from wechat.sandbox.store import Row

HOUR = 3600
TRIGGERS: dict[str, tuple[int, int]] = {
    # trigger: messages, seconds
    "message": (5, 48 * HOUR),
    "menu": (3, 60),
    "follow": (3, 60),
    "scan": (3, 60),
}
PAYMENT = (20, 48 * HOUR)


def open_window(follow: Row, trigger: str, now: float) -> None:
    """Note an interaction of the follower."""
    messages, seconds = TRIGGERS.get(trigger, PAYMENT)
    follow["windows"][trigger] = [now + seconds, messages]


def use_window(follow: Row | None, now: float) -> None:
    """Take one message from the allowance; raises 45015 outside of every window, 45047 when used up."""
    if follow is None or not follow["subscribe"]:
        raise ApiError(45015)
    open_ones = sorted(window for window in follow["windows"].values() if window[0] > now)
    if not open_ones:
        raise ApiError(45015)
    for window in open_ones:
        if window[1] > 0:
            window[1] -= 1
            return
    raise ApiError(45047)
