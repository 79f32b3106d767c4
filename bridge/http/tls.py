"""What a TLS connection says of itself, as ASGI's extension has it."""

import re
import ssl
from pathlib import Path
from typing import Any

from bridge.core.tls import cipher_suites, tls_versions

__all__ = ["certificate_in", "describe_tls"]

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)

# RFC 4514, 3; other types have the names that Python gives them.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}

_SPECIAL = re.compile(r'[\\"+,;<>]|^[ #]| $')  # RFC 4514, 2.4


def certificate_in(path: str) -> str | None:
    """Return the first certificate of a PEM file; None if there is none, or the file cannot be read."""
    try:
        found = _CERTIFICATE.search(Path(path).read_text("latin-1"))
    except OSError:  # perhaps the process has given up the right to
        return None
    return found and found[0]


def describe_tls(connection: ssl.SSLObject, server_cert: str | None) -> dict[str, Any]:
    """Return ASGI's TLS extension for a connection whose handshake is over.

    Args:
        connection: the connection.
        server_cert: the server's certificate, PEM.

    The server asks for a client's certificate only to verify it. So one that is there was verified.
    """
    cipher = connection.cipher()
    certificate = connection.getpeercert(binary_form=True)
    chain: list[bytes] = []
    if certificate is not None:
        from_client = getattr(connection, "get_unverified_chain", None)  # from Python 3.13 on
        chain = [certificate] if from_client is None else from_client()
    # A dict, unless there is no certificate.
    subject: Any = (connection.getpeercert() or {}).get("subject", ())
    return {
        "server_cert": server_cert,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(each) for each in chain],
        "client_cert_name": _name(subject) if chain else None,
        "client_cert_error": None,
        "tls_version": tls_versions.get(connection.version() or ""),
        "cipher_suite": cipher_suites().get(cipher[0]) if cipher else None,
    }


def _name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Return a distinguished name as a string (RFC 4514), the most significant part last."""
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_SPECIAL.sub(_escaped, value)}" for kind, value in part)
        for part in reversed(subject)
    ]
    return ",".join(parts)


def _escaped(found: "re.Match[str]") -> str:
    return "\\" + found[0]
