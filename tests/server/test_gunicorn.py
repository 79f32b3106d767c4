"""gunicorn's options: each has an answer, typed or on the page, that names what is there."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bridge.command import bridge
from bridge.server.gunicorn import IN_PLACE_OF, SAME

PAGE = (Path(__file__).parents[2] / "docs/move-over.md").read_text()
OURS = {name for each in bridge.commands["serve"].params for name in (*each.opts, *each.secondary_opts)}
TYPED = [(option, answer) for options, answer in IN_PLACE_OF.items() for option in options]


def test_none_is_an_option_here_or_has_two_answers() -> None:
    typed = [option for option, _ in TYPED]
    assert len(typed) == len(set(typed))
    assert not OURS & set(typed)


def test_what_means_the_same_is_here() -> None:
    assert set(SAME) <= OURS
    assert ", ".join(f"`{option}`" for option in SAME) in " ".join(PAGE.split())


@pytest.mark.parametrize(("option", "answer"), TYPED, ids=[option for option, _ in TYPED])
def test_a_typed_option_gets_its_answer(option: str, answer: str) -> None:
    result = CliRunner().invoke(bridge, ["serve", "app:app", option, "1"])
    plain = answer.replace("`", "")
    assert result.exit_code == 2
    assert f"No such option '{option}'. In place of gunicorn's {option}: {plain}." in result.stderr
    assert set(re.findall(r"--[\w-]+", plain)) <= OURS
    assert set(re.findall(r"bridge (\w+)`", answer)) <= {*bridge.list_commands(click.Context(bridge))}


def test_a_whole_command_line_gets_all_its_answers_at_once() -> None:
    result = CliRunner().invoke(bridge, ["serve", "-w4", "-k", "gthread", "--timeout=30", "app:app"])
    message = result.stderr.splitlines()[-4:]
    assert [line.partition(": ")[0] for line in message] == [
        "Error",
        "In place of gunicorn's -w",
        "In place of gunicorn's -k",
        "In place of gunicorn's --timeout",
    ]


def test_the_page_has_the_same_table() -> None:
    rows = [
        f"| {', '.join(f'`{each}`' for each in options)} | {answer} |"
        for options, answer in IN_PLACE_OF.items()
    ]
    assert "\n".join(["| gunicorn | `bridge serve` |", "| --- | --- |", *rows, ""]) in PAGE
