"""`bridge serve` as a person uses it: a process that says what it serves, serves it, and ends when told."""

import contextlib
import inspect
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from signal import Signals as Signal

import httpx
import pytest
import uvicorn

from tests.server.command import APPS, Command, Serving, connect_to_path, run, wait_until, without

PORT = ("--port", "0")

# The command as it is installed; without -m, Python does not look for modules in the current folder.
SCRIPT = (str(Path(sys.executable).with_name("bridge")),)


def assert_ended_cleanly(command: Command) -> None:
    """It has ended as it should, and had nothing to complain about."""
    assert command.finish() == 0
    assert "Traceback" not in command.stderr
    assert "Warning" not in command.stderr
    assert not re.search("^(WARNING|ERROR|CRITICAL)", command.stderr, re.MULTILINE)


# What it says


def test_it_says_what_it_serves_and_where() -> None:
    with Serving("shop:app", *PORT, "--threads", "3", python=SCRIPT) as serving:
        assert serving.get("/").text == "Hello"
        serving.wait_for_access_log(r'127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200')
        serving.signal(Signal.SIGTERM)
        assert_ended_cleanly(serving)
    lines = serving.stderr.splitlines()
    health = "health at /-/health/ready"
    banner = [
        r"INFO: +Flask app 'shop:app' \(\d+ routes and static files\) · adapter bridge, 3 threads",
        rf"INFO: +http://127\.0\.0\.1:\d+ · 1 worker · {health} · Ctrl-C to stop",
    ]
    said = [bool(re.fullmatch(line, lines[number])) for number, line in enumerate(banner, start=3)]
    assert said == [True, True]  # when it has started


KINDS = [
    # (what is typed, what is said of it, what it answers)
    (["kinds:wsgi"], "WSGI app 'kinds:wsgi' · adapter bridge, 40 threads", "wsgi"),
    (["kinds:asgi"], "ASGI app 'kinds:asgi' · served as it is, no adapter", "asgi"),
    (["kinds:ASGI2"], "ASGI 2 app 'kinds:ASGI2' · served as it is, no adapter", "ASGI2"),
    (
        ["kinds:anything", "--interface", "wsgi"],
        "WSGI app 'kinds:anything' · adapter bridge, 40 threads",
        "wsgi",
    ),
    (
        ["shop:make_app", "--factory"],
        "Flask app 'shop:make_app()' (1 route and static files) · adapter bridge, 40 threads",
        "made",
    ),
    (
        ["shop:make_app('mine')"],
        "Flask app 'shop:make_app('mine')' (1 route and static files) · adapter bridge, 40 threads",
        "mine",
    ),
    (
        ["kinds:flask", "--adapter", "a2wsgi", "--threads", "3"],
        "Flask app 'kinds:flask' (1 route and static files) · adapter a2wsgi, 3 threads",
        "flask",
    ),
    (
        ["kinds:flask", "--adapter", "asgiref"],
        "Flask app 'kinds:flask' (1 route and static files) · adapter asgiref, one request at a time",
        "flask",
    ),
]


@pytest.mark.parametrize(("typed", "said", "answer"), KINDS, ids=[" ".join(case[0]) for case in KINDS])
def test_every_kind_of_app_is_served(typed: list[str], said: str, answer: str) -> None:
    with Serving(*typed, *PORT) as serving:
        assert re.search(rf"^INFO: +{re.escape(said)}$", serving.stderr, re.MULTILINE)
        assert serving.get("/").text == answer


# What it cannot serve

BROKEN = {
    "good.py": "number = 7\ndef app(environ, start_response): ...",
    "bad.py": "import os\n\ndef connect():\n    raise ValueError('no database')\n\nconnect()\n",
    "unmet.py": "import nosuch_package\n",
    "quits.py": "def create_app():\n    raise SystemExit(0)\n",
    "empty.json": "",
    "handler.json": '{"version": 1, "handlers": {"x": {"class": "nosuch.Y"}}}',
}

_NO_MODULE = "bridge: no module named 'nosuch' (looked in {folder} and on sys.path; is --app-dir right?)\n"

