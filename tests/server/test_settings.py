"""Files of settings: what is read from them, where it stands, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from bridge.server.settings import Setting, SettingsError, find_settings, nearest, read_settings

KNOWN = [
    Setting("app", ("app",), "text"),
    Setting("threads", ("threads",), "integer"),
    Setting("log_level", ("log-level",), "text"),
    Setting("timeout", ("timeout",), "number"),
    Setting("reload", ("reload",), "boolean"),
    Setting("headers", ("header", "headers"), "text", repeated=True),
    Setting("password", ("password",), "text", secret=True),
]


# Where settings are


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"bridge.toml": ""}, {}),
        ({"bridge.toml": "threads = 3"}, {"threads": 3}),
        ({"pyproject.toml": "[tool.bridge]\nthreads = 4"}, {"threads": 4}),
        ({"pyproject.toml": "[tool.bridge]"}, {}),
        ({"pyproject.toml": "[project]\nthreads = 4"}, None),
        ({"pyproject.toml": "[tool.other]\nthreads = 4"}, None),
        ({"pyproject.toml": "tool = 4"}, None),
        ({"bridge.toml": "threads = 3", "pyproject.toml": "[tool.bridge]\nthreads = 4"}, {"threads": 3}),
        ({"bridge.toml": "", "pyproject.toml": "[tool.bridge]\nthreads = 4"}, {}),
    ],
)
def test_a_folder_has_one_file_of_settings(
    tmp_path: Path, files: dict[str, str], found: dict[str, object] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    settings = find_settings(KNOWN, str(tmp_path))
    assert (None if settings is None else dict(settings.values)) == found


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("app = 'shop:app'", "app", "shop:app"),
        ("log-level = 'debug'", "log_level", "debug"),
        ("log_level = 'debug'", "log_level", "debug"),
        ("timeout = 2", "timeout", 2),
        ("timeout = 2.5", "timeout", 2.5),
        ("reload = true", "reload", True),
        ("header = []", "headers", []),
        ("header = ['A: 1', 'B: 2']", "headers", ["A: 1", "B: 2"]),
        ("headers = ['A: 1']", "headers", ["A: 1"]),
    ],
)
def test_keys_may_be_spelled_in_several_ways(tmp_path: Path, text: str, name: str, value: object) -> None:
    (tmp_path / "other.toml").write_text(text)
    settings = read_settings(tmp_path / "other.toml", KNOWN)
    assert dict(settings.values) == {name: value}


# Lines


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("bridge.toml", "threads = 1", 1),
        ("bridge.toml", "\r\n\r\nthreads = 1\r\n", 3),
        ("bridge.toml", "# threads = 2\napp = 'threads = 3'\n  threads = 1", 3),
        ("bridge.toml", "app = '''\nthreads = 2\n'''\nthreads = 1", 4),
        ("bridge.toml", "app = 'a\u2028b'\nthreads = 1", 2),
        ("bridge.toml", "header = [\n'threads',\n'threads = 1',\n]\n\"threads\" = 1", 5),
        ("pyproject.toml", "[other]\nthreads = 2\n[tool.bridge]\nthreads = 1\n[last]\nthreads = 3", 4),
        ("pyproject.toml", "[tool.bridge]  # threads\n\nthreads = 1", 3),
        ("pyproject.toml", "tool.bridge.threads = 1", 1),
        ("pyproject.toml", "[tool]\nthreads = 2\nbridge = { app = 'a', threads = 1 }", 3),
        ("pyproject.toml", "[tool]\nbridge.app = 'threads'\nbridge.threads = 1", 3),
    ],
)
def test_the_line_of_a_setting_is_found(tmp_path: Path, file: str, text: str, line: int) -> None:
    (tmp_path / file).write_bytes(text.encode())
    settings = read_settings(tmp_path / file, KNOWN)
    assert settings.values["threads"] == 1
    assert settings.place("threads") == f"{tmp_path / file}:{line}"


def test_a_value_that_goes_on_for_lines_stands_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text("app = 'a'\nheader = [\n  'A: 1',\n]\n")
    assert read_settings(tmp_path / "bridge.toml", KNOWN).place("headers").endswith("bridge.toml:2")


def test_a_line_that_cannot_be_told_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text('"thre\\u0061ds" = 1')
    assert read_settings(tmp_path / "bridge.toml", KNOWN).place("threads").endswith("bridge.toml")


# What is wrong

WRONG = {
    # (file, what it says, the error)
    "unknown": (
        "bridge.toml",
        "\n\nthread = 3",
        "{}, line 3: there is no setting 'thread'; did you mean 'threads'?",
    ),
    "unknown, with an underscore": (
        "bridge.toml",
        "log_levle = 'info'",
        "{}, line 1: there is no setting 'log_levle'; did you mean 'log-level'?",
    ),
    "like nothing": (
        "bridge.toml",
        "colour = 'red'",
        "{}, line 1: there is no setting 'colour'; bridge serve --help has them all",
    ),
    "a table": (
        "bridge.toml",
        "app = 'a'\n[thread]\nmany = 1",
        "{}, line 2: there is no setting 'thread'; did you mean 'threads'?",
    ),
    "unknown in pyproject.toml": (
        "pyproject.toml",
        "[project]\nname = 'thread'\n[tool.bridge]\nthread = 3",
        "{}, line 4: there is no setting 'thread'; did you mean 'threads'?",
    ),
    "text for a number": (
        "bridge.toml",
        "threads = '40'",
        "{}, line 1: 'threads' must be an integer; it is a string: '40'",
    ),
    "part of a thread": (
        "bridge.toml",
        "threads = 1.5",
        "{}, line 1: 'threads' must be an integer; it is a number: 1.5",
    ),
    "a boolean for an integer": (
        "bridge.toml",
        "threads = true",
        "{}, line 1: 'threads' must be an integer; it is a boolean: true",
    ),
    "a boolean for a number": (
        "bridge.toml",
        "timeout = false",
        "{}, line 1: 'timeout' must be a number; it is a boolean: false",
    ),
    "a number for a boolean": (
        "bridge.toml",
        "reload = 1",
        "{}, line 1: 'reload' must be true or false; it is an integer: 1",
    ),
    "a number for text": (
        "bridge.toml",
        "app = 1",
        "{}, line 1: 'app' must be a string; it is an integer: 1",
    ),
    "a table for a number": (
        "bridge.toml",
        "[threads]\nmany = 1",
        "{}, line 1: 'threads' must be an integer; it is a table",
    ),
    "a list for one": (
        "bridge.toml",
        "app = ['a']",
        "{}, line 1: 'app' must be a string; it is a list: ['a']",
    ),
    "one for a list": (
        "bridge.toml",
        "header = 'A: 1'",
        "{}, line 1: 'header' must be a list of strings; it is a string: 'A: 1'",
    ),
    "a list of others": (
        "bridge.toml",
        "header = [1]",
        "{}, line 1: 'header' must be a list of strings; it is a list: [1]",
    ),
    "a date": (
        "bridge.toml",
        "app = 2026-01-02",
        "{}, line 1: 'app' must be a string; it is a date or a time: datetime.date(2026, 1, 2)",
    ),
    "long": (
        "bridge.toml",
        f"threads = '{'9' * 80}'",
        f"{{}}, line 1: 'threads' must be an integer; it is a string: '{'9' * 58}…",
    ),
    "secret": ("bridge.toml", "password = 1234", "{}, line 1: 'password' must be a string; it is an integer"),
    "twice": (
        "bridge.toml",
        "log_level = 'info'\n\nlog-level = 'info'",
        "{}, line 3: 'log-level' is the same setting as 'log_level' in line 1; keep one of them",
    ),
    "no TOML": ("bridge.toml", "app = 'a'\nthreads = many", "{}, line 2: this is not TOML: Invalid value"),
    "no TOML at the end": (
        "bridge.toml",
        "app = 'a'\nheader = [\n",
        "{}, line 2: this is not TOML: Invalid value",
    ),
    "a key twice": (
        "bridge.toml",
        "app = 'a'\napp = 'b'\n",
        "{}, line 2: this is not TOML: Cannot overwrite a value",
    ),
    "no UTF-8": ("bridge.toml", b"app = 'a'\n# \xff", "{}, line 2: this is not UTF-8, which TOML must be"),
    "no table": (
        "pyproject.toml",
        "[tool]\nbridge = 3",
        "{}, line 2: 'bridge' must be a table, [tool.bridge]",
    ),
}


@pytest.mark.parametrize(("file", "text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, file: str, text: str | bytes, message: str
) -> None:
    path = tmp_path / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        find_settings(KNOWN, str(tmp_path))
    assert str(caught.value) == message.format(path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("nosuch.toml", "cannot read the settings in {}: No such file or directory"),
        ("folder", "cannot read the settings in {}: Is a directory"),
        ("pyproject.toml", "{} has no settings; they are to be in a table [tool.bridge]"),
    ],
)
def test_a_file_that_is_named_must_have_settings(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(tmp_path / file, KNOWN)
    assert str(caught.value) == message.format(tmp_path / file)


def test_a_wrong_value_of_the_right_kind_is_named_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text("\nthreads = 0")
    settings = read_settings(tmp_path / "bridge.toml", KNOWN)
    assert str(settings.error("threads", "0 is too few")) == (
        f"{tmp_path / 'bridge.toml'}, line 2: 'threads': 0 is too few"
    )


@pytest.mark.parametrize(
    ("name", "found"), [("thread", "threads"), ("lifspan", None), ("reloads", "reload"), ("", None)]
)
def test_the_nearest_name(name: str, found: str | None) -> None:
    assert nearest(name, [setting.key for setting in KNOWN]) == found
