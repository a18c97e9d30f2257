"""Who is on the line, for doors that want to know more of her in the same statement."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from crm import sessions
from crm.models import Member


def visitor(
    request: HttpRequest, also: str, params: Sequence[Any] | Mapping[str, Any] = ()
) -> tuple[Member | None, tuple[Any, ...]]:
    """The living member behind the request and the values of `also` (see `sessions.member_with`).

    One statement, none without a login. What `request.member` says is settled by it.
    """
    member, values = sessions.member_with(request, also, params)
    request.__dict__["member"] = member
    return member, values