UNSERVABLE: dict[str, tuple[list[str], int, str]] = {
    # (what is typed, exit code, what is said)
    "missing module": (["nosuch:app"], 3, _NO_MODULE),
    "missing attribute": (
        ["good:ap"],
        3,
        "bridge: module 'good' has no attribute 'ap'; it has 'app'\n",
    ),
    "not callable": (
        ["good:number"],
        3,
        "bridge: good:number is of type int, which is not callable, and so not an app\n",
    ),
    "no app": (
        [],
        3,
        "bridge: no app given, FLASK_APP is not set, and there is no wsgi.py or app.py in {folder}; "
        "name the app, as module:app\n",
    ),
    "broken module": (
        ["bad:app"],
        1,
        "Traceback (most recent call last):\n"
        '  File "{folder}/bad.py", line 6, in <module>\n    connect()\n'
        "  File \"{folder}/bad.py\", line 4, in connect\n    raise ValueError('no database')\n"
        "ValueError: no database\n"
        "bridge: importing 'bad' failed: ValueError: no database\n",
    ),
    "import of its own missing": (
        ["unmet:app"],
        1,
        "Traceback (most recent call last):\n"
        '  File "{folder}/unmet.py", line 1, in <module>\n    import nosuch_package\n'
        "ModuleNotFoundError: No module named 'nosuch_package'\n"
        "bridge: importing 'unmet' failed: ModuleNotFoundError: No module named 'nosuch_package'\n",
    ),
    "factory that exits": (
        ["quits"],
        1,
        "Traceback (most recent call last):\n"
        '  File "{folder}/quits.py", line 2, in create_app\n    raise SystemExit(0)\n'
        "SystemExit: 0\n"
        "bridge: quits:create_app() failed: SystemExit: 0\n",
    ),
    "bad port": (
        ["good:app", "--port", "99999"],
        3,
        "bridge: there is no port 99999; --port takes 1 to 65535, or 0 for any free one\n",
    ),
    "bad host": (
        ["good:app", "--host", "192.0.2.1"],
        3,
        "bridge: cannot listen on 192.0.2.1:0: Cannot assign requested address (see --host and --port)\n",
    ),
    "missing certificate": (
        ["good:app", "--ssl-certfile", "nosuch.pem"],
        3,
        "bridge: cannot use the certificate of --ssl-certfile (nosuch.pem): No such file or directory\n",
    ),
    "key without a certificate": (
        ["good:app", "--ssl-keyfile", "nosuch.pem"],
        3,
        "bridge: --ssl-keyfile needs the certificate, too: --ssl-certfile\n",
    ),
    "logging by no JSON": (
        ["good:app", "--log-config", "empty.json"],
        3,
        "bridge: cannot set up logging by --log-config empty.json: "
        "Expecting value: line 1 column 1 (char 0)\n",
    ),
    "logging by a handler that is not there": (
        ["good:app", "--log-config", "handler.json"],
        3,
        "bridge: cannot set up logging by --log-config handler.json: Unable to configure handler 'x': "
        "Cannot resolve 'nosuch.Y': No module named 'nosuch'\n",
    ),
    "missing protocol": (
        ["good:app", "--http", "nosuch"],
        3,
        "bridge: uvicorn cannot be set up as the options say: "
        'Import string "nosuch" must be in format "<module>:<attribute>".\n',
    ),
}


@pytest.mark.parametrize(("typed", "code", "said"), UNSERVABLE.values(), ids=UNSERVABLE.keys())
def test_what_cannot_be_served_is_named_in_one_line(
    tmp_path: Path, typed: list[str], code: int, said: str
) -> None:
    for name, source in BROKEN.items():
        (tmp_path / name).write_text(source)
    result = run("serve", *PORT, *typed, cwd=tmp_path)
    expected = said.replace("{folder}", str(tmp_path))
    # From Python 3.11 on, a line of ^^^ may be below a line of the source.
    shown = re.sub(r"^ *[\^~]+\n", "", result[2], flags=re.MULTILINE)
    assert (result[0], result[1], shown) == (code, "", expected)


def test_a_taken_port_is_said_before_the_app_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise AssertionError")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = run("serve", "--port", str(port), cwd=tmp_path)
    assert (code, out) == (3, "")
    assert err == (
        f"bridge: 127.0.0.1:{port} is taken by another process; choose another with --host and --port\n"
    )


