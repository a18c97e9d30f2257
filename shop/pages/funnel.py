"""Noting the funnel's steps from the pages: once a process and day, after the page, and never in its way."""

import structlog
from django.http import HttpRequest

from core import clock
from shop import logistics, services
from shop.pages import frame

log = structlog.get_logger("shop.pages")
LEFT_REASONS = ("cancelled", "failed", "outside")


def note_step(request: HttpRequest, step: str, *, order_id: int | None = None, reason: str = "") -> None:
    """One fact at most; a page never fails because of it."""
    member_id = frame.member_id_of(request)
    if member_id is None:
        return
    day = clock.today()
    key = (member_id, f"funnel:{step}:{reason}", f"{order_id or day}")
    if key in frame._noted:
        return
    frame._noted[key] = clock.now()
    try:
        services.note_step(member_id=member_id, step=step, order_id=order_id, reason=reason)
    except Exception as error:
        log.warning("funnel_step_not_noted", step=step, error=type(error).__name__)


def note_checkout(request: HttpRequest, *, has_address: bool) -> None:
    """The checkout was opened: with an address this says all the earlier steps too."""
    note_step(request, logistics.ADDRESS if has_address else logistics.NO_ADDRESS)
