"""Serve a WSGI app with a package that has `run(app, host, port)`, and nothing for `python -m` to run.

`python -m benchmarks.run_wsgi PACKAGE MODULE:ATTRIBUTE HOST PORT`
"""

import importlib
import sys

from werkzeug.utils import import_string

__all__: list[str] = []

if __name__ == "__main__":
    package, app, host, port = sys.argv[1:]
    importlib.import_module(package).run(import_string(app), host, int(port))