with_http2 = pytest.mark.skipif(
    "http2" not in inspect.signature(uvicorn.Config).parameters, reason="uvicorn has --http2 since 0.53"
)


@with_http2
def test_bridges_own_http_is_not_http2() -> None:
    assert run("serve", *PORT, "shop:app", "--http2", cwd=APPS) == (
        3,
        "",
        "bridge: --http2 needs uvicorn's HTTP: --http zttp, with the package zttp (pip install zttp). "
        "Bridge's own is HTTP/1.1; behind a proxy that speaks HTTP/2 to clients, leave --http2 out\n",
    )


@with_http2
def test_a_missing_protocol_says_what_to_install() -> None:
    typed = ["serve", "shop:app", *PORT, "--http", "zttp", "--http2"]
    code, _, err = run(*typed, cwd=APPS, python=without("zttp"))
    assert code == 3
    assert err == (
        "bridge: the server needs zttp for --http zttp and --ws auto, and it is not installed: "
        "pip install zttp\n"
    )


def test_the_log_may_have_the_time() -> None:
    time = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} INFO: +"
    with Command("serve", "shop:app", *PORT, "--log-time", cwd=APPS) as command:
        address = command.wait_for(rf"{time}(http://\S+) · .* · Ctrl-C to stop$")[1]
        assert httpx.get(address).text == "Hello"
        command.wait_for_access_log(rf'(?m){time}127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK$')


def test_a_variable_that_is_nearly_a_setting_is_said() -> None:
    with Serving("shop:app", *PORT, env={"BRIDGE_THREAD": "3", "BRIDGE_OF_SIGHS": "1"}) as serving:
        serving.wait_for(
            "^WARNING: +BRIDGE_THREAD in the environment is no setting; is BRIDGE_THREADS meant[?]$"
        )
    assert "SIGHS" not in serving.stderr


@pytest.mark.parametrize(("adapter", "module"), [("a2wsgi", "a2wsgi"), ("asgiref", "asgiref.wsgi")])
def test_a_missing_adapter_says_what_to_install(adapter: str, module: str) -> None:
    typed = ["serve", "kinds:wsgi", *PORT, "--adapter", adapter]
    code, out, err = run(*typed, cwd=APPS, python=without(module))
    assert (code, out) == (3, "")
    assert err == (
        f"bridge: --adapter {adapter} needs the package {adapter}, which is not installed: "
        f"pip install {adapter}\n"
    )


def test_a_missing_adapter_is_not_missed_by_an_asgi_app() -> None:
    with Serving("kinds:asgi", *PORT, "--adapter", "a2wsgi", python=without("a2wsgi")) as serving:
        assert serving.get("/").text == "asgi"


def test_an_app_may_run_a_loop_of_its_own_when_it_is_made(tmp_path: Path) -> None:
    # As under flask run and gunicorn.
    (tmp_path / "app.py").write_text(
        "import asyncio\nfrom flask import Flask\n"
        "async def answer(): return 'made'\n"
        "text = asyncio.run(answer())\n"
        "def create_app():\n"
        "    app = Flask(asyncio.run(answer()))\n"
        "    app.add_url_rule('/', view_func=lambda: text)\n"
        "    return app\n"
    )
    with Serving(*PORT, cwd=tmp_path) as serving:
        assert serving.get("/").text == "made"


def test_a_lifespan_that_fails_ends_it(tmp_path: Path) -> None:
    code, _, err = run("serve", "shop:with_lifespan", *PORT, cwd=APPS, env={"LIFESPAN_NOTE": str(tmp_path)})
    assert code == 3
    assert "the lifespan failed to start" in err


FAILING_LIFESPANS = {
    "a lifespan": "@bridge.lifespan\nasync def clients(app):\n    connect()\n    yield",
    "a plain hook at the start": "@bridge.on_startup\ndef clients(): connect()",
    "an async hook at the end": "@bridge.on_shutdown\nasync def clients(): connect()",
}


