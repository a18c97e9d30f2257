"""The accounts as the webhooks need them, remembered for a few seconds: a delivery costs no query for its account."""

import time
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from wechat.crypto import CallbackCipher, load_public_key
from wechat.models import Account

REMEMBERED_SECONDS = 3.0
FAMILIES = {"oa": Account.OFFICIAL, "work": (Account.WORK,), "pay": (Account.PAY,)}


@dataclass(frozen=True)
class Address:
    """Where a webhook belongs: the account with its secrets ready for use."""

    account_id: int
    kind: str
    mode: str
    token: str
    receive_id: str
    cipher: CallbackCipher | None
    public_key: RSAPublicKey | None
    public_key_id: str


_remembered: dict[tuple[str, str], tuple[float, int, Address | None]] = {}


def find_address(family: str, key: str) -> Address | None:
    """The active account behind `/wechat/<family>/<key>/`, None when there is none."""
    moment = time.monotonic()
    known = _remembered.get((family, key))
    if known is not None and known[0] > moment and known[1] == Account.generation:
        return known[2]
    generation = Account.generation
    account = Account.objects.filter(kind__in=FAMILIES[family], key=key, is_active=True).first()
    address = None if account is None else _address(account)
    if len(_remembered) > 1000:
        _remembered.clear()
    _remembered[family, key] = (moment + REMEMBERED_SECONDS, generation, address)
    return address


def _address(account: Account) -> Address:
    return Address(
        account_id=account.pk,
        kind=account.kind,
        mode=account.mode if account.is_official else Account.SAFE,
        token=account.token,
        receive_id=account.receive_id,
        cipher=CallbackCipher(account.aes_key) if account.aes_key else None,
        public_key=load_public_key(account.public_key) if account.public_key else None,
        public_key_id=account.public_key_id,
    )
