"""Daily numbers of an account's channel: taken before sending by a guarded update, given back when unused."""

from datetime import date, datetime, timedelta

from django.db import connection

from core import clock
from wechat import rules
from wechat.models import Account, ChannelUse

_TAKE = """
WITH before AS (
    SELECT id, used FROM wechat_channeluse WHERE account_id = %s AND channel = %s AND day = %s FOR UPDATE
)
UPDATE wechat_channeluse u SET used = least(before.used + %s, greatest(%s, before.used))
FROM before WHERE u.id = before.id
RETURNING u.used - before.used
"""


def limit_of(account: Account, channel: str) -> int | None:
    """The account's daily number for a channel: its own when set, else the published one; None is no number."""
    if account.kind == Account.SUBSCRIPTION and channel == "mass" and "mass" not in account.daily_limits:
        return rules.SUBSCRIPTION_MASS_A_DAY
    return rules.daily_limit(channel, account.daily_limits)


def take_quota(account: Account, channel: str, wanted: int) -> int:
    """Book up to `wanted` messages of today; how many were left. The row's lock lasts one statement."""
    limit = limit_of(account, channel)
    today = clock.today()
    ChannelUse.objects.bulk_create(
        [ChannelUse(account=account, channel=channel, day=today)], ignore_conflicts=True
    )
    ceiling = limit if limit is not None else 2_000_000_000
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [account.pk, channel, today, wanted, ceiling])
        return int(cursor.fetchone()[0])


def give_back(account: Account, channel: str, unused: int) -> None:
    if unused > 0:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE wechat_channeluse SET used = greatest(used - %s, 0)"
                " WHERE account_id = %s AND channel = %s AND day = %s",
                [unused, account.pk, channel, clock.today()],
            )


def pause_channel(account: Account, channel: str, *, until: datetime, reason: str) -> None:
    """Send nothing on this channel until then; the sender looks here before it claims."""
    ChannelUse.objects.bulk_create(
        [ChannelUse(account=account, channel=channel, day=clock.today())], ignore_conflicts=True
    )
    ChannelUse.objects.filter(account=account, channel=channel, day=clock.today()).update(
        paused_until=until, pause_reason=reason[:300]
    )


def next_day() -> datetime:
    """When the platform's daily numbers begin anew: the shop's next midnight."""
    following: date = clock.today() + timedelta(days=1)
    return clock.day_start(following)