@pytest.mark.parametrize("hook", FAILING_LIFESPANS.values(), ids=FAILING_LIFESPANS)
def test_what_a_lifespan_raises_is_shown_from_the_apps_own_frames_on(tmp_path: Path, hook: str) -> None:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom bridge.flask import Bridge\n"
        "def connect(): raise OSError('no database')\n"
        f"app = Flask(__name__)\nbridge = Bridge(app)\n{hook}\n"
    )
    with Command("serve", *PORT, cwd=tmp_path) as command:
        if "shutdown" in hook:
            command.wait_for("Ctrl-C to stop")
            command.interrupt()
        command.finish()
    trace = command.stderr.partition("Traceback (most recent call last):\n")[2]
    assert re.findall(r'File ".*[/\\](\w+\.py)", line \d+, in (\w+)', trace) == [
        ("app.py", "clients"),
        ("app.py", "connect"),
    ]


# What to serve, and from where


_PLAIN = "def app(environ, start_response):\n    start_response('200', [])\n    return [b'{}']\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Apps that answer with the name of their file."""
    for name in ("app", "wsgi", "other", "src/app", "src/deep"):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(_PLAIN.format(name))
    (tmp_path / "variables").write_text("FLASK_APP=other\n")
    return tmp_path


FOUND: dict[str, tuple[list[str], dict[str, str], str]] = {
    "as flask run does": ([], {}, "wsgi"),
    "FLASK_APP": ([], {"FLASK_APP": "other"}, "other"),
    "UVICORN_APP": ([], {"UVICORN_APP": "other"}, "other"),
    "typed": (["app"], {"FLASK_APP": "other", "UVICORN_APP": "other"}, "app"),
    "FLASK_APP in a file": (["--env-file", "variables"], {}, "other"),
    "as flask run does, elsewhere": (["--app-dir", "src"], {}, "src/app"),
    "typed, elsewhere": (["--app-dir", "src", "deep:app"], {}, "src/deep"),
    "a path": (["src/deep.py"], {}, "src/deep"),
}


@pytest.mark.parametrize("file", [".env", ".flaskenv"])
def test_the_app_is_found_in_flasks_own_files(folder: Path, file: str) -> None:
    (folder / file).write_text("FLASK_APP=other\n")
    with Serving(*PORT, cwd=folder) as serving:
        assert serving.get("/").text == "other"
    with Serving(*PORT, cwd=folder, env={"FLASK_SKIP_DOTENV": "1"}) as serving:
        assert serving.get("/").text == "wsgi"


@pytest.mark.parametrize(("typed", "env", "answer"), FOUND.values(), ids=FOUND.keys())
def test_the_app_is_found(folder: Path, typed: list[str], env: dict[str, str], answer: str) -> None:
    with Serving(*typed, *PORT, cwd=folder, env=env) as serving:
        assert serving.get("/").text == answer


# Options, several to a server


@pytest.fixture(scope="module")
def plain() -> Iterator[Serving]:
    """Served without options."""
    with Serving("shop:app", *PORT) as serving:
        yield serving


