"""The settings: one function for each environment, a mapping each, and the variables they read.

| variable | development | production |
| --- | --- | --- |
| PORTAL_ENV | development, if not set | production |
| SECRET_KEY | made at the first start, kept beside the data | needed |
| DATABASE_URL | SQLite, in the folder PORTAL_DATA | needed |
| PORTAL_DATA | a folder for temporary files | not used |
| PORTAL_HOSTS | any | the host names that are served, with commas between; any, if not set |
| MAIL_SERVER | mail is only logged | host:port; mail is only logged, if not set |
| JOB_WORKERS | 1 in each process | the same; 0 where `flask --app demos.portal work` does the jobs |
| LOG_LEVEL | INFO | INFO |
"""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

Settings = dict[str, Any]


class ConfigurationError(Exception):
    """The environment lacks something; the message says what, and how to give it."""


def load(environment: str | None, settings: Mapping[str, object]) -> Settings:
    """The settings of an environment, and over them those given.

    Raises:
        ConfigurationError: there is no such environment, or something is missing in it.
    """
    name = environment or os.environ.get("PORTAL_ENV") or "development"
    environments = {"development": _development, "production": _production, "testing": _testing}
    if name not in environments:
        raise ConfigurationError(f"PORTAL_ENV is {name!r}; it must be {' or '.join(environments)}")
    return {**_common(), **environments[name](), **settings}


def _common() -> Settings:
    return {
        "SESSION_COOKIE_NAME": "portal_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": timedelta(days=14),
        "MAX_CONTENT_LENGTH": 256 * 1024,
        "TRUSTED_HOSTS": None,
        "MAIL_SERVER": os.environ.get("MAIL_SERVER"),
        "MAIL_SENDER": "portal@millreach.example",
        "JOB_WORKERS": _whole_number("JOB_WORKERS", 1),
        "JOB_POLL_SECONDS": 0.5,
        "JOB_LEASE_SECONDS": 30.0,  # more than any step takes
        "JOB_RETRY_SECONDS": 10.0,  # after the first failure; then twice as long, each time
        "JOB_STEP_PAUSE": 0.0,
        "DEMO_ACCOUNTS": False,
        "MIGRATE_AT_START": False,
        "LOGGING": _logging(os.environ.get("LOG_LEVEL", "INFO").upper()),
    }


def _development() -> Settings:
    data = Path(os.environ.get("PORTAL_DATA") or Path(tempfile.gettempdir(), f"bridge-portal-{os.getuid()}"))
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if data.stat().st_uid != os.getuid():
        raise ConfigurationError(f"the folder {data} is another user's; name one of yours in PORTAL_DATA")
    return {
        "SECRET_KEY": os.environ.get("SECRET_KEY") or _kept_secret(data / "secret-key"),
        "SQLALCHEMY_DATABASE_URI": os.environ.get("DATABASE_URL") or f"sqlite:///{data}/portal.sqlite",
        "DATA": data,
        "DEMO_ACCOUNTS": True,
        "MIGRATE_AT_START": True,
        "JOB_RETRY_SECONDS": 2.0,
        "JOB_STEP_PAUSE": 0.4,  # so that there is progress to look at
    }


def _production() -> Settings:
    secret = _needed("SECRET_KEY", "python -c 'import secrets; print(secrets.token_hex())'")
    if len(secret) < 32:
        raise ConfigurationError(f"SECRET_KEY has {len(secret)} characters; 32 are expected, made at random")
    hosts = [host.strip() for host in os.environ.get("PORTAL_HOSTS", "").split(",") if host.strip()]
    return {
        "SECRET_KEY": secret,
        "SQLALCHEMY_DATABASE_URI": _needed("DATABASE_URL", "echo postgresql+psycopg://user@host/portal"),
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": True},  # a database that was restarted is found out
        "SESSION_COOKIE_SECURE": True,
        "TRUSTED_HOSTS": hosts or None,
    }


def _testing() -> Settings:
    """A test gives the database."""
    return {"SECRET_KEY": "for tests", "TESTING": True, "JOB_WORKERS": 0, "LOGGING": None}


def _needed(name: str, example: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigurationError(f'production needs the variable {name}: export {name}="$({example})"')
    return value


def _whole_number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(f"{name} is {text!r}; a whole number is expected")
    return int(text)


def _kept_secret(path: Path) -> str:
    """The secret of this folder; several workers that begin at once agree on one."""
    if not path.exists():
        new = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex())
        with contextlib.suppress(FileExistsError):
            os.link(new, path)  # whole or not at all, and only if there is none
        new.unlink()
    return path.read_text()


def _logging(level: str) -> Settings:
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ConfigurationError(f"LOG_LEVEL is {level!r}; one of Python's levels is expected, such as INFO")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"portal": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
        "handlers": {"portal": {"class": "logging.StreamHandler", "formatter": "portal"}},
        "loggers": {"demos.portal": {"level": level, "handlers": ["portal"], "propagate": False}},
    }
