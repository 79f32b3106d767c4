"""ASGI's TLS extension ↔ mod_ssl's variables: one table for both ways, and that no client can set them."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.asgi.environ import build_environ
from bridge.asgi.scope import build_scope
from bridge.types import StartResponse, WSGIEnvironment
from tests.asgi_host import ScriptedHost, body_event, http_scope

NOTHING: dict[str, Any] = {
    "server_cert": None,
    "client_cert_chain": [],
    "client_cert_name": None,
    "client_cert_error": None,
    "tls_version": None,
    "cipher_suite": None,
}
PLAIN = {"HTTPS": "on", "SSL_CLIENT_VERIFY": "NONE", "SSL_PROTOCOL": "TLSv1.3"}

BOTH_WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "TLS 1.3": ({"tls_version": 0x0304}, {}),
    "TLS 1.2": ({"tls_version": 0x0303}, {"SSL_PROTOCOL": "TLSv1.2"}),
    "a suite of TLS 1.3": (
        {"tls_version": 0x0304, "cipher_suite": 0x1301},
        {"SSL_CIPHER": "TLS_AES_128_GCM_SHA256"},
    ),
    "a suite of TLS 1.2, by OpenSSL's name": (
        {"tls_version": 0x0303, "cipher_suite": 0xC02F},
        {"SSL_PROTOCOL": "TLSv1.2", "SSL_CIPHER": "ECDHE-RSA-AES128-GCM-SHA256"},
    ),
    "the server's certificate": (
        {"tls_version": 0x0304, "server_cert": "-----BEGIN"},
        {"SSL_SERVER_CERT": "-----BEGIN"},
    ),
    "a client's certificate": (
        {"tls_version": 0x0304, "client_cert_chain": ["one"], "client_cert_name": "CN=café"},
        {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_CERT": "one", "SSL_CLIENT_S_DN": "CN=caf\xc3\xa9"},
    ),
    "a chain": (
        {"tls_version": 0x0304, "client_cert_chain": ["one", "two", "three"], "client_cert_name": "CN=a"},
        {
            "SSL_CLIENT_VERIFY": "SUCCESS",
            "SSL_CLIENT_CERT": "one",
            "SSL_CLIENT_CERT_CHAIN_0": "two",
            "SSL_CLIENT_CERT_CHAIN_1": "three",
            "SSL_CLIENT_S_DN": "CN=a",
        },
    ),
    "a name alone, from a proxy": (
        {"tls_version": 0x0304, "client_cert_name": "CN=a"},
        {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=a"},
    ),
    "a certificate that was not verified": (
        {
            "tls_version": 0x0304,
            "client_cert_chain": ["one"],
            "client_cert_name": "CN=a",
            "client_cert_error": "certificate has expired",
        },
        {
            "SSL_CLIENT_VERIFY": "FAILED:certificate has expired",
            "SSL_CLIENT_CERT": "one",
            "SSL_CLIENT_S_DN": "CN=a",
        },
    ),
}


def variables_of(environ: WSGIEnvironment) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key == "HTTPS" or key.startswith("SSL_")}


@pytest.mark.parametrize(("tls", "variables"), BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_both_ways(tls: dict[str, Any], variables: dict[str, str]) -> None:
    scope = http_scope(scheme="https", extensions={"tls": {**NOTHING, **tls}})
    environ = build_environ(scope, {})
    assert variables_of(environ) == {**PLAIN, **variables}
    back: Any = build_scope(environ, {})
    assert back["extensions"]["tls"] == {**NOTHING, **tls}


@pytest.mark.parametrize(
    ("tls", "variables"),
    [
        # What the spec calls optional is missing; what it calls mandatory is not known.
        (
            {"server_cert": None, "tls_version": None, "cipher_suite": None},
            {"HTTPS": "on", "SSL_CLIENT_VERIFY": "NONE"},
        ),
        (
            {**NOTHING, "tls_version": 0x0399, "cipher_suite": 0xFFFF},
            {"HTTPS": "on", "SSL_CLIENT_VERIFY": "NONE"},
        ),
    ],
)
def test_what_is_not_known_is_left_out(tls: dict[str, Any], variables: dict[str, str]) -> None:
    assert variables_of(build_environ(http_scope(extensions={"tls": tls}), {})) == variables


@pytest.mark.parametrize("extensions", [{}, None])
def test_without_tls_there_are_none(extensions: Any) -> None:
    environ = build_environ(http_scope(scheme="https", extensions=extensions), {})
    assert variables_of(environ) == {}
    assert "tls" not in (build_scope(environ, {}).get("extensions") or {})


def test_a_certificate_of_an_unknown_authority_is_an_error() -> None:
    """mod_ssl's GENEROUS, for `SSLVerifyClient optional_no_ca`."""
    environ = build_environ(http_scope(), {})
    environ |= {"SSL_PROTOCOL": "TLSv1.3", "SSL_CLIENT_VERIFY": "GENEROUS", "SSL_CLIENT_CERT": "one"}
    found: Any = build_scope(environ, {})
    assert found["extensions"]["tls"]["client_cert_error"] == "GENEROUS"


FORGED = [
    (name.replace("_", separator).encode(), b"forged")
    for name in ("HTTPS", "SSL_PROTOCOL", "SSL_CLIENT_VERIFY", "SSL_CLIENT_S_DN", "SSL_CLIENT_CERT")
    for separator in ("_", "-")
]


@pytest.mark.parametrize("extensions", [{}, {"tls": {**NOTHING, "tls_version": 0x0304}}])
async def test_a_client_cannot_set_them(extensions: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [json.dumps(variables_of(environ)).encode()]

    host = ScriptedHost([body_event()])
    adapter = WSGIToASGI(app, threads=1)
    async with adapter.lifespan_context():
        scope = http_scope(headers=[(b"host", b"a"), *FORGED], extensions=extensions)
        await adapter(scope, host.receive, host.send)
    assert json.loads(host.body) == (PLAIN if extensions else {})