@pytest.fixture(scope="module")
def optioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Served with options that change what is answered."""
    variables = tmp_path_factory.mktemp("options") / "variables"
    variables.write_text("FROM_ENV_FILE=yes\n")
    with Serving(
        "shop:app",
        *PORT,
        *("--threads", "3"),
        *("--header", "X-One:1", "--header", "X-Two: 2:2"),
        *("--root-path", "/shop"),
        *("--env-file", str(variables)),
        "--no-proxy-headers",
        "--no-server-header",
        "--no-date-header",
        "--no-access-log",
    ) as serving:
        yield serving


def test_headers_are_added(plain: Serving, optioned: Serving) -> None:
    headers = optioned.get("/").headers
    assert (headers["X-One"], headers["X-Two"]) == ("1", "2:2")
    assert plain.get("/").headers["X-One"] is None


def test_the_headers_of_the_server_can_be_left_out(plain: Serving, optioned: Serving) -> None:
    assert plain.get("/").headers["Server"] == "uvicorn"
    assert plain.get("/").headers["Date"]
    assert optioned.get("/").headers["Server"] is None
    assert optioned.get("/").headers["Date"] is None


def test_the_access_log_can_be_left_out(plain: Serving, optioned: Serving) -> None:
    assert optioned.get("/pid").status == 200
    assert plain.get("/pid").status == 200
    plain.wait_for_access_log("GET /pid")
    assert optioned.stdout == ""


def test_the_root_path_is_the_script_name(plain: Serving, optioned: Serving) -> None:
    environ = httpx.Response(200, text=optioned.get("/environ").text).json()
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/environ")
    environ = httpx.Response(200, text=plain.get("/environ").text).json()
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/environ")


def test_the_headers_of_a_proxy_are_believed(plain: Serving, optioned: Serving) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    environ = httpx.Response(200, text=plain.get("/environ", headers).text).json()
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("192.0.2.7", "https")
    environ = httpx.Response(200, text=optioned.get("/environ", headers).text).json()
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")


def test_variables_are_read_from_a_file(plain: Serving, optioned: Serving) -> None:
    assert optioned.get("/variable/FROM_ENV_FILE").text == "yes"
    assert plain.get("/variable/FROM_ENV_FILE").text == ""


def test_so_many_requests_run_at_once(optioned: Serving) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(optioned.connection()) for _ in range(6)]
        for connection in connections:
            connection.request("GET", "/together")
        answers = [connection.getresponse().read() for connection in connections]
    # Each waits for two others, so there were three at once; and there never was a fourth.
    assert answers == [b"3"] * 6


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "cert.pem", folder / "key.pem"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test"
    options = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command.split(), *options], check=True, capture_output=True)
    return files


def test_tls_is_spoken(certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    with Serving("shop:app", *PORT, "--ssl-certfile", cert, "--ssl-keyfile", key) as serving:
        assert serving.address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=cert)
        environ = httpx.get(f"{serving.address}/environ", verify=trusted).json()
        assert environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ("--ssl-certfile {cert}", "no private key in {cert}; name the key's file with --ssl-keyfile"),
        ("--ssl-certfile {cert} --ssl-keyfile {cert}", "no private key in {cert}; "),
        (
            "--ssl-certfile {key} --ssl-keyfile {cert}",
            "no PEM certificate in {key}. Are the two files swapped?",
        ),
        ("--ssl-certfile {key}", "no PEM certificate in {key}.\n"),
    ],
)
def test_what_is_missing_in_the_files_of_a_certificate_is_named(
    certificate: tuple[Path, Path], files: str, why: str
) -> None:
    cert, key = map(str, certificate)
    typed = files.format(cert=cert, key=key).split()
    code, _, err = run("serve", "shop:app", *PORT, *typed, cwd=APPS)
    assert code == 3
    assert f"there is {why.format(cert=cert, key=key)}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("typed", "offered", "spoken"),
    [
        ([], ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ([], ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        (["--ssl-min-version", "1.2"], ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (["--ssl-min-version", "1.3"], ssl.TLSVersion.TLSv1_2, None),
        (["--ssl-min-version", "1.3"], ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
def test_tls_is_not_older_than_is_allowed(
    certificate: tuple[Path, Path], typed: list[str], offered: ssl.TLSVersion, spoken: str | None
) -> None:
    cert, key = map(str, certificate)
    client = ssl.create_default_context(cafile=cert)
    client.maximum_version = offered
    with (
        Serving("shop:app", *PORT, "--ssl-certfile", cert, "--ssl-keyfile", key, *typed) as serving,
        serving.connect() as plain,
    ):
        if spoken is None:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):  # the loop may send no alert
                client.wrap_socket(plain, server_hostname="127.0.0.1")
        else:
            with client.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                assert secured.version() == spoken


def test_one_version_of_tls_has_no_minimum(certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    tls12 = "5"  # ssl.PROTOCOL_TLSv1_2, which Python deprecates
    typed = ["--ssl-certfile", cert, "--ssl-keyfile", key, "--ssl-version", tls12]
    code, _, err = run("serve", "shop:app", *PORT, *typed, cwd=APPS)
    assert code == 3
    assert err.endswith(
        "bridge: --ssl-version 5 is one version of TLS alone, which can have no minimum; leave it out: "
        "--ssl-min-version 1.2 is the oldest\n"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_is_served_and_removed(tmp_path: Path, workers: str) -> None:
    with Serving("shop:app", "--uds", str(tmp_path / "s"), "--workers", workers) as serving:
        assert serving.address == f"unix:{tmp_path}/s"
        serving.wait_for("Application startup complete", times=int(workers))
        assert serving.get("/").text == "Hello"
        serving.interrupt()
        assert_ended_cleanly(serving)
    assert not (tmp_path / "s").exists()


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with Serving("shop:app", "--uds", path) as serving:
        code, _, err = run("serve", "shop:app", "--uds", path, cwd=APPS)
        assert (code, err) == (3, f"bridge: {path} is taken by another process; choose another with --uds\n")
        assert serving.get("/").text == "Hello"


def test_the_unix_socket_of_another_server_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Serving("shop:app", "--uds", str(path)) as first:
        path.unlink()
        with Serving("shop:app", "--uds", str(path)) as second:
            first.signal(Signal.SIGTERM)
            assert first.finish() == 0
            assert second.get("/").text == "Hello"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_descriptor_is_served(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        typed = ("shop:app", "--fd", str(number), "--workers", workers)
        with Serving(*typed, pass_fds=[number]) as serving:
            assert serving.address == f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert serving.get("/").text == "Hello"


def test_variables_take_the_place_of_options(tmp_path: Path) -> None:
    path = tmp_path / "s"
    variables = {
        "UVICORN_APP": "shop:app",
        "UVICORN_APP_DIR": str(APPS),
        "UVICORN_UDS": str(path),
        "UVICORN_HEADERS": "X-One:1 X-Two:2",
        "UVICORN_ACCESS_LOG": "0",
    }
    with Serving(cwd=tmp_path, env=variables) as serving:
        answer = serving.get("/")
        assert answer.text == "Hello"
        assert (answer.headers["X-One"], answer.headers["X-Two"]) == ("1", "2")
        assert serving.stdout == ""


def test_the_log_level_is_that_of_every_message(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Command("serve", "shop:app", "--uds", str(path), "--log-level", "warning", cwd=APPS) as command:
        wait_until(path.exists, "the socket is there")
        with connect_to_path(path) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        command.signal(Signal.SIGTERM)
        assert command.finish() == 0
    assert (command.stdout, command.stderr) == ("", "")


# Several processes


def test_workers_are_processes_with_the_same_settings() -> None:
    typed = ("--workers", "2", "--threads", "3", "--header", "X-One:1", "--root-path", "/shop")
    with Serving("shop:app", *PORT, *typed, python=SCRIPT) as serving:
        assert re.search(r"· 2 workers · .* · Ctrl-C to stop$", serving.stderr, re.MULTILINE)
        serving.wait_for(r"'shop:app' \(\d+ routes and static files\) · adapter bridge, 3 threads$", times=2)
        pids = {int(serving.wait_for(r"Started server process \[(\d+)\]", times=n)[1]) for n in (1, 2)}
        serving.wait_for("Application startup complete", times=2)
        assert len(pids) == 2
        assert serving.pid not in pids
        for pid in pids:
            # With the other one stopped, this one has to answer.
            (other,) = pids - {pid}
            os.kill(other, signal.SIGSTOP)
            try:
                answer = serving.get("/pid")
            finally:
                os.kill(other, signal.SIGCONT)
            assert int(answer.text) == pid
            assert answer.headers["X-One"] == "1"
        serving.signal(Signal.SIGTERM)
        assert_ended_cleanly(serving)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["bad:app"], "importing 'bad' failed: ValueError: no database"),
        (["good:app", "--ssl-certfile", "nosuch"], "cannot use the certificate of --ssl-certfile (nosuch): "),
    ],
    ids=["broken module", "missing certificate"],
)
def test_an_app_that_cannot_be_served_stops_the_workers_and_their_parent(
    tmp_path: Path, typed: list[str], said: str
) -> None:
    for name, source in BROKEN.items():
        (tmp_path / name).write_text(source)
    workers = ("--workers", "2", "--timeout-worker-healthcheck", "1")
    code, _, err = run("serve", *typed, *PORT, *workers, cwd=tmp_path)
    assert code == 3
    assert f"\nbridge: {said}" in err
    assert "multiprocessing" not in err


def test_a_changed_app_is_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "app.py"

    def write(text: str) -> None:
        file.write_text(
            f"def app(environ, start_response):\n    start_response('200', [])\n    return [b'{text}']"
        )

    def serves(text: str) -> bool:
        if time.time() - file.stat().st_mtime > 2:
            write(text)  # again, for it was missed if nobody had begun to watch
        try:
            return serving.get("/").text == text
        except (OSError, HTTPException):  # from a process that is being replaced
            return False

    write("one")
    with Serving(*PORT, "--reload", "--threads", "3", cwd=tmp_path) as serving:
        assert serving.get("/").text == "one"
        write("another")
        wait_until(lambda: serves("another"), "the change is served")
        file.write_text("app = broken")
        serving.wait_for(r"^bridge: importing 'app' failed: NameError: name 'broken' is not defined$")
        write("mended again")
        wait_until(lambda: serves("mended again"), "the mended app is served")
        serving.wait_for("adapter bridge, 3 threads", times=3)
        serving.interrupt()
        assert serving.finish() == 0


# The end


ENDS: dict[str, Callable[[Command], None]] = {
    "Ctrl-C": Command.interrupt,
    "SIGINT": lambda command: command.signal(Signal.SIGINT),
    "SIGTERM": lambda command: command.signal(Signal.SIGTERM),
}

PROCESSES = {
    "one process": ([], 1),
    "two workers": (["--workers", "2"], 2),
    "reloading": (["--reload"], 1),
    "h11 on asyncio": (["--http", "h11", "--loop", "asyncio"], 1),
}


@pytest.mark.parametrize(
    ("end", "processes"),
    [
        ("Ctrl-C", "one process"),
        ("SIGINT", "one process"),
        ("SIGTERM", "one process"),
        ("Ctrl-C", "two workers"),
        ("SIGTERM", "two workers"),
        ("Ctrl-C", "reloading"),
        ("SIGTERM", "reloading"),
        ("SIGTERM", "h11 on asyncio"),
    ],
)
def test_it_ends_cleanly(tmp_path: Path, pipe: Path, end: str, processes: str) -> None:
    typed, number = PROCESSES[processes]
    closing, lifespan, uds = tmp_path / "closing", tmp_path / "lifespan", tmp_path / "s"
    with contextlib.ExitStack() as stack:
        served = ("shop:with_lifespan", "--uds", str(uds), *typed)
        serving = stack.enter_context(Serving(*served, env={"LIFESPAN_NOTE": str(lifespan)}))
        serving.wait_for("Application startup complete", times=number)
        with serving.connection() as slow, serving.connection() as stream:
            slow.request("GET", f"/slow?pipe={pipe}")
            writer = stack.enter_context(pipe.open("w"))
            stream.request("GET", f"/stream?type=text/event-stream&note={closing}")
            events = stream.getresponse()
            assert events.readline() == b"data: tick\n"

            ENDS[end](serving)
            serving.wait_for("Waiting for connections to close")
            # The stream has no end of its own and gets one, and that is no broken response.
            assert re.fullmatch(rb"\n(data: tick\n\n)*", events.read())
            # The other one is waited for.
            writer.write("done")
            writer.close()
            assert slow.getresponse().read() == b"done"
        assert_ended_cleanly(serving)
    assert closing.read_text() == "closed\n"
    assert sorted(lifespan.read_text().split()) == ["shutdown"] * number + ["startup"] * number
    assert not uds.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_streams_of_an_adapter_within_another_app_end(tmp_path: Path, workers: str) -> None:
    closing = tmp_path / "closing"
    with Serving("shop:wrapped", *PORT, "--workers", workers) as serving, serving.connection() as stream:
        stream.request("GET", f"/stream?type=text/event-stream&note={closing}")
        events = stream.getresponse()
        assert events.readline() == b"data: tick\n"
        serving.signal(Signal.SIGTERM)
        assert re.fullmatch(rb"\n(data: tick\n\n)*", events.read())
        assert_ended_cleanly(serving)
    assert closing.read_text() == "closed\n"


@pytest.mark.parametrize("before", [0, 1], ids=["the first request", "the second"])
def test_a_request_that_crosses_the_end_is_served(before: int) -> None:
    """Its client could not tell whether it was (RFC 9112, 9.5); the answer says that it is the last (9.6)."""
    with Serving("shop:app", *PORT) as serving, serving.connection() as connection:
        for _ in range(before):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"Hello"
        serving.get("/")  # after it, the other connection is accepted as well
        serving.signal(Signal.SIGTERM)
        serving.wait_for("Shutting down")
        connection.request("GET", "/")
        response = connection.getresponse()
        assert (response.status, response.headers["Connection"]) == (200, "close")
        assert serving.finish() == 0


def test_a_connection_that_is_not_used_does_not_hold_up_the_end() -> None:
    with Serving("shop:app", *PORT) as serving, serving.connect() as connection:
        serving.get("/")
        serving.signal(Signal.SIGTERM)
        assert connection.recv(100) == b""
        assert serving.finish() == 0


def test_what_does_not_end_in_time_is_cut(tmp_path: Path) -> None:
    closing, lifespan = tmp_path / "closing", tmp_path / "lifespan"
    typed = ("shop:with_lifespan", *PORT, "--timeout-graceful-shutdown", "1")
    with Serving(*typed, env={"LIFESPAN_NOTE": str(lifespan)}) as serving:
        with serving.connection() as stream:
            stream.request("GET", f"/stream?type=text/plain&note={closing}")
            chunks = stream.getresponse()
            assert chunks.readline() == b"data: tick\n"
            serving.signal(Signal.SIGTERM)
            with pytest.raises((IncompleteRead, ConnectionError)):
                chunks.read()
        assert serving.finish() == 0
    assert closing.read_text() == "closed\n"
    assert lifespan.read_text() == "startup\nshutdown\n"
    assert "Traceback" not in serving.stderr
    assert "Cancel 1 running task(s), timeout graceful shutdown exceeded" in serving.stderr


@pytest.mark.parametrize("processes", ["one process", "two workers"])
def test_a_thread_that_goes_on_is_named_and_left_behind(pipe: Path, processes: str) -> None:
    typed, number = PROCESSES[processes]
    with Serving("shop:app", *PORT, *typed, "--timeout-graceful-shutdown", "1") as serving:
        serving.wait_for("Application startup complete", times=number)
        with serving.connection() as slow, contextlib.ExitStack() as stack:
            slow.request("GET", f"/slow?pipe={pipe}")
            stack.enter_context(pipe.open("w"))
            serving.signal(Signal.SIGTERM)
            response = slow.getresponse()
            assert (response.status, response.headers["Connection"]) == (503, "close")
            assert serving.finish() == 0
    assert "Traceback" not in serving.stderr
    serving.wait_for(
        r"going on without a thread that is busy with a request given up: bridge-1 \(GET /slow\)\n"
        r'(  .*\n)*  File ".*/shop.py", line \d+, in slow\n'
    )


def test_a_second_ctrl_c_waits_for_nobody(pipe: Path) -> None:
    with Serving("shop:app", *PORT) as serving, serving.connection() as slow:
        slow.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w"):
            serving.interrupt()
            serving.wait_for("Waiting for connections to close")
            serving.interrupt()
            assert serving.finish() == 0


@pytest.mark.parametrize(
    ("end", "processes"),
    [
        ("Ctrl-C", "one process"),
        ("SIGTERM", "one process"),
        ("Ctrl-C", "two workers"),
        ("Ctrl-C", "reloading"),
    ],
)
def test_it_can_be_ended_while_the_app_is_loaded(
    tmp_path: Path, pipe: Path, end: str, processes: str
) -> None:
    (tmp_path / "app.py").write_text(f"open({str(pipe)!r}).read()")
    with Command("serve", *PORT, *PROCESSES[processes][0], cwd=tmp_path) as command, pipe.open("w"):
        ENDS[end](command)
        assert_ended_cleanly(command)


@pytest.mark.parametrize("processes", ["two workers", "reloading"])
def test_it_can_be_ended_while_its_processes_are_started(processes: str) -> None:
    with Serving("shop:app", *PORT, *PROCESSES[processes][0]) as serving:
        serving.wait_for("Started (parent|reloader) process")
        serving.interrupt()
        assert_ended_cleanly(serving)
