"""All demos in one server: a ladder, each rung to be tried beside its source, and an X-ray of a request.

Run it:    .venv/bin/bridge serve demos.gallery:app
Look at:   http://127.0.0.1:8000/         what stands on what, and the rungs
           http://127.0.0.1:8000/x-ray/   one request, on its way through all layers
It shows:  apps of Flask, FastAPI, Django and plain WSGI, mounted in one ASGI app with their lifespans; what
           such a server holds back: files that are not meant, bodies too large, the insides of errors.
To read:   composition.py, limits.py, sources.py, pages.py; ladder.py is the text

Each demo keeps its data where it does when it is served alone. One that does not start is left out: its page
says so, the log says why.
"""

from demos.gallery.composition import create_app

app = create_app()
