"""The directive `command`: all options of one of Bridge's commands, as the command itself has them."""

from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bridge.command import bridge as commands
from bridge.server.options import GROUPS

_OTHER = "Other"


class CommandDirective(SphinxDirective):
    """`{command} serve`: the options of `bridge serve`, in the groups of its `--help`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse the options as if they were written on the page."""
        name = self.arguments[0]
        with click.Context(commands, info_name="bridge") as above:
            command = commands.get_command(above, name)
        if command is None:
            raise self.error(f"there is no command {name!r}")
        with click.Context(command, info_name=name, parent=above) as context:
            text = "\n".join(_lines(command, context))
        return self.parse_text_to_nodes(text)


def _lines(command: click.Command, context: click.Context) -> Iterator[str]:
    """The page's lines: the usage, and each option with its group's title before the first."""
    yield f"```{{program}} {context.command_path}\n```\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    options = {
        parameter.name: parameter
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and not parameter.hidden
    }
    groups = {
        title: [options.pop(name) for name in names if name in options] for title, names in GROUPS.items()
    }
    groups[_OTHER] = list(options.values())
    for title, members in groups.items():
        if members:
            if len(members) != len(command.params):
                yield f"```{{rubric}} {title}\n```\n"
            for option in members:
                yield from _option(option, context)


def _option(option: click.Option, context: click.Context) -> Iterator[str]:
    record = option.get_help_record(context)
    assert record is not None  # hidden options are left out
    names, text = record
    variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    yield f"````{{option}} {names.replace(' / ', ', ')}"
    yield _as_markdown(text)
    if variables:
        yield "\nVariable: " + ", ".join(f"`{each}`" for each in variables)
    yield "````\n"


def _as_markdown(text: str) -> str:
    """Help is plain text: an asterisk, a bracket and the like stand for themselves."""
    return "".join("\\" + character if character in "*_[]<>#|" else character for character in text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
