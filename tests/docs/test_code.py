"""The pages of documentation: their code runs as it stands there."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks_of, run_page

LANGUAGES = {"python", "console", "text", "toml"}

# Its code needs a collector of traces; tests/deploy/test_opentelemetry.py runs it.
ELSEWHERE = {ROOT / "deploy/README.md"}

BLOCKS = {page: list(blocks_of(page.read_text())) for page in PAGES}
WITH_CODE = [
    page
    for page, blocks in BLOCKS.items()
    if page not in ELSEWHERE and any(block.language == "python" for block in blocks)
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    if page.name == "ray.md" and find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    failed = run_page(page, tmp_path)
    assert not failed, "\n".join(failed)


def test_every_block_says_what_it_is() -> None:
    """Or it is a directive, for the site."""
    assert [
        f"{page.relative_to(ROOT)}:{block.line}"
        for page, blocks in BLOCKS.items()
        for block in blocks
        if block.language not in LANGUAGES and not block.language.startswith("{")
    ] == []


EXAMPLE = """
```console
$ rm -rf not-run
```

```python
# first.py
value = 1
```

- and in a list:

  ```python
  other = value + 1

  ```

```text
other == 2
```

```python
# test_first.py
from first import other

def test_value():
    assert other == 2
```
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (("", ""), None),
        (("value + 1", "value + 2"), "page.md:22: test_first.py\n"),
        (("value + 1", "nosuch + 1"), "page.md:13: first.py\nTraceback"),
    ],
)
def test_how_a_page_is_run(change: tuple[str, str], failed: str | None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(EXAMPLE.replace(*change) if change[0] else EXAMPLE)
    (tmp_path / "work").mkdir()
    found = run_page(page, tmp_path / "work")
    if failed is None:
        assert found == []
    else:
        assert found[0].startswith(failed)
