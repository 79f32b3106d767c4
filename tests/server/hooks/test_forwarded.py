"""Headers of proxies: whose the server goes by, and whose the app does not get to see."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from bridge.http.request import Address, Request
from bridge.server.hooks.forwarded import Forwarded
from tests.server.command import APPS, Serving
from tests.server.exchanges import Driven, make_request

# What a client sends: first what speaks for a proxy.
FORWARDED = [
    ("Forwarded", "for=6.6.6.6"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-For", "5.5.5.5"),
    ("x-forwarded-PROTO", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Whatever", "evil"),
    ("X-Forwarded", "for=6.6.6.6"),
    ("X-Real-IP", "6.6.6.6"),
    ("X-Client-IP", "6.6.6.6"),
    ("True-Client-IP", "6.6.6.6"),
    ("X_Forwarded_For", "6.6.6.6"),
]
OTHER = [("X-Request-ID", "1"), ("Accept", "*/*"), ("X-Forward", "2"), ("X-Forwardedness", "3")]

NOBODY = "--forwarded-allow-ips=192.0.2.1"


# The hook

NOBODYS: list[str] = []
PROXIES = "127.0.0.1, 10.0.0.0/8, localhost"


def told(hook: Forwarded, client: str | None, *headers: tuple[str, str]) -> Request:
    """What the app is told of a request."""
    fields = [(name.lower().encode(), value.encode()) for name, value in headers]
    address = None if client is None else (client, 50000)
    driven = Driven(hook, request=make_request(headers=fields, client=address))
    assert driven.begin() is None
    return driven.exchange.request


# Whose word is taken, who has connected, and whether it is taken of that one.
TRUSTED: dict[str, tuple[str | list[str] | None, str | None, bool]] = {
    "an address": ("127.0.0.1", "127.0.0.1", True),
    "an address of some": (PROXIES, "127.0.0.1", True),
    "an address in a list": (["192.0.2.1", "127.0.0.1"], "127.0.0.1", True),
    "a network": (PROXIES, "10.1.2.3", True),
    "everybody": ("*", "192.0.2.1", True),
    "everybody, in a list": (["*"], "192.0.2.1", True),
    "everybody, without an address": ("*", None, True),
    "another": (PROXIES, "192.0.2.1", False),
    "a name, which is no address": (PROXIES, "::1", False),
    "without an address": (PROXIES, None, False),
    "an empty list": (NOBODYS, "127.0.0.1", False),
    "nobody": (None, "127.0.0.1", False),
}


@pytest.mark.parametrize("clear", [True, False], ids=["clear", "keep"])
@pytest.mark.parametrize(("hosts", "client", "is_trusted"), TRUSTED.values(), ids=TRUSTED)
def test_whose_word_is_taken(
    hosts: str | list[str] | None, client: str | None, is_trusted: bool, clear: bool
) -> None:
    request = told(Forwarded(hosts, clear=clear), client, *FORWARDED, *OTHER)
    sent = FORWARDED + OTHER if is_trusted or not clear else OTHER
    assert request.headers == [(name.lower().encode(), value.encode()) for name, value in sent]
    assert request.scheme == ("https" if is_trusted else "http")
    if is_trusted:
        assert request.client == ("6.6.6.6" if hosts in ("*", ["*"]) else "5.5.5.5", 0)
    else:
        assert request.client == (None if client is None else (client, 50000))


def test_the_words_of_the_client_are_no_proxys() -> None:
    """It is the one that has connected who is looked at, not the one that it speaks for."""
    request = told(Forwarded("127.0.0.1, 5.5.5.5", clear=True), "127.0.0.1", *FORWARDED, *OTHER)
    assert request.client == ("6.6.6.6", 0)
    assert len(request.headers) == len(FORWARDED + OTHER)


SCHEMES = {
    ("https",): "https",
    ("http",): "http",
    ("wss",): "https",
    ("ws",): "http",
    (" https ",): "https",
    ("http", "https"): "https",
    ("https", "ftp"): "http",
    ("https, http",): "http",
    ("HTTPS",): "http",
    ("",): "http",
}


@pytest.mark.parametrize(("values", "scheme"), SCHEMES.items())
def test_schemes(values: tuple[str, ...], scheme: str) -> None:
    headers = [("X-Forwarded-Proto", value) for value in values]
    assert told(Forwarded("*", clear=False), "127.0.0.1", *headers).scheme == scheme


# Served


def lower(headers: Any) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def ask(server: Serving, headers: list[tuple[str, str]] = FORWARDED + OTHER, path: str = "/") -> Any:
    """What the app was told of a request."""
    with server.connection() as connection:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            return json.loads(response.read())


def ask_by_websocket(server: Serving) -> Any:
    """What the app was told of a websocket."""
    uri = "ws://localhost/"
    with connect(uri, sock=server.connect(), additional_headers=FORWARDED + OTHER, proxy=None) as client:
        return json.loads(client.recv())


# Options, and the client that the app is told of: "socket" is the one that has connected. Where there is an
# address instead, the headers were gone by, and are all there.
SERVERS = {
    "not trusted": (["--clear-forwarded", NOBODY], "socket"),
    "not trusted, as literals go": (["--clear-forwarded", "--forwarded-allow-ips=localhost"], "socket"),
    "trusted by default": (["--clear-forwarded"], "5.5.5.5"),
    "trusted as a network": (["--clear-forwarded", "--forwarded-allow-ips=127.0.0.0/8"], "5.5.5.5"),
    "trusted as all are": (["--clear-forwarded", "--forwarded-allow-ips=*"], "6.6.6.6"),
    "nobody is": (["--clear-forwarded", "--no-proxy-headers", "--forwarded-allow-ips=*"], "socket"),
    "without an address": (["--clear-forwarded", "--uds=PATH"], None),
    "without an address, as all are": (
        ["--clear-forwarded", "--uds=PATH", "--forwarded-allow-ips=*"],
        "6.6.6.6",
    ),
    "with trace": (["--clear-forwarded", NOBODY, "--log-level=trace"], "socket"),
}


@pytest.fixture(params=SERVERS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Serving, str | None]]:
    options, client = SERVERS[request.param]
    options = [each.replace("PATH", str(tmp_path / "s")) for each in options]
    address = [] if any(each.startswith("--uds") for each in options) else ["--port=0"]
    with Serving("told:app", *address, *options, cwd=APPS) as server:
        yield server, client


def test_what_the_app_is_told(case: tuple[Serving, str | None]) -> None:
    server, client = case
    is_trusted = client not in ("socket", None)
    for told, scheme in ((ask(server), "http"), (ask_by_websocket(server), "ws")):
        sent = lower(FORWARDED + OTHER)
        headers = [tuple(each) for each in told["headers"] if tuple(each) in sent]
        assert headers == (sent if is_trusted else lower(OTHER))
        assert ("host", "localhost") in [tuple(each) for each in told["headers"]]
        assert told["scheme"] == (f"{scheme}s" if is_trusted else scheme)
        if client is None:
            assert told["client"] is None
        else:
            assert told["client"][0] == ("127.0.0.1" if client == "socket" else client)


@pytest.mark.parametrize("options", [[], ["--keep-forwarded"]])
def test_headers_are_kept_if_nothing_else_is_said(options: list[str]) -> None:
    with Serving("told:app", "--port=0", NOBODY, *options, cwd=APPS) as server:
        told = ask(server)
    assert [tuple(each) for each in told["headers"]][-len(FORWARDED + OTHER) :] == lower(FORWARDED + OTHER)
    assert told["client"][0] == "127.0.0.1"


@pytest.mark.parametrize("adapter", ["bridge", "a2wsgi", "asgiref"])
def test_a_wsgi_app_is_told_nothing_that_looks_forwarded(adapter: str) -> None:
    """Also in no other spelling: some adapters make the same variable of X_Forwarded_For."""
    with Serving("shop:app", "--port=0", "--clear-forwarded", NOBODY, f"--adapter={adapter}") as server:
        environ = ask(server, path="/environ")
    assert environ["HTTP_X_REQUEST_ID"] == "1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert [key for key in environ if "FORWARDED" in key and key != "HTTP_X_FORWARDEDNESS"] == []
    assert "6.6.6.6" not in environ.values()


def test_underscores_never_make_a_forwarded_header() -> None:
    with Serving("shop:app", "--port=0") as server:
        environ = ask(server, [("X_Forwarded_For", "6.6.6.6"), ("x_Forwarded-For", "6.6.6.6")], "/environ")
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert "HTTP_X_FORWARDED_FOR" not in environ


# The lines of X-Forwarded-For, and the client: the last that is no proxy to be trusted.
LISTS: Mapping[str, tuple[list[str], str]] = {
    "one": (["5.5.5.5"], "5.5.5.5"),
    "a client's own claim first": (["6.6.6.6, 5.5.5.5"], "5.5.5.5"),
    "over trusted proxies": (["6.6.6.6, 5.5.5.5, 10.0.0.2, 10.0.0.1"], "5.5.5.5"),
    "lines in their order": (["6.6.6.6", "5.5.5.5"], "5.5.5.5"),
    "lines over trusted proxies": (["6.6.6.6, 5.5.5.5", "10.0.0.2", "10.0.0.1"], "5.5.5.5"),
    "a trusted address as a claim": (["10.0.0.9, 6.6.6.6, 5.5.5.5"], "5.5.5.5"),
    "with a port": (["6.6.6.6, 5.5.5.5:4711"], "5.5.5.5"),
    "IPv6": (["6.6.6.6, [2001:db8::1]:4711"], "2001:db8::1"),
    "proxies only": (["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
    "empty": ([""], "127.0.0.1"),
    "none": ([], "127.0.0.1"),
}


ADDRESSES: Mapping[str, Address] = {
    "with a port": ("5.5.5.5", 4711),
    "IPv6": ("2001:db8::1", 4711),
    "empty": ("127.0.0.1", 50000),
    "none": ("127.0.0.1", 50000),
}


@pytest.mark.parametrize("name", LISTS)
def test_addresses(name: str) -> None:
    lines, client = LISTS[name]
    hook = Forwarded(PROXIES, clear=False)
    request = told(hook, "127.0.0.1", *[("X-Forwarded-For", line) for line in lines])
    assert request.client == ADDRESSES.get(name, (client, 0))


def test_the_client_of_a_trusted_proxy_is_the_last_that_is_not_trusted() -> None:
    with Serving("told:app", "--port=0", "--forwarded-allow-ips=127.0.0.1,10.0.0.0/8") as server:
        clients = {
            name: ask(server, [("X-Forwarded-For", line) for line in lines])["client"][0]
            for name, (lines, _) in LISTS.items()
        }
    assert clients == {name: client for name, (_, client) in LISTS.items()}
