"""`bridge.server.processes.sockets`: where the command listens, and what is said where it cannot."""

import contextlib
import errno
import os
import re
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import BridgeError
from bridge.server.processes.sockets import address_of, bind


@contextlib.contextmanager
def bound(*addresses: str) -> Iterator[list[socket.socket]]:
    """The sockets of `bind`, closed after the block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(each) for each in bind(addresses)]


@pytest.fixture
def path() -> Iterator[Path]:
    """A path short enough for a socket, whatever the name of the test."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "app.sock"


def answers(listening: socket.socket) -> bool:
    """Whether somebody who connects is heard."""
    with socket.socket(listening.family) as client:
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            return accepted.fileno() >= 0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


# Addresses


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        pytest.param("::1", "[::1]", marks=needs_ipv6),
        pytest.param("::", "[::]", marks=needs_ipv6),
    ],
)
def test_an_address_is_listened_on(host: str, shown: str) -> None:
    with bound(f"[{host}]:0") as (listening,):
        port = listening.getsockname()[1]
        assert port > 0
        assert answers(listening)
        assert address_of(listening, tls=False) == f"http://{shown}:{port}"
        assert address_of(listening, tls=True) == f"https://{shown}:{port}"


def test_a_port_can_be_chosen() -> None:
    with bound("127.0.0.1:0") as (other,):
        port = other.getsockname()[1]
    with bound(f"127.0.0.1:{port}") as (listening,):
        assert listening.getsockname() == ("127.0.0.1", port)


def test_a_port_can_be_taken_again_right_after_it_was_used() -> None:
    # The server's end of a connection that it closed first stays in TIME_WAIT for a minute.
    with bound("127.0.0.1:0") as (listening,):
        address = listening.getsockname()
        with socket.create_connection(address) as client:
            listening.accept()[0].close()
            assert client.recv(1) == b""
    with bound(f"127.0.0.1:{address[1]}") as (again,):
        assert answers(again)


@needs_ipv6
def test_all_interfaces_are_listened_on_at_the_same_port() -> None:
    with bound(":0") as sockets:
        assert {each.family for each in sockets} == {socket.AF_INET, socket.AF_INET6}
        assert len({each.getsockname()[1] for each in sockets}) == 1
        assert all(answers(each) for each in sockets)


