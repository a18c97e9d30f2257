"""The member's login as a signed cookie: who, which session version, since when. Nothing is kept on the server."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from core import clock
from crm.models import Member

COOKIE = "pond_member"
SALT = "crm.member"
RENEW_AFTER = timedelta(days=7)


class Login(NamedTuple):
    """What the cookie says. That the member lives and her version still counts is asked of the database."""

    member_id: int
    session_version: int
    since: datetime


def log_in(response: HttpResponse, member: Member) -> None:
    """Let the browser carry the member for 30 days from now."""
    since = int(clock.now().timestamp())
    value = signing.Signer(salt=SALT).sign(f"{member.pk}.{member.session_version}.{since}")
    response.set_cookie(
        COOKIE,
        value,
        max_age=settings.MEMBER_COOKIE_AGE,
        httponly=True,
        samesite="Lax",
        secure=settings.COOKIE_SECURE,
    )


def log_out(response: HttpResponse) -> None:
    response.delete_cookie(COOKIE, samesite="Lax")


@cache
def _signer(key: str) -> signing.Signer:
    return signing.Signer(key=key, salt=SALT)


def read(request: HttpRequest) -> Login | None:
    """The login that a valid cookie carries, else None. Asks no database."""
    value = request.COOKIES.get(COOKIE, "")
    if not value:
        return None
    try:
        member_id, version, since = _signer(settings.SECRET_KEY).unsign(value).split(".")
        began = datetime.fromtimestamp(int(since), UTC)
        if clock.now() - began > timedelta(seconds=settings.MEMBER_COOKIE_AGE):
            return None
        return Login(int(member_id), int(version), began)
    except (signing.BadSignature, ValueError, OverflowError):
        return None


def member_of(request: HttpRequest) -> Member | None:
    """The living member behind the cookie; None when it is missing, forged, old or revoked."""
    carried = read(request)
    if carried is None:
        return None
    # Every page of the shop asks this: a raw statement spares compiling the same query each time.
    found = Member.objects.raw("SELECT * FROM crm_member WHERE id = %s", [carried[0]])
    member = next(iter(found), None)
    if member is None or member.session_version != carried[1]:
        return None
    return member.merged_into or member


def is_due_for_renewal(request: HttpRequest) -> bool:
    carried = read(request)
    return carried is not None and clock.now() - carried[2] > RENEW_AFTER
