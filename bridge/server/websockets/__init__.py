"""Websockets on the server's own connections: the handshake's answer, and sockets for libraries.

- `upgrade` has a handshake served. `answers` gives uvicorn's protocols the server's answers and limits.
- `library` gives the client's connection to a library such as Flask-Sock; `client_socket` is that connection,
  as the library sees it, and `frames`, pure, finds the Close among the bytes that pass.
"""
