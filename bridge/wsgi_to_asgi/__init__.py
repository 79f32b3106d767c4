"""WSGI applications as ASGI applications: the adapter and its parts."""
