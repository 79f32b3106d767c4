"""The pages in Markdown, as tests read them."""

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "ROOT", "blocks", "links"]

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    path
    for folder in ("", "docs", "demos", "deploy", "benchmarks")
    for path in (ROOT / folder).glob("*.md" if folder in ("", "benchmarks") else "**/*.md")
    if "_build" not in path.parts
)
"""Every page that a person reads, on the site or beside the code."""

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> Iterator[str]:
    """The blocks of a page in one language, from top to bottom."""
    for title, text in _BLOCK.findall(page.read_text()):
        if title.split(" ")[0] == language:
            yield text


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and images."""
    yield from _LINK.findall(_BLOCK.sub("", page.read_text()))
