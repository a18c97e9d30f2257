"""Signatures and AES of the platforms' callbacks (contract section C). No Django, no network.

Hand-written on `cryptography`, because wechatpy takes five times as long and reads only the last padding byte.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOCK_BYTES = 32
SIGNTEST = "WECHATPAY/SIGNTEST/"


class NotAuthentic(Exception):
    """The signature, the padding or the receiver does not fit: not from the platform, or not for us."""


def sha1_of_sorted(*parts: str) -> str:
    """The platforms' callback signature: three parts, four when encrypted."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - the platform's algorithm


def check_signature(given: str, *parts: str) -> None:
    """Raises NotAuthentic; takes the same time whatever is wrong."""
    if not hmac.compare_digest(sha1_of_sorted(*parts).encode(), given.encode("utf-8", "replace")):
        raise NotAuthentic("signature")


class CallbackCipher:
    """AES-256-CBC with the account's EncodingAESKey. Raises ValueError when the key is not 43 characters."""

    def __init__(self, aes_key: str) -> None:
        key = base64.b64decode(aes_key + "=", validate=True)
        if len(aes_key) != 43 or len(key) != 32:
            raise ValueError("EncodingAESKey must be 43 letters and digits")
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))

    def decrypt(self, encrypted: str, receive_id: str) -> bytes:
        """The message inside; every padding byte, the length and the receiver are checked. Raises NotAuthentic."""
        try:
            sealed = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError):
            raise NotAuthentic("base64") from None
        if not sealed or len(sealed) % BLOCK_BYTES:
            raise NotAuthentic("length")
        decryptor = self._cipher.decryptor()
        plain = decryptor.update(sealed) + decryptor.finalize()
        pad = plain[-1]
        if not 1 <= pad <= BLOCK_BYTES or plain[-pad:] != bytes((pad,)) * pad:
            raise NotAuthentic("padding")
        end = 20 + int.from_bytes(plain[16:20], "big")
        receiver = plain[end:-pad] if end <= len(plain) - pad else b""
        if not hmac.compare_digest(receiver, receive_id.encode()) or not receive_id:
            raise NotAuthentic("receiver")
        return plain[20:end]

    def encrypt(self, message: str, receive_id: str) -> str:
        content = message.encode()
        plain = secrets.token_bytes(16) + len(content).to_bytes(4, "big") + content + receive_id.encode()
        pad = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(plain + bytes((pad,)) * pad) + encryptor.finalize()).decode()


# WeChat Pay


def load_public_key(pem: str) -> RSAPublicKey:
    """Raises ValueError when it is not an RSA public key in PEM."""
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA public key")
    return key


def check_pay_signature(
    key: RSAPublicKey, *, timestamp: str, nonce: str, body: bytes, signature: str
) -> None:
    """Raises NotAuthentic, also for the platform's own probes."""
    if signature.startswith(SIGNTEST):
        raise NotAuthentic("probe")
    try:
        signed = base64.b64decode(signature, validate=True)
        key.verify(
            signed, f"{timestamp}\n{nonce}\n".encode() + body + b"\n", padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, binascii.Error, ValueError):
        raise NotAuthentic("signature") from None


def open_resource(resource: Mapping[str, object], apiv3_key: str) -> bytes:
    """The decrypted resource of a Pay notice. Raises NotAuthentic when the APIv3 key does not fit."""
    try:
        return AESGCM(apiv3_key.encode()).decrypt(
            str(resource["nonce"]).encode(),
            base64.b64decode(str(resource["ciphertext"])),
            str(resource.get("associated_data") or "").encode(),
        )
    except (InvalidTag, KeyError, ValueError):
        raise NotAuthentic("resource") from None
