"""What a test may need that pip does not install."""

import shutil

import pytest

needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None,
    reason="needs wrk: apt-get install wrk on Debian and Ubuntu, brew install wrk on macOS",
)
