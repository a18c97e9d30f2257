"""Whoever is shown a whole phone number leaves a row: who, whom, when, on which page."""

from typing import Any

from core import clock
from core.scopes import WHOLE_PHONES
from core.secrets import masked_phone
from crm.models import PhoneLook


def record_phone_look(
    *, user: Any, subject: str, page: str, member_id: int | None = None, count: int = 1
) -> PhoneLook:
    """Append one look. `subject` names what the number stands on ("member:12", "order:42"); `user` is a colleague or
    the holder of an API key.
    """
    known = user.pk if getattr(user, "pk", None) and not getattr(user, "is_api_token", False) else None
    return PhoneLook.objects.create(
        user_id=known,
        who=str(user)[:80],
        member_id=member_id,
        subject=subject[:80],
        page=page[:200],
        count=count,
        at=clock.now(),
    )


def phone_for(request: Any, phone: str) -> str:
    """The number as the caller of the REST interface may see it. Whole ones are counted on the request;
    `record_counted_looks` writes one row for the answer.
    """
    if not phone or not request.user.has_perm("crm.view_phone"):
        return masked_phone(phone) if phone else ""
    asked = getattr(request, "_request", request).__dict__
    asked[WHOLE_PHONES] = asked.get(WHOLE_PHONES, 0) + 1
    return phone


def record_counted_looks(request: Any) -> PhoneLook | None:
    """Called once when an answer is made; None when no whole number is in it."""
    count = request.__dict__.pop(WHOLE_PHONES, 0)
    if not count:
        return None
    return record_phone_look(user=request.user, subject="api", page=request.path, count=count)
