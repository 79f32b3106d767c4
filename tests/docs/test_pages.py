"""The pages name what is there: files, commands and their options, public names."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from bridge.command import bridge as commands
from tests.docs.messages import messages
from tests.docs.pages import PAGES, ROOT, blocks_of, links_of

NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    """The site's build checks the anchors; it does not know the pages beside the code."""
    files = [
        link.partition("#")[0] for link in links_of(page.read_text()) if not re.match(r"[a-z]+:|#", link)
    ]
    assert [file for file in files if not (page.parent / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_there_with_their_options(page: Path) -> None:
    unknown = []
    for block in blocks_of(page.read_text()):
        if block.language != "console":
            continue
        for line in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE):
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                if not words or Path(words[0]).name != "bridge" or words[1].startswith("-"):
                    continue
                with click.Context(commands) as context:
                    command = commands.get_command(context, words[1])
                    known = (
                        {
                            option
                            for each in command.get_params(context)
                            for option in (*each.opts, *each.secondary_opts)
                        }
                        if command
                        else set()
                    )
                unknown += [part for word in words[2:] if word.startswith("-") and word not in known]
                if command is None:
                    unknown.append(part)
    assert unknown == []


@pytest.mark.parametrize("module", ["bridge", "bridge.flask", "bridge.testing"])
def test_the_reference_has_every_public_name(module: str) -> None:
    page = ROOT / "docs/reference" / f"{module.rpartition('.')[2]}.md"
    listed = set(
        re.findall(rf"auto\w+:: {re.escape(module)}\.(\w+)(?:\(.*\))?$", page.read_text(), re.MULTILINE)
    )
    assert listed == {name for name in importlib.import_module(module).__all__ if name != "__version__"}


def test_the_page_of_errors_has_every_message() -> None:
    """A term there is the whole message, or its first words and an ellipsis."""
    definitions = re.findall(r"^(`.*`)$\n^: ", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    terms = {term for line in definitions for term in re.findall(r"`([^`]+)`", line)}
    known = {text: where for where, text in messages()}

    def means(term: str, text: str) -> bool:
        beginning = term.removesuffix("…")
        return text == term or (len(beginning) >= 10 and beginning != term and text.startswith(beginning))

    assert {
        text: where for text, where in known.items() if not any(means(term, text) for term in terms)
    } == {}
    assert {term for term in terms if not any(means(term, text) for text in known)} == set()
