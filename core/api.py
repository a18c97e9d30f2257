"""What every REST door shares: tokens with scopes, throttling, key pagination, errors that explain themselves."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import BasePermission
from rest_framework.throttling import SimpleRateThrottle


class TokenAuthentication(BaseAuthentication):
    pass


class HasScope(BasePermission):
    pass


class TokenThrottle(SimpleRateThrottle):
    scope = "token"


class KeyPagination(CursorPagination):
    ordering = "id"


def explain_error(exc, context):
    from rest_framework.views import exception_handler

    return exception_handler(exc, context)
