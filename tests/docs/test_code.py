"""The pages of documentation: their code runs as it stands there."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of, run_page

# Those whose code is whole.
PAGES = ["docs/embed.md"]

LANGUAGES = {"python", "console", "text", "toml", "ini", "nginx", "html", "yaml"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    failed = run_page(ROOT / page, tmp_path)
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    blocks = list(blocks_of((ROOT / page).read_text()))
    assert blocks
    assert [f"{page}:{block.line}" for block in blocks if block.language not in LANGUAGES] == []


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
