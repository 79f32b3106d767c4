"""A real PostgreSQL of the tests' own: a cluster in a new folder, on a unix socket in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

# Where Debian puts them; elsewhere they are on the path.
_BINARIES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
_INITDB = shutil.which("initdb", path=os.pathsep.join([*map(str, _BINARIES), os.environ.get("PATH", "")]))


def _missing() -> str | None:
    try:
        import psycopg  # noqa: F401  # whether it finds its libpq
    except ImportError as error:
        return f"psycopg cannot be imported: {error}"
    return "PostgreSQL is not installed" if _INITDB is None else None


MISSING = _missing()
"""Why there is none, or None."""


class PostgreSQL:
    """It runs from the first line of the block to the last; nothing is left of it."""

    def __enter__(self) -> Self:
        assert _INITDB is not None
        self._number = 0  # of databases
        self._binaries = Path(_INITDB).resolve().parent
        # Not in pytest's folder: its path may be too long for a socket, and is closed to another user.
        self._folder = Path(tempfile.mkdtemp(prefix="bridge-postgresql-"))
        try:
            if os.getuid() == 0:
                shutil.chown(self._folder, "postgres", "postgres")
            self._run(
                "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D", "data"
            )
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-F -k {self._folder} -c listen_addresses=''"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", options)

    def stop(self) -> None:
        """Stop it, whoever is connected, and wait until it has ended."""
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", "data")

    def create_database(self, name: str) -> str:
        """Make an empty database, also of a name that there was; return its address."""
        self._number += 1
        name = f"{name}_{self._number}"
        self._run("createdb", "-h", str(self._folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        as_root = os.getuid() == 0  # whom PostgreSQL refuses to run as
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self._folder,
            user="postgres" if as_root else None,
            group=pwd.getpwnam("postgres").pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server keeps it: a pipe would never end
            stderr=subprocess.PIPE if program in ("initdb", "createdb") else subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {(done.stderr or b'').decode()}"
