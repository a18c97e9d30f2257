"""One JSON call of an official account or of WeCom: token, errcode, and one retry with a fresh token."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from wechat.errors import PlatformBusy, PlatformError
from wechat.gateway import http, tokens
from wechat.gateway.errcodes import TOKEN_REJECTED
from wechat.models import AccessToken, Account

Explain = Callable[..., PlatformError]


class TokenedClient:
    """What official accounts and WeCom have in common. Subclasses say how a token is fetched and what codes mean."""

    base: str

    def __init__(self, account: Account) -> None:
        self.account = account

    def explain(
        self, errcode: int, errmsg: str = "", *, answer: dict[str, Any] | None = None
    ) -> PlatformError:
        raise NotImplementedError

    def fetch_token(self, rejected: str = "") -> tuple[str, int]:
        raise NotImplementedError

    def token(self, *, rejected: str = "") -> str:
        return tokens.current(self.account, AccessToken.ACCESS, self.fetch_token, rejected=rejected)

    def call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """The answer without errcode 0. A rejected token is replaced once, then the error is raised.

        `repeatable` for reads and for calls that carry their own idempotency key.
        """
        token = self.token()
        try:
            return self._once(method, path, document, params, token, repeatable)
        except PlatformError as error:
            if not _is_token_trouble(error):
                raise
        return self._once(method, path, document, params, self.token(rejected=token), repeatable)

    def _once(
        self,
        method: str,
        path: str,
        document: Any,
        params: Mapping[str, Any] | None,
        token: str,
        repeatable: bool,
    ) -> dict[str, Any]:
        return self.open_call(
            method, path, document, params={"access_token": token, **(params or {})}, repeatable=repeatable
        )

    def open_call(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """A call without our token (login codes, the tokens themselves)."""
        body = None if document is None else http.to_json(document)
        headers = {"Content-Type": "application/json; charset=utf-8"} if body is not None else None
        response = http.request(
            method, self.base + path, params=params, body=body, headers=headers, repeatable=repeatable
        )
        answer = http.from_json(response)
        errcode = answer.get("errcode") or 0
        if errcode:
            raise self.explain(int(errcode), str(answer.get("errmsg") or ""), answer=answer)
        return answer


def next_cursor(answer: Mapping[str, Any], name: str, asked_with: str) -> str:
    """Where the next page begins, "" after the last. Raises PlatformBusy for the cursor that we have just asked with:
    going on would never end.
    """
    cursor = str(answer.get(name) or "")
    if cursor and cursor == asked_with:
        raise PlatformBusy("same_page", _("The platform answered the same page again."), retry_after=60)
    return cursor


def _is_token_trouble(error: PlatformError) -> bool:
    return error.code in {str(code) for code in TOKEN_REJECTED}
