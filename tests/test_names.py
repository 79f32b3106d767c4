"""What the package, its command and its extras are called, and that every page and message knows it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from bridge.version import DISTRIBUTION, __version__

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

SUFFIXES = (".py", ".md", ".html", ".yaml", "")

PAGES = sorted(
    path
    for folder in ("bridge", "demos", "deploy", "docs", "benchmarks", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES and path.is_file()
)
PAGES.append(ROOT / "README.md")

NAMES = rf"(?:bridge|{DISTRIBUTION})"


def lines(pattern: str, suffixes: tuple[str, ...]) -> list[str]:
    """What matches in the pages of some kinds."""
    wanted = re.compile(pattern, re.MULTILINE)
    return [
        f"{page.relative_to(ROOT)}: {found[0]}"
        for page in PAGES
        if page.suffix in suffixes
        for found in wanted.finditer(page.read_text())
    ]


def test_the_distribution_has_one_name() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    extras = PROJECT["project"]["optional-dependencies"]
    own = re.findall(rf"{NAMES}(?=\[)", str(extras))
    assert set(own) == {DISTRIBUTION}
    assert set(re.findall(r"^\| `(\w+)` \| ", (ROOT / "docs/start.md").read_text(), re.MULTILINE)) >= set(
        extras
    )


def test_groups_need_no_distribution_of_ours() -> None:
    """By the group alone, pip would look for it in an index."""
    for group in PROJECT["dependency-groups"].values():
        assert [each for each in group if re.match(rf"{NAMES}\b", each)] == []


def test_the_command_has_both_names() -> None:
    scripts = PROJECT["project"]["scripts"]
    assert scripts == dict.fromkeys(("bridge", DISTRIBUTION), "bridge.__main__:main")


def test_nothing_installs_it_from_an_index() -> None:
    """Until it is published: either name may be somebody else's there."""
    assert lines(rf"pip install [^`\n]*[ '\"]{NAMES}(?:[\['\" `]|$)", SUFFIXES) == []


def test_the_image_installs_the_wheel_of_this_version() -> None:
    wheel = f"{DISTRIBUTION.replace('-', '_')}-{__version__}-py3-none-any.whl"
    line = f"{DISTRIBUTION}[serve] @ file:///tmp/wheels/{wheel}"
    assert line in (ROOT / "deploy/docker/Dockerfile").read_text()


def test_a_page_says_whose_command_is_meant() -> None:
    typed = {each.partition(":")[0] for each in lines(r"^\$ bridge |^\| `bridge serve ", (".md",))}
    said = {
        each.partition(":")[0]
        for each in lines(r"bin/activate|active virtual environment|start\.md#install", (".md",))
    }
    assert typed <= said
    assert lines(r"^Run it: +bridge ", (".py",)) == []  # on top of a demo
