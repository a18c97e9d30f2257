"""What every REST door shares: keys with scopes, throttling, key pagination, writes that happen once, and errors
that explain themselves: `{"code", "message", "request_id", "fields"?}` with the right status.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import structlog
from django.core.cache import cache
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import connection, transaction
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle

from core import clock, tokens
from core.errors import Conflict, Refusal
from core.models import ApiCall, ApiToken
from core.scopes import SCOPES, WHOLE_PHONES, scope_for_permission

log = structlog.get_logger(__name__)

LONGEST_KEY = 80

Handler = Callable[..., Response]


class IdempotencyKeyMissing(Refusal):
    """A POST without an Idempotency-Key: sent twice it would happen twice."""

    code = "idempotency_key_required"


class IdempotencyKeyReused(Conflict):
    """The key came before with another request."""

    code = "idempotency_key_reused"


@dataclass(frozen=True)
class ApiClient:
    """Who calls with a key, as queries see a viewer: `has_perm` answers from the key's scopes."""

    token: ApiToken

    is_authenticated = True
    is_active = True
    is_staff = False
    is_superuser = False
    is_anonymous = False
    pk = None

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        return scope_for_permission(permission) in self.token.scopes

    def __str__(self) -> str:
        return self.token.name


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer pond_…`."""

    def authenticate(self, request: Request) -> tuple[ApiClient, ApiToken] | None:
        scheme, _space, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = tokens.find_token(key.strip())
        if token is None:
            raise exceptions.AuthenticationFailed(_("This key is unknown or was revoked."))
        return ApiClient(token), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="pond"'


class HasScope(BasePermission):
    """The key must hold `view.required_scopes[method]` ({"GET": "orders:read", "POST": "orders:write"}).

    A method that the view does not name is closed. Colleagues who are logged in to the admin may read what the
    staff permission of the scope lets them see there; they write in the admin.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        method = "GET" if request.method in ("HEAD", "OPTIONS") else str(request.method)
        scope = getattr(view, "required_scopes", {}).get(method)
        if scope is None:
            if method not in view.allowed_methods:
                raise exceptions.MethodNotAllowed(method)
            return False
        if isinstance(request.auth, ApiToken):
            if scope not in request.auth.scopes:
                raise exceptions.PermissionDenied(_("This key lacks the scope %(scope)s.") % {"scope": scope})
            return True
        permission = SCOPES[scope][1]
        return bool(
            request.method in SAFE_METHODS
            and permission
            and request.user.is_active
            and request.user.is_staff
            and request.user.has_perm(permission)
        )


class TokenThrottle(SimpleRateThrottle):
    """So many calls per key and minute, counted in the cache; without a cache nobody is turned away."""

    scope = "token"
    num_requests: int
    duration: int
    seconds_left = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        self.seconds_left = 0
        if self.rate is None:
            return True
        now = int(clock.now().timestamp())
        window = now // int(self.duration)
        who = f"token:{request.auth.pk}" if isinstance(request.auth, ApiToken) else self._person(request)
        key = f"throttle:{who}:{window}"
        try:
            cache.add(key, 0, self.duration * 2)
            count = cache.incr(key)
        except Exception as error:
            log.warning("throttle is open: the cache is away", error=type(error).__name__)
            return True
        self.seconds_left = (window + 1) * int(self.duration) - now
        return bool(count <= self.num_requests)

    def wait(self) -> float:
        return float(self.seconds_left)

    def _person(self, request: Request) -> str:
        pk = getattr(request.user, "pk", None)
        return f"user:{pk}" if pk else f"ip:{self.get_ident(request)}"


class KeyPagination(CursorPagination):
    """Pages by primary key: as fast at the end as at the beginning, nothing is shown twice while rows are added.

    `?limit=` 1 to 200 (50), `?cursor=` from the `next` address of the page before.
    """

    ordering = "id"
    page_size_query_param = "limit"
    max_page_size = 200


def idempotent(handler: Handler) -> Handler:
    """For a view's `post`, `put` or `patch`: the same `Idempotency-Key` has one effect and one answer for 7 days.

    The answer is stored in the transaction of the effect, so a concurrent twin waits and gets the same answer. The
    same key with another request is refused with 409. A refused call stores nothing and may be sent again. POST must
    bring a key; PUT and PATCH may.
    """

    @wraps(handler)
    def once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key", "").strip()
        if not key and request.method == "POST":
            raise IdempotencyKeyMissing(_("Send an Idempotency-Key with every POST."))
        if len(key) > LONGEST_KEY:
            raise IdempotencyKeyMissing(_("An Idempotency-Key has at most 80 characters."))
        if not key:
            return handler(view, request, *args, **kwargs)
        with transaction.atomic():
            fingerprint = _fingerprint(request)
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO core_apicall (token_id, key, request_hash, created_at) VALUES (%s, %s, %s, %s)"
                    " ON CONFLICT (token_id, key) DO NOTHING",
                    [request.auth.pk, key, fingerprint, clock.now()],
                )
                is_new = cursor.rowcount == 1
            call = ApiCall.objects.filter(token_id=request.auth.pk, key=key)
            if not is_new:
                return _replay(request, call.get(), fingerprint)
            response = handler(view, request, *args, **kwargs)
            body = json.loads(JSONRenderer().render(response.data)) if response.data is not None else None
            # Rendering counts them: the stored answer is what was rendered.
            call.update(
                status=response.status_code, body=body, whole_phones=_carried(request).get(WHOLE_PHONES, 0)
            )
            return response

    once.is_idempotent = True  # type: ignore[attr-defined]
    return once


def _fingerprint(request: Request) -> str:
    content = json.dumps(request.data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{request.method} {request.get_full_path()}\n{content}".encode()).hexdigest()


def _carried(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = getattr(request, "_request", request).__dict__
    return found


def _replay(request: Request, call: ApiCall, fingerprint: str) -> Response:
    """The same answer again. Whole phone numbers in it are a look of their own, and only for who may see them still."""
    if call.request_hash != fingerprint:
        raise IdempotencyKeyReused(_("This Idempotency-Key was used for another request."))
    if call.whole_phones:
        if not request.user.has_perm("crm.view_phone"):
            raise exceptions.PermissionDenied(
                _("This key lacks the scope %(scope)s.") % {"scope": "members:phone"}
            )
        _carried(request)[WHOLE_PHONES] = call.whole_phones
    return Response(call.body, status=call.status, headers={"Idempotent-Replay": "true"})


def explain_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None for what is our own fault: the 500 page answers, with the request id."""
    from rest_framework.views import exception_handler  # it reads settings that name this module

    request = context.get("request")
    request_id = getattr(getattr(request, "_request", None), "request_id", "")
    if isinstance(error, Refusal):
        return Response(
            {"code": error.code, "message": error.message, "request_id": request_id}, status=error.status
        )
    if isinstance(error, Http404):
        error = exceptions.NotFound(_("There is no such thing, or it is not open to this key."))
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    response = exception_handler(error, context)  # sets WWW-Authenticate and Retry-After
    if response is None or not isinstance(error, exceptions.APIException):
        return None
    explained: dict[str, Any] = {"code": _code_of(error), "message": "", "request_id": request_id}
    if isinstance(error, exceptions.ValidationError):
        explained["message"] = _("Some fields are not right.")
        explained["fields"] = (
            error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        )
    elif isinstance(error, exceptions.Throttled):
        explained["message"] = _("Too many requests. Try again in %(seconds)d s.") % {
            "seconds": int(getattr(error, "wait", None) or 1)
        }
    else:
        explained["message"] = str(error.detail)
    response.data = explained
    return response


def _code_of(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    return "invalid" if isinstance(error, exceptions.ValidationError) else str(codes)
