"""Signatures and ciphers of the three platforms, written against their documents, on `cryptography` only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import string
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LETTERS = string.ascii_letters + string.digits
BLOCK = 32


class CryptoError(Exception):
    """A signature, a padding or a receiver that does not fit."""


def random_text(length: int) -> str:
    """Letters and digits, unpredictable."""
    return "".join(secrets.choice(LETTERS) for _ in range(length))


def sha1_of_sorted(*parts: str) -> str:
    """The callback signature of Official Accounts (3 parts) and of encrypted callbacks (4 parts)."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - the platform's algorithm


def js_signature(*, ticket: str, noncestr: str, timestamp: str, url: str) -> str:
    """The JS-SDK signature: the four values in alphabetical order, the url without its fragment."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url.split('#', 1)[0]}"
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the platform's algorithm


def _message_cipher(aes_key: str) -> Cipher[modes.CBC]:
    key = base64.b64decode(aes_key + "=")
    if len(key) != 32:
        raise CryptoError("EncodingAESKey must be 43 characters")
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def encrypt_message(plain: str, *, aes_key: str, receiver: str) -> str:
    """Random 16 bytes, length, message, receiver; padded to 32; AES-256-CBC; base64."""
    message = plain.encode()
    text = secrets.token_bytes(16) + len(message).to_bytes(4, "big") + message + receiver.encode()
    pad = BLOCK - len(text) % BLOCK
    encryptor = _message_cipher(aes_key).encryptor()
    return base64.b64encode(encryptor.update(text + bytes([pad]) * pad) + encryptor.finalize()).decode()


def decrypt_message(encrypted: str, *, aes_key: str, receiver: str) -> str:
    """The reverse; every byte of the padding, the length and the receiver are checked."""
    try:
        raw = base64.b64decode(encrypted, validate=True)
        decryptor = _message_cipher(aes_key).decryptor()
        text = decryptor.update(raw) + decryptor.finalize()
    except ValueError as error:
        raise CryptoError("not a ciphertext") from error
    if len(text) < BLOCK:
        raise CryptoError("too short")
    pad = text[-1]
    if not 1 <= pad <= BLOCK or text[-pad:] != bytes([pad]) * pad:
        raise CryptoError("bad padding")
    text = text[:-pad]
    length = int.from_bytes(text[16:20], "big")
    if 20 + length > len(text):
        raise CryptoError("bad length")
    if not hmac.compare_digest(text[20 + length :], receiver.encode()):
        raise CryptoError("meant for another receiver")
    return text[20 : 20 + length].decode()


def xml_of(fields: dict[str, Any], *, root: str = "xml") -> str:
    """XML as the platforms send it: numbers bare, text in CDATA, a list as repeated elements."""
    return f"<{root}>{''.join(_element(name, value) for name, value in fields.items())}</{root}>"


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        return xml_of(value, root=name)
    if isinstance(value, int | float):
        return f"<{name}>{value}</{name}>"
    safe = str(value).replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{safe}]]></{name}>"


# --- WeChat Pay ---------------------------------------------------------------------------------


def new_rsa_key() -> rsa.RSAPrivateKey:
    """A fresh 2048-bit key; keys are made at first start and never shipped."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """PKCS#8 PEM, the form in which a merchant's apiclient_key.pem comes."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The PEM of the public half, the form of the merchant portal's pub_key.pem."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@lru_cache(maxsize=64)
def load_private(pem: str) -> rsa.RSAPrivateKey:
    """The RSA key in a PEM text, kept, since reading takes longer than signing; CryptoError on anything else."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise CryptoError("not a private key") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CryptoError("not an RSA key")
    return key


def rsa_sign(key: rsa.RSAPrivateKey, *lines: str) -> str:
    """SHA256-RSA over the lines, each ended by a newline; base64."""
    text = "".join(f"{line}\n" for line in lines).encode()
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def rsa_verified(key: rsa.RSAPublicKey, signature: str, *lines: str) -> bool:
    """Whether the signature fits the lines."""
    text = "".join(f"{line}\n" for line in lines).encode()
    try:
        key.verify(base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def seal(document: dict[str, Any] | str, *, apiv3_key: str, aad: str) -> dict[str, str]:
    """The `resource` of a Pay notice: AES-256-GCM with the APIv3 key, the tag appended."""
    nonce = random_text(12)
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), text.encode(), aad.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": aad,
        "nonce": nonce,
    }


def unseal(resource: dict[str, str], *, apiv3_key: str) -> str:
    """The clear text of a sealed resource."""
    clear = AESGCM(apiv3_key.encode()).decrypt(
        resource["nonce"].encode(),
        base64.b64decode(resource["ciphertext"]),
        resource["associated_data"].encode(),
    )
    return clear.decode()
