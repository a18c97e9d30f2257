"""Keys of integrators: made, found by their hash, revoked. The key itself is shown once and kept nowhere."""

import hashlib
import secrets
from datetime import timedelta

from django.db.models import Q

from core import clock
from core.models import ApiCall, ApiToken

KEY_BEGINS = "pond_"
NOTE_USE_EVERY = timedelta(minutes=1)
ANSWERS_KEPT = timedelta(days=7)


def issue_token(*, name: str, scopes: list[str], created_by_id: int | None = None) -> tuple[ApiToken, str]:
    """A new token and its key, which nobody can read again."""
    key = KEY_BEGINS + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        name=name,
        prefix=key[:12],
        key_hash=_hash(key),
        scopes=scopes,
        created_at=clock.now(),
        created_by_id=created_by_id,
    )
    return token, key


def revoke_tokens(*, token_ids: list[int]) -> int:
    """Close keys for good; returns how many were open. Idempotent."""
    return ApiToken.objects.filter(pk__in=token_ids, revoked_at=None).update(revoked_at=clock.now())


def find_token(key: str) -> ApiToken | None:
    """The open token of this key. Its use is noted at most once a minute: a write per read would be waste."""
    token = ApiToken.objects.filter(key_hash=_hash(key), revoked_at=None).first()
    if token is not None:
        moment = clock.now()
        stale = Q(last_used_at=None) | Q(last_used_at__lt=moment - NOTE_USE_EVERY)
        if token.last_used_at is None or token.last_used_at < moment - NOTE_USE_EVERY:
            ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=moment)
    return token


def prune_calls(*, batch: int = 5000) -> int:
    """Forget answers to writes that are older than 7 days; returns how many."""
    old = ApiCall.objects.filter(created_at__lt=clock.now() - ANSWERS_KEPT).order_by("pk")[:batch]
    return ApiCall.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]


def _hash(key: str) -> str:
    """The key has 256 random bits: a plain hash cannot be guessed back, and can be looked up."""
    return hashlib.sha256(key.encode()).hexdigest()
