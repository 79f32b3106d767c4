"""The pages in Markdown: what is on them, and their Python, run as a reader runs it.

Every block has a language, which says what it is:

- `python` is code. If its first line is a comment such as `# shop.py`, the reader saves it as that file. If
  not, the reader adds it to the end of the file before. Then it is run: a `test_*.py` by pytest, with nothing
  configured, and any other by being imported.
- `console` is what is typed in a terminal, and `text` is output. Both are only shown, as are files in other
  languages, such as `toml`.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.patience import PATIENCE

__all__ = ["PAGES", "ROOT", "Block", "blocks_of", "links_of", "run_page"]

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for folder in ("", "docs", "demos", "deploy", "benchmarks")
    for path in (ROOT / folder).glob("*.md" if folder in ("", "benchmarks") else "**/*.md")
    if "_build" not in path.parts
)
"""Every page that a person reads, on the site or beside the code."""


_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FILE = re.compile(r"# (?P<name>[\w/]+\.py)\n")

# Seconds for one block: the frameworks take some to import.
_TIMEOUT = 60 * PATIENCE


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    """Where it begins on the page, from 1."""

    @property
    def file(self) -> str | None:
        """The file that it is; None for one that belongs to the file before."""
        found = _FILE.match(self.text)
        return found["name"] if found is not None else None


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page in Markdown."""
    for found in _FENCE.finditer(page):
        indent = len(found["indent"])
        text = "".join(line[indent:] or "\n" for line in found["text"].splitlines(keepends=True))
        yield Block(found["language"].strip(), text, page.count("\n", 0, found.start()) + 1)


def links_of(page: str) -> list[str]:
    """The targets of a page's links and images."""
    return _LINK.findall(_FENCE.sub("", page))


def run_page(page: Path, folder: Path) -> list[str]:
    """Do what a page says, in an empty folder; return what has failed, with its output."""
    name = "page.py"
    files: dict[str, str] = {}
    failed = []
    for block in blocks_of(page.read_text()):
        if block.language != "python":
            continue
        if block.file is not None:
            name = block.file
            files[name] = block.text
        else:
            files[name] = f"{files.get(name, '')}\n\n{block.text}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name])
        done = subprocess.run(
            [sys.executable, "-B", *_how_to_run(name)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        if done.returncode:
            failed.append(f"{page.name}:{block.line}: {name}\n{done.stdout}{done.stderr}")
    return failed


def _how_to_run(name: str) -> list[str]:
    if Path(name).name.startswith("test_"):
        return ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", name]
    return ["-c", f"import {name.removesuffix('.py').replace('/', '.')}"]
