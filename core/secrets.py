"""Secrets at rest: a text field that is encrypted in the database and never prints its value."""

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import models

from core.logs import PHONE


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys]
    )


def encrypt(plain: str) -> str:
    return _cipher(tuple(settings.FIELD_KEYS)).encrypt(plain.encode()).decode()


def decrypt(stored: str) -> str:
    return _cipher(tuple(settings.FIELD_KEYS)).decrypt(stored.encode()).decode()


def keyed_digest(plain: str) -> str:
    """A hash by which a value is known again and cannot be guessed without our key; by the newest of FIELD_KEYS."""
    return keyed_digests(plain)[0]


def keyed_digests(plain: str) -> list[str]:
    """By each key, the newest first: what was written before the keys changed is known still."""
    return [
        hmac.new(f"digest:{key}".encode(), plain.encode(), hashlib.sha256).hexdigest()
        for key in settings.FIELD_KEYS
    ]


class SecretField(models.TextField):
    """Text that is stored encrypted (Fernet, `FIELD_KEYS`, newest first). Cannot be searched."""

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return decrypt(value) if value else value

    def get_prep_value(self, value: str | None) -> str | None:
        return encrypt(value) if value else value


def masked_phone(phone: str) -> str:
    """13812345678 → 138****5678; whatever it is, at most seven digits stay."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 8 else "****"


def hidden_phones(text: str) -> str:
    """The text without the middle of the mobile numbers in it: "pos:13812345678" → "pos:138****5678"."""
    return PHONE.sub(r"\1****\2", text)
