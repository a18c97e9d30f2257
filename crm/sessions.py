"""The member's login as a signed cookie: who, which session version, since when. Nothing is kept on the server."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from core import clock, statements
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
    # Asked twice in a request, at its beginning and for the renewal at its end.
    kept: tuple[str, Login | None] | None = request.__dict__.get("_carried")
    if kept is None or kept[0] != value:
        kept = request.__dict__["_carried"] = (value, _read(value))
    return kept[1]


def _read(value: str) -> Login | None:
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
    return member_with(request)[0]


def member_with(
    request: HttpRequest, also: str = "", params: Sequence[Any] | Mapping[str, Any] = ()
) -> tuple[Member | None, tuple[Any, ...]]:
    """The same with what a page wants to know of her besides, in one statement: every page of the shop asks this.

    `also` are SQL expressions, with the living member's id as `m.living` and `%s` for `params`, or `%(name)s` when
    these have names. Their values are empty when nobody is logged in.
    """
    carried = read(request)
    if carried is None:
        return None, ()
    if isinstance(params, Mapping):
        found = statements.named(_member_sql(also, "%(login)s"), {**params, "login": carried[0]})
    else:
        found = statements.rows(_member_sql(also), [*params, carried[0]])
    if not found:
        return None, ()
    names = _columns()
    # Built by hand: a queryset compiles the same query again for each page.
    member = Member.from_db("default", names, found[0][: len(names)])
    if member.session_version != carried[1]:
        return None, ()
    return member.merged_into or member, found[0][len(names) :]


@cache
def _columns() -> tuple[str, ...]:
    return tuple(field.attname for field in Member._meta.concrete_fields)


@cache
def _member_sql(also: str, login: str = "%s") -> str:
    columns = ", ".join(f"m.{name}" for name in _columns())
    # Through a subquery: of each execution of a prepared statement Postgres copies the list of what it answers.
    return f"""
    SELECT found.* FROM (
        SELECT {columns}{also and ", "}{also}
        FROM (SELECT *, coalesce(merged_into_id, id) AS living FROM crm_member WHERE id = {login}) m OFFSET 0
    ) found
    """  # noqa: S608  our own words only


def is_due_for_renewal(request: HttpRequest) -> bool:
    carried = read(request)
    return carried is not None and clock.now() - carried[2] > RENEW_AFTER
