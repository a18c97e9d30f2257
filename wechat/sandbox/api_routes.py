"""The table of the sandbox's own interface, `/sandbox/api/…`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wechat.sandbox.errors import Refused
from wechat.sandbox.store import Row

if TYPE_CHECKING:
    from wechat.sandbox.world import World


@dataclass(slots=True)
class Ask:
    """One request of the sandbox's own interface."""

    world: World
    arguments: tuple[str, ...]
    query: dict[str, str]
    body: Any

    def text(self, name: str, default: str | None = None) -> str:
        """A text of the body; raises Refused when it is needed and missing."""
        value = self.body.get(name, default) if isinstance(self.body, dict) else default
        if value is None:
            raise Refused(f"{name} is missing.")
        return str(value)

    def account(self, *kinds: str) -> Row:
        """The account named in the body."""
        return self.world.platform_account(self.text("account"), *kinds)

    def person(self) -> Row:
        """The person named in the path."""
        return self.world.person(self.arguments[0])


Answer = Callable[[Ask], Any | Awaitable[Any]]
API: list[tuple[str, re.Pattern[str], Answer]] = []


def api(method: str, pattern: str) -> Callable[[Answer], Answer]:
    """Answer this method and path below `/sandbox/api/`."""

    def register(handler: Answer) -> Answer:
        API.append((method, re.compile(pattern), handler))
        return handler

    return register
