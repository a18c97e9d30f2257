"""The platform certificate of merchants who have no WeChat Pay public key yet."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from wechat.sandbox import crypto


def platform_certificate(now: datetime) -> dict[str, str]:
    """A self-signed certificate for five years: key, PEM, serial (hex), from, until."""
    key = crypto.new_rsa_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbox Pay Platform")])
    serial = x509.random_serial_number()
    start, end = now - timedelta(days=1), now + timedelta(days=5 * 365)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return {
        "key": crypto.private_pem(key),
        "pem": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "serial": f"{serial:x}".upper(),
        "from": start.replace(microsecond=0).isoformat(),
        "until": end.replace(microsecond=0).isoformat(),
    }
