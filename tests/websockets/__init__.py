"""Websockets: the adapter's, Flask-Sock's and Flask-SocketIO's, and async ones."""
