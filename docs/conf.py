"""How Sphinx makes the site of these pages: `python -m sphinx -W docs docs/_build`."""

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

FOLDER = Path(__file__).parent
# The package of this clone, whatever is installed, and the directive of the command's reference.
sys.path[:0] = [str(FOLDER.parent), str(FOLDER / "_extensions")]

from bridge.version import __version__  # noqa: E402  # only now is it found

project = "Bridge"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_reference"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 3

# Docstrings have Google's sections, and say `name` without a role: a link if the reference has it, else code.
default_role = "py:obj"
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

html_theme = "furo"
html_title = "Bridge"
html_show_copyright = html_show_sphinx = html_copy_source = False
smartquotes = False  # `--reload` stays as it is typed


def mark_code(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Take an indented block after a paragraph for Python code, as Markdown does."""
    marked: list[str] = []
    paragraph = ""
    for index, line in enumerate(lines):
        if line.startswith(" ") and index and not lines[index - 1] and paragraph and paragraph[0] != " ":
            marked += [".. code-block:: python", ""]
        if line:
            paragraph = line
        marked.append(line)
    lines[:] = marked


def lead_from_here(app: Sphinx, included: Path, page: str, content: list[str]) -> None:
    """Have the links of a page that is beside the code, and included here, lead to its neighbours."""
    folder = os.path.relpath((FOLDER / included).parent, FOLDER)

    def from_here(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = f"{folder}/{target}"
        # The site has no page of another README; the reader gets the file.
        return f"{{download}}`{text} <{path}>`" if path.endswith(".md") else f"[{text}]({path})"

    content[0] = re.sub(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)\s]+)\)", from_here, content[0])
    content[0] = re.sub(r"(!\[[^\]]*\]\()(?![a-z]+:)", rf"\1{folder}/", content[0])


def setup(app: Sphinx) -> None:
    """Mark code before napoleon reads a docstring's sections."""
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("include-read", lead_from_here)
