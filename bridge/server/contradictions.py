"""Settings that contradict each other: what is in force → what of it has no effect, and why. Pure.

Only what somebody has said is found here; a default contradicts nothing. And what a stronger source says
against a weaker one is meant so: `--reload` that is typed where a file has `workers = 4`.
"""

import json
import re
import ssl
from collections.abc import Iterable, Iterator, Sequence

from bridge.server.options import InForce

__all__ = ["find_contradictions"]

_ASGI = ("asgi", "asgi2", "asgi3")

_LIMITS_OF_REQUESTS = (
    "limit-request-line",
    "limit-request-fields",
    "limit-request-field-size",
    "limit-request-head",
    "limit-request-body",
    "timeout-first-byte",
    "timeout-request-head",
    "timeout-request-body",
)

# What only Bridge's own adapter has.
_OF_THE_ADAPTER = ("streams", "websockets", "queue-length", "queue-timeout", "blocking-threshold")

# Values that ask for nothing, and so for nothing that could be in vain.
_NOTHING: dict[str, object] = {
    "access-log": False,
    "blocking-threshold": 0,
    "clear-forwarded": False,
    "health-live": "",
    "health-ready": "",
    "limit-max-requests-jitter": 0,
    "preload": False,
    "queue-timeout": 0,
    "ssl-cert-reqs": ssl.CERT_NONE,
}

# Levels that leave out uvicorn's lines of the access log.
_ABOVE_INFO = ("warning", "error", "critical")


def find_contradictions(settings: Iterable[InForce], *, has_sockets: bool = False) -> list[str]:
    """Say of settings that they have no effect, or not the one they ask for.

    Args:
        settings: what is in force, and why.
        has_sockets: whether systemd has opened sockets for the process (sd_listen_fds(3)).

    Returns:
        a sentence for each, with the settings as they were spelled.
    """
    said = _Settings(settings)
    return [
        *_addresses(said, has_sockets),
        *_health(said),
        *_calls(said),
        *_processes(said),
        *_limits(said),
        *_tls(said),
        *_logging(said),
        *_proxies(said, only_paths=not has_sockets and _listens_on_paths_only(said)),
        *_websockets(said),
    ]


class _Settings:
    """The settings in force, by their keys. One that is not there is as one that nobody has set."""

    def __init__(self, settings: Iterable[InForce]) -> None:
        self._rows = {row.key: row for row in settings}

    @property
    def keys(self) -> Iterable[str]:
        return self._rows

    def value(self, key: str) -> object:
        return self._rows[key].value if key in self._rows else None

    def number(self, key: str) -> float:
        """A value that is a number; 0 for none."""
        value = self.value(key)
        return value if isinstance(value, int | float) else 0

    def has_said(self, key: str) -> bool:
        return key in self._rows and not self._rows[key].is_default

    def strength(self, key: str) -> int:
        """How strong the source of a setting is: the default, a file, a variable, the command line."""
        if not self.has_said(key):
            return 0
        source = self._rows[key].source
        return 3 if source == "flag" else 2 if _is_variable(source) else 1

    def spelled(self, key: str, *, with_value: bool = False) -> str:
        """A setting as it stands where it was set."""
        row = self._rows.get(key)
        if row is None or row.is_default:
            return f"--{key} {row.shown} (the default)" if row is not None and with_value else f"--{key}"
        if row.source == "flag":
            if row.value is False:
                return f"--no-{key}"
            return f"--{key} {row.value}" if with_value else f"--{key}"
        has_value = with_value or row.value is False
        if _is_variable(row.source):
            return f"{row.source}={_bare(row)}" if has_value else row.source
        return f"{key} = {row.shown} in {row.source}" if has_value else f"{key} in {row.source}"

    def without_effect(
        self,
        *keys: str,
        for_: str,
        because_of: str | None = None,
        strength: int = 0,
        with_value: bool = False,
    ) -> Iterator[str]:
        """A sentence, if any of some settings was set, and is not overruled on purpose.

        Args:
            keys: the settings.
            for_: why they have no effect.
            because_of: the setting that is the reason.
            strength: that of the reason, where it is no setting.
            with_value: whether to tell their values.
        """
        if because_of is not None:
            strength = self.strength(because_of)
        found = [
            self.spelled(key, with_value=with_value)
            for key in keys
            if self.has_said(key)
            and strength <= self.strength(key)
            and (key not in _NOTHING or self.value(key) != _NOTHING[key])
        ]
        if found:
            yield f"{_listed(found)} {'has' if len(found) == 1 else 'have'} no effect: {for_}"


