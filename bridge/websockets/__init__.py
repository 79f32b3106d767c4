"""A websocket that a WSGI app answers: its states, who reads it, and a socket for libraries that want one.

- `states` and `protocol` are pure. The rest runs on the event loop's thread, but for a library's own code.
"""
