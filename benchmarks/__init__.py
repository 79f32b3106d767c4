"""Bridge measured against its rivals: `python -m benchmarks`."""
