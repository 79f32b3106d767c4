"""How much longer than usual things may take: `PYTEST_TIMEOUT` says so in seconds, of which 20 are usual."""

import os

__all__ = ["PATIENCE"]

# As `timeout` in pyproject.toml.
_USUAL = 20.0

PATIENCE = max(1.0, float(os.environ.get("PYTEST_TIMEOUT") or _USUAL) / _USUAL)
"""The factor for every time limit of the tests."""
