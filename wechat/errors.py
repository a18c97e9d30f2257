"""Refusals of the platforms, typed by what the caller can do about them. `code` is the platform's own."""

from core.errors import NotFound, Refusal


class PlatformError(Refusal):
    """A platform refused or failed. `code` is its errcode (or Pay code) as text, the message says what to do.

    `detail` is the platform's own text, for operators. `retry_after` is in seconds when waiting helps.
    """

    status = 502

    def __init__(
        self, code: str | int, message: str, *, detail: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message, code=str(code))
        self.detail = detail
        self.retry_after = retry_after


class TokenRejected(PlatformError):
    """40001, 40014, 42001: the token is not the newest. The gateway has already tried once with a fresh one."""


class WrongCredentials(PlatformError):
    """The appid, secret, merchant key or certificate does not fit."""


class NotAllowed(PlatformError):
    """The account may not call this: IP whitelist, missing permission, ban."""

    status = 403


class RateLimited(PlatformError):
    """45009, 45011, 429: too many calls; wait `retry_after`."""

    status = 503


class PlatformBusy(PlatformError):
    """-1 or 5xx: try again later. Nothing was done."""

    status = 503


class NotReached(PlatformError):
    """No connection: the call surely did not arrive."""

    status = 503


class OutcomeUnknown(PlatformError):
    """The call went out and no answer came: it may have been carried out or not."""

    status = 503


class PersonUnreachable(PlatformError):
    """This person cannot get this message now: not following, window closed, quota used, refused."""

    status = 409


class CodeRejected(PlatformError):
    """A login code or welcome code is wrong, used or too old."""

    status = 400


class InvalidRequest(PlatformError):
    """The platform found our parameters wrong."""

    status = 400


class AlreadyDone(PlatformError):
    """The platform did this before (the same idempotency key); `platform_id` is what it answered then."""

    platform_id = ""


class AlreadyPaid(PlatformError):
    """The order is paid: it can be neither closed nor paid again."""

    status = 409


class NoSuchOrder(PlatformError):
    """WeChat Pay does not know this order or refund number."""

    status = 404


class UnsafeAddress(Refusal):
    """The account's API base address may not be used in this environment."""


class NoSuchAccount(NotFound):
    """No active account of this kind and key."""

    code = "no_such_account"
