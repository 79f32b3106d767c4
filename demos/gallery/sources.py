"""The demos' sources: a table of the files that exist. A name finds one of them, or nothing."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers.configs import IniLexer
from pygments.lexers.css import CssLexer
from pygments.lexers.javascript import JavascriptLexer
from pygments.lexers.markup import MarkdownLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.special import TextLexer
from pygments.lexers.templates import HtmlDjangoLexer

# The kinds of file that are shown, and how each is coloured. No other file in a folder is.
LEXERS: dict[str, type[Lexer]] = {
    ".py": PythonLexer,
    ".html": HtmlDjangoLexer,
    ".css": CssLexer,
    ".js": JavascriptLexer,
    ".md": MarkdownLexer,
    ".ini": IniLexer,
    ".cfg": IniLexer,
    ".mako": TextLexer,
    ".po": TextLexer,
}


@dataclass(frozen=True)
class Source:
    """A file; its name is its path below the folder, with slashes."""

    name: str
    path: Path

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def is_python(self) -> bool:
        """Whether it is Python that belongs to the demo itself."""
        return self.path.suffix == ".py" and self.folder.partition("/")[0] != "tests"

    def lines_of_text(self) -> int:
        """How many lines are not empty."""
        return sum(bool(line.strip()) for line in self.path.read_text(encoding="utf-8").splitlines())

    @cache  # noqa: B019  # there are some two hundred, which stay as long as the server
    def lines(self) -> list[Markup]:
        """Its lines as HTML, each by itself."""
        lexer = LEXERS[self.path.suffix](stripnl=False)
        marked = highlight(self.path.read_text(encoding="utf-8"), lexer, HtmlFormatter(nowrap=True))
        return [Markup(line) for line in marked.splitlines()]


def sources_of(module: str) -> dict[str, Source]:
    """The sources of a module, or of a package and all in it, by name; none if there is no such module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return {}
    file = Path(spec.origin).resolve()
    paths = sorted(_files(file.parent), key=_order) if spec.submodule_search_locations else [file]
    found = (Source(path.relative_to(file.parent).as_posix(), path) for path in paths)
    return {source.name: source for source in found}


def documents() -> dict[str, Source]:
    """The README and the pages in `docs`, by name; none unless the demos are in a clone of the repository."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        return {}
    paths = [root / "README.md", *sorted(_files(root / "docs")), root / "demos" / "README.md"]
    found = (Source(path.relative_to(root).as_posix(), path) for path in paths)
    return {source.name: source for source in found if source.path.suffix == ".md" and source.path.is_file()}


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in LEXERS and path.is_file() and path.resolve() == path and path.stat().st_size:
            yield path  # no symbolic link leads to it


def _order(path: Path) -> tuple[bool, Path, str]:
    return path.parent.name == "tests", path.parent, path.name