def _addresses(said: _Settings, has_sockets: bool) -> Iterator[str]:
    """As `bind`, `inherited` and `bind_all` of `sockets` have it, in their order."""
    if said.value("bind"):
        if has_sockets:
            yield f"the sockets that systemd has opened are not served: {said.spelled('bind')} names others"
        why = f"{said.spelled('bind')} says where to listen"
        yield from said.without_effect("host", "port", "uds", "fd", for_=why, because_of="bind")
    elif has_sockets:
        why = "systemd has opened the sockets (LISTEN_FDS)"
        yield from said.without_effect("host", "port", "uds", "uds-mode", "fd", for_=why, strength=2)
        return
    elif said.value("fd") is not None:
        why = f"{said.spelled('fd')} is the socket to listen on"
        yield from said.without_effect("host", "port", "uds", for_=why, because_of="fd")
    elif said.value("uds"):
        why = f"{said.spelled('uds')} is the socket to listen on"
        yield from said.without_effect("host", "port", for_=why, because_of="uds")
    if not any(address.startswith("unix:") for address in _made(said)):
        reason = "bind" if said.value("bind") else "fd"
        yield from said.without_effect("uds-mode", for_="no unix socket is made", because_of=reason)


def _made(said: _Settings) -> Sequence[str]:
    """The addresses that are listened on, as --bind spells them."""
    binds = said.value("bind")
    if isinstance(binds, list) and binds:
        return binds
    if said.value("fd") is not None:
        return [f"fd:{said.value('fd')}"]
    if said.value("uds"):
        return [f"unix:{said.value('uds')}"]
    return [f"{said.value('host')}:{said.value('port')}"]


def _listens_on_paths_only(said: _Settings) -> bool:
    return all(address.startswith("unix:") for address in _made(said))


def _health(said: _Settings) -> Iterator[str]:
    if said.value("health") is False:
        why = f"with {said.spelled('health')} the server does not answer for its health"
        yield from said.without_effect(
            "health-live", "health-ready", "readiness", for_=why, because_of="health"
        )
        return
    for key in ("health-live", "health-ready"):
        path = said.value(key)
        if said.has_said(key) and isinstance(path, str) and path and not path.startswith("/"):
            yield f"{said.spelled(key, with_value=True)} is never asked for: paths begin with a slash"
    if said.value("health-live") == said.value("health-ready") and (
        said.has_said("health-live") or said.has_said("health-ready")
    ):
        yield (
            f"{said.spelled('health-live')} and {said.spelled('health-ready')} are the same path: it says "
            "whether the server is alive, and none whether it is ready"
        )


def _calls(said: _Settings) -> Iterator[str]:
    """What makes the calls of an app."""
    adapter = said.value("adapter")
    if said.value("interface") in _ASGI:
        why = f"{said.spelled('interface', with_value=True)} has the app served as it is"
        yield from said.without_effect(
            "adapter", "threads", *_OF_THE_ADAPTER, "async-views", for_=why, because_of="interface"
        )
    elif adapter in ("a2wsgi", "asgiref"):
        why = f"{said.spelled('adapter', with_value=True)} has none of it"
        others = ["threads"] if adapter == "asgiref" and said.number("threads") > 1 else []
        if said.value("async-views") in ("auto", "loop"):
            others.append("async-views")
        yield from said.without_effect(*others, *_OF_THE_ADAPTER, for_=why, because_of="adapter")
    elif said.value("queue-length") == 0:
        why = f"{said.spelled('queue-length', with_value=True)} lets no request wait for a thread"
        yield from said.without_effect("queue-timeout", for_=why, because_of="queue-length")
    elif said.number("queue-timeout") >= said.number("timeout-request") > 0:
        deadline = said.spelled("timeout-request", with_value=True)
        yield from said.without_effect(
            "queue-timeout",
            for_=f"{deadline} ends a request before",
            because_of="timeout-request",
            with_value=True,
        )


