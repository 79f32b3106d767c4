"""Serve an app with the Bridge that is installed, and request it once."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello from " + __import__("bridge").__file__.encode()]
"""

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "hello.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = str(listening.fileno())
        port = listening.getsockname()[1]
        os.set_inheritable(listening.fileno(), True)
        command = [
            sys.executable,
            "-P",
            "-m",
            "bridge",
            "serve",
            "--app-dir",
            folder,
            "hello:app",
            "--fd",
            descriptor,
        ]
        server = subprocess.Popen(command, pass_fds=[listening.fileno()], stderr=subprocess.PIPE, text=True)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200 or "site-packages" not in text:
            sys.exit(f"answered {answer.status}, {text!r}; expected was a Hello from an installed Bridge")
    finally:
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=60)
    if server.returncode:
        sys.exit(f"the server ended with status {server.returncode}:\n{log}")
