"""The table of platform calls: which path of which platform is answered by which function."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wechat.sandbox.errors import ApiError
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World


@dataclass(slots=True)
class Call:
    """One authenticated call of Official Accounts or WeCom."""

    world: World
    account: Row
    path: str
    query: dict[str, str]
    raw: bytes
    files: Row

    @property
    def body(self) -> Row:
        """The JSON document; raises 44002 when empty and 47001 when it is none."""
        if not self.raw:
            raise ApiError(44002)
        try:
            document = json.loads(self.raw)
        except (ValueError, UnicodeDecodeError) as error:
            raise ApiError(47001) from error
        if not isinstance(document, dict):
            raise ApiError(47001)
        return document


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, its daily quota (None: unlimited), and the kinds of account that may call it."""

    handler: Handler
    daily: int | None = None
    kinds: tuple[str, ...] = ("service", "subscription", "work")


OA: dict[str, Route] = {}
WORK: dict[str, Route] = {}


def oa(
    path: str, *, daily: int | None = None, kinds: tuple[str, ...] = ("service", "subscription")
) -> Callable[[Handler], Handler]:
    """Answer this path for Official Accounts."""

    def register(handler: Handler) -> Handler:
        OA[path] = Route(handler, daily, kinds)
        return handler

    return register


def work(path: str) -> Callable[[Handler], Handler]:
    """Answer this path for WeCom."""

    def register(handler: Handler) -> Handler:
        WORK[path] = Route(handler)
        return handler

    return register


def text(body: Row, name: str, errcode: int, *, most: int | None = None) -> str:
    """A non-empty text of the body, at most so many characters; raises the errcode."""
    value = body.get(name)
    if not isinstance(value, str) or not value or (most is not None and len(value) > most):
        raise ApiError(errcode)
    return value


def optional_text(body: Row, name: str, errcode: int, *, most: int) -> str:
    """A text that may be missing; raises the errcode when it is too long or no text."""
    value = body.get(name) or ""
    if not isinstance(value, str) or len(value) > most:
        raise ApiError(errcode)
    return value


def texts(body: Row, name: str, errcode: int, *, most: int) -> list[str]:
    """A list of texts, perhaps missing; raises the errcode when it is too long or of something else."""
    value = body.get(name) or []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(one, str) for one in value):
        raise ApiError(errcode)
    return value


def whole(body: Row, name: str, errcode: int, *, default: int, least: int, most: int) -> int:
    """A whole number within bounds; raises the errcode."""
    value = body.get(name)
    if value in (None, ""):
        return default
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise ApiError(errcode) from error
    if not least <= number <= most:
        raise ApiError(errcode)
    return number