def _processes(said: _Settings) -> Iterator[str]:
    if not said.value("reload") and not said.value("debug"):
        # In a file they may wait for a --reload to be typed.
        typed = [key for key in said.keys if key.startswith("reload-") and said.strength(key) > 1]
        yield from said.without_effect(*typed, for_="without --reload no files are watched")
        if not _has_supervisor(said) and said.strength("preload") > 1:  # in a file it may wait for --workers
            yield from said.without_effect("preload", for_="one process serves, and loads the app for itself")
    elif said.number("workers") > 1:
        why = f"with {said.spelled('reload')} one process serves"
        yield from said.without_effect("workers", for_=why, because_of="reload")
    if said.value("limit-max-requests") is None:
        why = "without --limit-max-requests there is no number to add it to"
        yield from said.without_effect("limit-max-requests-jitter", for_=why)


def _has_supervisor(said: _Settings) -> bool:
    if said.value("supervise") is not None:
        return said.value("supervise") is True
    return said.number("workers") > 1 or said.value("limit-max-requests") is not None


def _limits(said: _Settings) -> Iterator[str]:
    if said.value("http") in ("h11", "zttp"):
        why = f"{said.spelled('http', with_value=True)} has none of Bridge's limits; httptools has them"
        yield from said.without_effect(*_LIMITS_OF_REQUESTS, for_=why, because_of="http")
    elif said.number("limit-request-field-size") > said.number("limit-request-head") > 0:
        head = said.spelled("limit-request-head", with_value=True)
        yield from said.without_effect(
            "limit-request-field-size",
            for_=f"{head} is the limit of all fields together",
            because_of="limit-request-head",
            with_value=True,
        )
    if said.value("http") != "h11":
        why = "it is for --http h11"
        yield from said.without_effect("h11-max-incomplete-event-size", for_=why, because_of="http")


def _tls(said: _Settings) -> Iterator[str]:
    if not said.value("ssl-certfile") and not said.value("ssl-keyfile"):
        why = "without --ssl-certfile the server speaks plain HTTP"
        yield from said.without_effect(*(key for key in said.keys if key.startswith("ssl-")), for_=why)
    elif said.value("ssl-cert-reqs") == ssl.CERT_REQUIRED and not said.value("ssl-ca-certs"):
        yield (
            f"{said.spelled('ssl-cert-reqs', with_value=True)} turns every client away: without "
            "--ssl-ca-certs no certificate can be verified"
        )


def _logging(said: _Settings) -> Iterator[str]:
    if said.value("access-log") is False:
        why = f"with {said.spelled('access-log')} there is no access log"
        yield from said.without_effect("access-log-format", for_=why, because_of="access-log")
    elif said.value("access-log-format") is None and said.value("log-level") in _ABOVE_INFO:
        why = f"{said.spelled('log-level', with_value=True)} leaves its lines out"
        yield from said.without_effect("access-log", for_=why, because_of="log-level")
    if said.value("log-config"):
        why = f"what {said.spelled('log-config')} says holds instead"
        yield from said.without_effect("use-colors", for_=why, because_of="log-config")


def _proxies(said: _Settings, *, only_paths: bool) -> Iterator[str]:
    if said.value("proxy-headers") is False:
        why = f"with {said.spelled('proxy-headers')} nobody is trusted"
        yield from said.without_effect("forwarded-allow-ips", for_=why, because_of="proxy-headers")
    elif only_paths and said.value("forwarded-allow-ips") != "*":
        why = "clients of a unix socket have no address, so that only * trusts them"
        yield from said.without_effect("forwarded-allow-ips", for_=why)
    elif said.value("forwarded-allow-ips") == "*":
        why = f"{said.spelled('forwarded-allow-ips', with_value=True)} trusts everybody"
        yield from said.without_effect("clear-forwarded", for_=why, because_of="forwarded-allow-ips")


def _websockets(said: _Settings) -> Iterator[str]:
    if said.value("ws") in ("auto", "websockets", "websockets-sansio", "wsproto"):
        why = f"{said.spelled('ws', with_value=True)} has no queue"
        yield from said.without_effect("ws-max-queue", for_=why, because_of="ws")


def _is_variable(source: str) -> bool:
    return re.fullmatch("[A-Z0-9_]+", source) is not None


def _bare(row: InForce) -> str:
    """A value as a variable has it."""
    return row.value if isinstance(row.value, str) else json.dumps(row.value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
