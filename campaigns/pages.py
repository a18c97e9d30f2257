"""The one public page of this room: the redirect behind a tracked link."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_safe

from campaigns import services
from campaigns.errors import BrokenLink
from core import pages


@require_safe
def tracked_link(request: HttpRequest, token: str) -> HttpResponse:
    """Note that she opened it and go on to the target. HEAD is a machine's look: it counts for nobody."""
    member = getattr(request, "member", None)
    try:
        target = services.open_link(
            token=token,
            viewer_id=member.pk if member else None,
            counts=request.method == "GET",
        )
    except BrokenLink:
        return pages.not_found(request)
    response = HttpResponseRedirect(target or "/")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
