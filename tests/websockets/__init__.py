"""Websockets: the adapter's, Flask-Sock's and Flask-SocketIO's, and async ones."""

import pytest

pytest.register_assert_rewrite("tests.websockets.suite")
