"""Access tokens and JS tickets, shared by all processes: exactly one of them fetches the next one.

The lease is a conditional update of the token's row; nobody holds a lock or a transaction while the network is slow.
Those who wait poll the row, or go on with the old token as long as the platform still accepts it.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext as _

from core import clock
from wechat import errors
from wechat.errors import PlatformBusy, PlatformError
from wechat.models import AccessToken, Account

# stable_token gives the next token five minutes before the end of the old one.
RENEW_BEFORE = timedelta(minutes=5)
LEASE = timedelta(seconds=20)
REMEMBERED_SECONDS = 5.0
FAILURE_STANDS = timedelta(seconds=3)
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.05

Fetch = Callable[[str], tuple[str, int]]  # the rejected value ("" when none) → value, seconds it lives

_remembered: dict[tuple[int, str], tuple[float, str, datetime]] = {}


def current(account: Account, kind: str, fetch: Fetch, *, rejected: str = "") -> str:
    """A token that the platform should accept. `rejected` is one that it just refused: never that one again.

    Raises what `fetch` raises; while one process finds the platform failing, the others get the same error quickly.
    """
    key = (account.pk, kind)
    known = _remembered.get(key)
    if (
        known is not None
        and known[1] != rejected
        and known[0] > time.monotonic()
        and known[2] > clock.now() + RENEW_BEFORE
    ):
        return known[1]
    give_up_at = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < give_up_at:
        row = _row(account, kind)
        moment = clock.now()
        usable = row.value if row.expires_at and row.expires_at > moment and row.value != rejected else ""
        if usable and row.expires_at and row.expires_at > moment + RENEW_BEFORE:
            _remembered[key] = (time.monotonic() + REMEMBERED_SECONDS, row.value, row.expires_at)
            return row.value
        if not usable and row.failed_at and moment - FAILURE_STANDS < row.failed_at <= moment:
            raise _same_failure(row)
        if _take_lease(row, moment):
            return _fetch_as_leader(account, row, fetch, rejected)
        if usable:
            return usable
        time.sleep(POLL_SECONDS)
    raise PlatformBusy("token_wait", _("Another process is still fetching the access token."), retry_after=10)


def forget(account_id: int) -> None:
    """Throw away an account's tokens: its secret was changed."""
    AccessToken.objects.filter(account_id=account_id).delete()
    for key in [key for key in _remembered if key[0] == account_id]:
        _remembered.pop(key, None)


def forget_remembered() -> None:
    """Forget what this process remembers (tests share a process, not their rows)."""
    _remembered.clear()


def _row(account: Account, kind: str) -> AccessToken:
    row = AccessToken.objects.filter(account=account, kind=kind).first()
    if row is None:
        AccessToken.objects.bulk_create([AccessToken(account=account, kind=kind)], ignore_conflicts=True)
        row = AccessToken.objects.get(account=account, kind=kind)
    return row


def _take_lease(row: AccessToken, moment: datetime) -> bool:
    """True for one caller only: the row must still be as it was read, and nobody else be fetching."""
    nobody = Q(lease_until=None) | Q(lease_until__lt=moment)
    unchanged = Q(fetched_at=row.fetched_at) & Q(failed_at=row.failed_at)
    return bool(AccessToken.objects.filter(nobody, unchanged, pk=row.pk).update(lease_until=moment + LEASE))


def _fetch_as_leader(account: Account, row: AccessToken, fetch: Fetch, rejected: str) -> str:
    try:
        value, lives_seconds = fetch(rejected)
    except PlatformError as error:
        AccessToken.objects.filter(pk=row.pk).update(
            lease_until=None,
            failed_at=clock.now(),
            failure_code=f"{type(error).__name__}:{error.code}"[:40],
            failure_detail=error.message[:300],
        )
        raise
    except BaseException:
        AccessToken.objects.filter(pk=row.pk).update(lease_until=None)
        raise
    moment = clock.now()
    expires_at = moment + timedelta(seconds=lives_seconds)
    row.value, row.fetched_at, row.expires_at = value, moment, expires_at
    row.lease_until = row.failed_at = None
    row.save(update_fields=["value", "fetched_at", "expires_at", "lease_until", "failed_at"])
    _remembered[account.pk, row.kind] = (time.monotonic() + REMEMBERED_SECONDS, value, expires_at)
    return value


def _same_failure(row: AccessToken) -> PlatformError:
    name, _colon, code = row.failure_code.partition(":")
    kind = getattr(errors, name, PlatformError)
    error: PlatformError = kind(code, row.failure_detail, retry_after=10)
    return error
