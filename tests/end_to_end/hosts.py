"""ASGI hosts for HTTP, each in a process of its own, and what each cannot do.

`python -m tests.end_to_end.hosts` writes the table of both in docs/hosts.md.
"""

import sys
from pathlib import Path

from tests.websockets.hosts import Host

HOSTS = {
    name: Host((sys.executable, "-m", *command.split()))
    for name, command in {
        "uvicorn": "uvicorn {app} --fd {fd} --log-level warning --timeout-graceful-shutdown 5",
        "hypercorn": "hypercorn {app} --bind fd://{fd} --log-level warning",
        "hypercorn, HTTP/2": "hypercorn {app} --bind fd://{fd} --log-level warning",
        "daphne": "daphne {app} --fd {fd} -v 0",
        "granian": "granian {app} --interface asgi --host 127.0.0.1 --port {port} --no-access-log",
        "gunicorn, asgi worker": "gunicorn {app} --bind fd://{fd} --worker-class asgi --log-level warning",
        "bridge serve": "bridge serve {app} --fd {fd} --log-level warning",
    }.items()
}

FEATURES = {
    "state": "the lifespan's state",
    "path": "the client's own bytes in the path (`%ff`)",
    "stream": "a stream arrives as the app makes it",
    "leave": "a client that leaves ends its stream",
    "events": "the same for async event streams",
    "upload": "an upload with a length arrives in pieces",
    "chunked": "so does a chunked one",
    "file": "a file",
    "memory": "a body of 3 MB",
    "fail": "an app that fails is a 500",
    "cut": "a response that breaks off is not taken for a whole one",
    "cookies": "two Set-Cookie fields",
    "hints": "early hints, as `103 Early Hints` (`wsgi.early_hints`)",
    "async": "forty async views at once, with four threads",
}

_NO_HINTS = "it does not offer the extension"
_RESET = "it does not tell the app that the client has reset its stream"

UNABLE = {
    ("daphne", "state"): "it has no lifespan",
    ("daphne", "cut"): "it keeps the connection open, and the client waits",
    ("uvicorn", "hints"): _NO_HINTS,
    ("hypercorn", "hints"): "it offers the extension in HTTP/2 alone",
    ("daphne", "hints"): _NO_HINTS,
    ("granian", "hints"): _NO_HINTS,
    ("gunicorn, asgi worker", "hints"): _NO_HINTS,
    ("hypercorn, HTTP/2", "leave"): _RESET,
    ("hypercorn, HTTP/2", "events"): _RESET,
}
"""What a host cannot do, and why."""

PAGE = Path(__file__).parents[2] / "docs/hosts.md"

_MARK = "<!-- the table; python -m tests.end_to_end.hosts writes it -->\n"


def page() -> str:
    """Return the page as it should be: with this table, and the reasons."""
    before, _, _ = PAGE.read_text().partition(_MARK)
    reasons = list(dict.fromkeys(UNABLE.values()))
    lines = ["| | " + " | ".join(HOSTS) + " |", "| --- " * (len(HOSTS) + 1) + "|"]
    for feature, words in FEATURES.items():
        cells = []
        for host in HOSTS:
            why = UNABLE.get((host, feature))
            cells.append("yes" if why is None else f"no ({reasons.index(why) + 1})")
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    notes = [f"{number}. {why[0].upper()}{why[1:]}." for number, why in enumerate(reasons, 1)]
    return "\n".join([before + _MARK, *lines, "", *notes, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
