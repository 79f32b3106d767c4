"""ASGI's TLS extension ↔ the variables of Apache's mod_ssl, which PEP 3333 asks servers for. Pure.

| extension | variable |
| --- | --- |
| it is there | HTTPS is `on` |
| `tls_version`, a number | SSL_PROTOCOL, such as `TLSv1.3` |
| `cipher_suite`, a number | SSL_CIPHER, OpenSSL's name |
| `server_cert` | SSL_SERVER_CERT |
| `client_cert_chain` | SSL_CLIENT_CERT, and the rest as SSL_CLIENT_CERT_CHAIN_0 and so on |
| `client_cert_name` | SSL_CLIENT_S_DN |
| `client_cert_error` | SSL_CLIENT_VERIFY: `NONE` without a certificate, `SUCCESS`, `FAILED:` and the error |

Certificates are PEM. No header has such a key, as all of those begin with `HTTP_`: a client cannot set them.
"""

import ssl
from collections.abc import Mapping
from functools import cache
from itertools import count, takewhile
from typing import Any

from bridge.types import WSGIEnvironment

__all__ = ["cipher_suites", "tls_of", "tls_variables", "tls_versions"]

tls_versions = {"SSLv3": 0x300, "TLSv1": 0x301, "TLSv1.1": 0x302, "TLSv1.2": 0x303, "TLSv1.3": 0x304}
"""The number of each version, by OpenSSL's name."""

_NAMES = {number: name for name, number in tls_versions.items()}


@cache
def cipher_suites() -> dict[str, int]:
    """Return the number of each suite that OpenSSL knows (RFC 8446, B.4), by its name there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return {suite["name"]: suite["id"] & 0xFFFF for suite in context.get_ciphers()}


@cache
def _cipher_name(suite: int) -> str | None:
    return {number: name for name, number in cipher_suites().items()}.get(suite)


def tls_variables(tls: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables for a connection; what is not known is left out.

    Args:
        tls: the ASGI extension.
    """
    chain = list(tls.get("client_cert_chain") or ())
    name = tls.get("client_cert_name")
    error = tls.get("client_cert_error")
    verified = f"FAILED:{error}" if error else "SUCCESS" if chain or name else "NONE"
    version, suite = tls.get("tls_version"), tls.get("cipher_suite")
    found = {
        "HTTPS": "on",
        "SSL_PROTOCOL": version and _NAMES.get(version),
        "SSL_CIPHER": suite and _cipher_name(suite),
        "SSL_SERVER_CERT": tls.get("server_cert"),
        "SSL_CLIENT_VERIFY": verified,
        "SSL_CLIENT_S_DN": name,
        "SSL_CLIENT_CERT": chain[0] if chain else None,
        **{f"SSL_CLIENT_CERT_CHAIN_{number}": each for number, each in enumerate(chain[1:])},
    }
    return {key: value.encode().decode("latin-1") for key, value in found.items() if value}


def tls_of(environ: WSGIEnvironment) -> dict[str, Any] | None:
    """Return the ASGI extension that the variables say; None if there is no SSL_PROTOCOL."""
    version = environ.get("SSL_PROTOCOL")
    if not version:
        return None
    keys = (f"SSL_CLIENT_CERT_CHAIN_{number}" for number in count())
    chain = [environ.get("SSL_CLIENT_CERT"), *map(environ.get, takewhile(environ.get, keys))]
    name = environ.get("SSL_CLIENT_S_DN")
    verified = environ.get("SSL_CLIENT_VERIFY") or "NONE"
    return {
        "server_cert": environ.get("SSL_SERVER_CERT") or None,
        "client_cert_chain": [each for each in chain if each],
        "client_cert_name": name.encode("latin-1").decode("utf-8", "replace") if name else None,
        "client_cert_error": None if verified in ("NONE", "SUCCESS") else verified.removeprefix("FAILED:"),
        "tls_version": tls_versions.get(version),
        "cipher_suite": cipher_suites().get(environ.get("SSL_CIPHER", "")),
    }