def _resolver(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name resolve to some addresses."""

    def getaddrinfo(host: str | None, port: int, **options: Any) -> list[tuple[Any, ...]]:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_an_address_that_this_machine_lacks_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As localhost's ::1 in a container without IPv6; 192.0.2.0/24 is nobody's (RFC 5737).
    _resolver(monkeypatch, "192.0.2.1", "127.0.0.1")
    with bound("localhost:0") as (listening,):
        assert listening.getsockname()[0] == "127.0.0.1"


def test_no_socket_is_left_where_one_of_several_cannot_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound("127.0.0.2:0") as (other,):
        port = other.getsockname()[1]
        with monkeypatch.context() as patch:
            _resolver(patch, "127.0.0.1", "127.0.0.2")
            with pytest.raises(BridgeError, match="is taken by another process"):
                bind([f"localhost:{port}"])
        with bound(f"127.0.0.1:{port}") as (listening,):
            assert answers(listening)


def test_a_taken_port_is_named() -> None:
    with bound("127.0.0.1:0") as (listening,):
        port = listening.getsockname()[1]
        with pytest.raises(
            BridgeError, match="^" + re.escape(f"127.0.0.1:{port} is taken by another process; ")
        ):
            bind([f"127.0.0.1:{port}"])


@needs_ipv6
def test_a_taken_port_of_ipv6_is_named_as_in_a_url() -> None:
    with bound("[::1]:0") as (listening,):
        port = listening.getsockname()[1]
        with pytest.raises(BridgeError, match=re.escape(f"[::1]:{port} is taken")):
            bind([f"[::1]:{port}"])


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 8000, f"cannot listen on 192.0.2.1:8000: {os.strerror(errno.EADDRNOTAVAIL)} "),
        ("nosuch.invalid", 8000, "cannot listen on nosuch.invalid:8000: "),
        ("127.0.0.1", 65536, "there is no port 65536; --port takes 1 to 65535, or 0 for any free one"),
        ("127.0.0.1", -1, "there is no port -1; --port takes 1 to 65535, or 0 for any free one"),
    ],
)
def test_an_address_that_cannot_be_is_named(host: str, port: int, message: str) -> None:
    with pytest.raises(BridgeError) as caught:
        bind([f"{host}:{port}"])
    said = str(caught.value)
    assert said.startswith(message)
    assert said.endswith("(see --host and --port)") or said == message
    assert "\n" not in said


# Paths


def test_a_path_is_listened_on(path: Path) -> None:
    with bound(f"unix:{path}") as (listening,):
        assert answers(listening)
        assert address_of(listening, tls=False) == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_several_addresses(path: Path) -> None:
    with bound("127.0.0.1:0", f"unix:{path}") as sockets:
        assert [each.family for each in sockets] == [socket.AF_INET, socket.AF_UNIX]
    with pytest.raises(BridgeError, match="'here' is no address to listen on"):
        bind(["127.0.0.1:0", "here"])


def test_a_socket_that_a_killed_server_left_is_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.is_socket()
    with bound(f"unix:{path}") as (listening,):
        assert answers(listening)


def test_a_socket_where_somebody_listens_is_not_removed(path: Path) -> None:
    with bound(f"unix:{path}") as (listening,):
        with pytest.raises(BridgeError, match=f"^{path} is taken by another process; .* --uds$"):
            bind([f"unix:{path}"])
        assert answers(listening)


def _file(path: Path) -> None:
    path.write_text("precious")


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)


@pytest.mark.parametrize("make", [_file, _folder, _link])
def test_what_is_no_socket_is_not_removed(path: Path, make: Any) -> None:
    make(path)
    with pytest.raises(BridgeError) as caught:
        bind([f"unix:{path}"])
    assert str(caught.value) == (
        f"{path} is there already, and it is not a socket; choose another path with --uds"
    )
    assert path.is_dir() or path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nosuch/app.sock", os.strerror(errno.ENOENT)),
        ("x" * 200, "AF_UNIX path too long"),
    ],
    ids=["no such folder", "too long"],
)
def test_a_path_that_cannot_be_is_named(path: Path, name: str, reason: str) -> None:
    wanted = str(path.parent / name)
    with pytest.raises(BridgeError, match=re.escape(f"cannot listen on {wanted}: {reason} (see --uds)")):
        bind([f"unix:{wanted}"])


@pytest.mark.parametrize("address", ["unix:/nosuch/app.sock", "fd:999", "192.0.2.1:80", "127.0.0.1:70000"])
def test_the_option_that_was_typed_is_named(address: str) -> None:
    with pytest.raises(BridgeError, match=r"\(see --bind\)$|; --bind takes 1 to 65535"):
        bind([address], option="--bind")


# Descriptors


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_descriptor_is_listened_on(path: Path, family: socket.AddressFamily) -> None:
    given = socket.socket(family)
    given.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(path))
    given.listen()
    with bound(f"fd:{given.detach()}") as (listening,):
        assert listening.family == family
        assert answers(listening)


def test_a_descriptor_that_is_not_open_is_named() -> None:
    with open(os.devnull) as file:
        number = file.fileno()
    message = f"cannot listen on file descriptor {number}: {os.strerror(errno.EBADF)} (see --fd)"
    with pytest.raises(BridgeError, match=f"^{re.escape(message)}$"):
        bind([f"fd:{number}"])


def test_a_descriptor_of_something_else_is_named_and_left_alone() -> None:
    with open(os.devnull) as file:
        message = f"file descriptor {file.fileno()}: {os.strerror(errno.ENOTSOCK)} (see --fd)"
        with pytest.raises(BridgeError, match=f"^cannot listen on {re.escape(message)}$"):
            bind([f"fd:{file.fileno()}"])
        assert file.read() == ""


def test_a_socket_that_cannot_listen_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as given:
        message = f"file descriptor {given.fileno()}: it is a socket, but not one that can listen (see --fd)"
        with pytest.raises(BridgeError, match=f"^cannot listen on {re.escape(message)}$"):
            bind([f"fd:{given.fileno()}"])
        assert given.getsockname()


def test_a_connection_is_not_delayed_on_asyncios_loop() -> None:
    """It sets TCP_NODELAY only where the socket says that it speaks TCP."""
    for each in bind(["127.0.0.1:0"]):
        with each:
            assert each.proto == socket.IPPROTO_TCP
