"""gunicorn's options → what `bridge serve` has in their place: the answer to one that is typed."""

__all__ = ["IN_PLACE_OF", "SAME", "in_place_of"]

SAME = (
    "--bind",
    "--workers",
    "--threads",
    "--preload",
    "--reload",
    "--backlog",
    "--limit-request-line",
    "--limit-request-fields",
    "--forwarded-allow-ips",
    "--root-path",
    "--log-level",
    "--log-config",
)
"""The options of gunicorn's that mean the same here."""

IN_PLACE_OF: dict[tuple[str, ...], str] = {
    ("-w",): "`--workers`",
    ("-b",): "`--bind`",
    (
        "-k",
        "--worker-class",
    ): "nothing: each worker serves threads, async views, event streams and websockets",
    (
        "--worker-connections",
    ): "`--limit-concurrency`, for requests in progress; idle connections are not limited",
    ("-t", "--timeout"): "`--timeout-request` answers a slow request with 504, and "
    "`--timeout-worker-healthcheck` replaces a worker that hangs",
    ("--graceful-timeout",): "`--timeout-graceful-shutdown`",
    ("--keep-alive",): "`--timeout-keep-alive`",
    ("--max-requests", "--max-requests-jitter"): "`--limit-max-requests`, `--limit-max-requests-jitter`",
    ("--limit-request-field_size",): "`--limit-request-field-size`",
    ("-c",): "`--config bridge.toml`, settings in TOML; for hooks such as `post_fork`, the app's lifespan",
    ("--check-config", "--print-config"): "`bridge config`; for the app, `bridge check`",
    ("-e", "--env"): "variables of the shell, `.env`, or `--env-file`",
    ("--chdir", "--pythonpath"): "`--app-dir`, from where the app is imported",
    ("--access-logfile", "--error-logfile", "--log-file"): "nothing: requests are logged to standard output, "
    "messages to standard error; for files, `--log-config`",
    ("--access-logformat",): "`--access-log-format`",
    ("--log-syslog", "--log-syslog-to"): "`--log-config`, with Python's `SysLogHandler`",
    ("--capture-output",): "nothing: what the app prints is left alone",
    ("--statsd-host", "--statsd-prefix", "--dogstatsd-tags"): "`--metrics-port`, for Prometheus",
    (
        "-p",
        "--pid",
        "-D",
        "--daemon",
    ): "nothing; leave that to what runs the server, such as systemd or Docker",
    (
        "-u",
        "--user",
        "-g",
        "--group",
    ): "nothing; start it as that user, as systemd does with `User=` and `Group=`",
    ("-m", "--umask"): "`--uds-mode` for a unix socket; else `UMask=` of systemd",
    ("-n", "--name"): "nothing: processes keep the name of the command",
    ("--reload-extra-file",): "`--reload-include`",
    ("--reuse-port",): "nothing: all workers listen on the same socket",
    ("--worker-tmp-dir",): "nothing: workers answer the supervisor through a pipe",
    (
        "--keyfile",
        "--certfile",
        "--ca-certs",
        "--cert-reqs",
        "--ciphers",
    ): "the option with `ssl-` before its name, as `--ssl-keyfile`",
}
"""The others, each with its answer in Markdown: the options here, or "nothing", and why."""


def in_place_of(option: str) -> str | None:
    """What to use here in place of an option of gunicorn's; None if it is none of those above."""
    found = (answer for options, answer in IN_PLACE_OF.items() if option in options)
    return next(found, None)
