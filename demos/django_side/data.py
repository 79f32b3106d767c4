"""What is kept on disk: where, and the key that signs."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def database() -> Path:
    given = os.environ.get("DJANGO_SIDE_DATABASE")
    if given:
        return Path(given)
    folder = Path(tempfile.gettempdir(), "bridge-django-side")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "birds.sqlite"


def secret_key() -> str:
    """The one given, or one of this demo's own, which all workers, and the next start, find again."""
    given = os.environ.get("SECRET_KEY")
    if given:
        return given
    with one_at_a_time():
        kept = database().with_suffix(".secret-key")
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_urlsafe(48))
        return kept.read_text()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let no other process in here meanwhile."""
    with database().with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
