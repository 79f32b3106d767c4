"""What apps on `bridge serve` learn of a TLS connection: mod_ssl's variables, and ASGI's extension."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.command import Serving

PORT = ("--port", "0")


def make_certificate(folder: Path, name: str, subject: str) -> tuple[str, str]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    cert, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -utf8"
    options = ["-subj", subject, "-addext", "subjectAltName=IP:127.0.0.1", "-out", cert, "-keyout", key]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def server_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("server"), "server", "/CN=server")


@pytest.fixture(scope="module")
def client_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    subject = r"/C=DE/O=Doe, John \+ Sons/CN=café"
    return make_certificate(tmp_path_factory.mktemp("client"), "client", subject)


NAME = r"CN=café,O=Doe\, John \+ Sons,C=DE"


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def serving(
    request: pytest.FixtureRequest, server_files: tuple[str, str], client_files: tuple[str, str]
) -> Iterator[tuple[str, Serving]]:
    cert, key = server_files
    typed = ["--ssl-certfile", cert, "--ssl-keyfile", key, "--ssl-ca-certs", client_files[0]]
    with Serving(f"secured:{request.param}", *PORT, *typed, "--ssl-cert-reqs", "1") as serving:
        yield request.param, serving


def ask(serving: Serving, trusted: ssl.SSLContext) -> Any:
    forged = {"SSL-Client-Verify": "SUCCESS", "SSL_CLIENT_S_DN": "CN=root"}
    return httpx.get(f"{serving.address}/", verify=trusted, headers=forged).json()


@pytest.mark.parametrize(("version", "number"), [("TLSv1.2", 0x0303), ("TLSv1.3", 0x0304)])
@pytest.mark.parametrize("has_certificate", [False, True])
def test_what_an_app_learns(
    serving: tuple[str, Serving],
    server_files: tuple[str, str],
    client_files: tuple[str, str],
    version: str,
    number: int,
    has_certificate: bool,
) -> None:
    kind, server = serving
    trusted = ssl.create_default_context(cafile=server_files[0])
    trusted.minimum_version = trusted.maximum_version = ssl.TLSVersion(number)
    if has_certificate:
        trusted.load_cert_chain(*client_files)
    found = ask(server, trusted)
    server_cert, client_cert = Path(server_files[0]).read_text(), Path(client_files[0]).read_text()
    if kind == "asgi":
        suite = found.pop("cipher_suite")
        assert 0x1301 <= suite <= 0x1303 if version == "TLSv1.3" else suite in range(0xC000, 0xD000)
        assert found == {
            "server_cert": server_cert,
            "client_cert_chain": [client_cert] if has_certificate else [],
            "client_cert_name": NAME if has_certificate else None,
            "client_cert_error": None,
            "tls_version": number,
        }
    else:
        assert found.pop("SSL_CIPHER").startswith("TLS_" if version == "TLSv1.3" else "ECDHE-")
        of_client = {"SSL_CLIENT_CERT": client_cert, "SSL_CLIENT_S_DN": NAME.encode().decode("latin-1")}
        assert found == {
            "HTTPS": "on",
            "SSL_PROTOCOL": version,
            "SSL_SERVER_CERT": server_cert,
            "SSL_CLIENT_VERIFY": "SUCCESS" if has_certificate else "NONE",
            **(of_client if has_certificate else {}),
        }


@pytest.mark.parametrize(("kind", "expected"), [("wsgi", {}), ("asgi", None)])
def test_without_tls(kind: str, expected: object) -> None:
    with Serving(f"secured:{kind}", *PORT) as serving:
        assert ask(serving, ssl.create_default_context()) == expected
