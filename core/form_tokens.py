"""The token of a page's forms. Django's own, masked anew for each page, with one question to the system instead of 32:
masking is a tenth of a kept page.
"""

import os
from operator import add

from django.http import HttpRequest
from django.middleware.csrf import CSRF_ALLOWED_CHARS, CSRF_SECRET_LENGTH, get_token

_CHARS = CSRF_ALLOWED_CHARS.encode()
_COUNT = len(_CHARS)
_FAIR = 256 - 256 % _COUNT  # bytes from here on would make some characters likelier than others
_MODULO = bytes(byte % _COUNT for byte in range(256))
_UNFAIR = bytes(range(_FAIR, 256))
_CHAR_OF = _CHARS.ljust(256)  # translates places in the alphabet
_PLACE_OF = bytes(max(_CHARS.find(bytes([byte])), 0) for byte in range(256))


def form_token(request: HttpRequest) -> str:
    """What `get_token` answers, with the same effect: the cookie is renewed with the response."""
    secret = request.META.get("CSRF_COOKIE", "")
    if len(secret) != CSRF_SECRET_LENGTH:
        return get_token(request)
    request.META["CSRF_COOKIE_NEEDS_UPDATE"] = True
    return masked(secret)


def masked(secret: str) -> str:
    """A random mask, and the secret shifted by it, character by character."""
    mask = b""
    while len(mask) < CSRF_SECRET_LENGTH:
        mask += os.urandom(40).translate(_MODULO, _UNFAIR)
    mask = mask[:CSRF_SECRET_LENGTH]
    shifted = bytes(map(add, mask, secret.encode().translate(_PLACE_OF))).translate(_MODULO)
    return (mask + shifted).translate(_CHAR_OF).decode()
