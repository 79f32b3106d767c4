"""Looks at Bridge alone, each with limits it must keep: `python -m benchmarks.experiments`."""
