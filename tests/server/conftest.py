"""What several tests of the command need."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe between the test and an app; opening it waits until the other has opened it, too."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path
