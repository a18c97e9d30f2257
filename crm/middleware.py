"""Who of the members is on the line: `request.member`, asked for only when a page wants to know."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property

from crm import sessions
from crm.services import looks

# On the class, so that the look-up waits until somebody reads it and `request.member is None` stays a plain question
# (a lazy object around None is never None). One query at most, none without a cookie.
_member = cached_property(sessions.member_of)
_member.__set_name__(HttpRequest, "member")
HttpRequest.member = _member  # type: ignore[attr-defined]


class MemberSession:
    """Renews the login of who comes back: 30 days count from the last week in which she was here. And keeps who was
    shown whole phone numbers by REST.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        looks.record_counted_looks(request)
        if (
            sessions.COOKIE in request.COOKIES
            and sessions.COOKIE not in response.cookies
            and "member" in request.__dict__
            and (member := request.__dict__["member"]) is not None
            and sessions.is_due_for_renewal(request)
        ):
            sessions.log_in(response, member)
        return response
