"""A websocket that a WSGI app answers: its states, its reader, and a socket for libraries that want one.

- `states` and `protocol` are pure. The rest runs on the event loop's thread, but for `WebSocketCall.__call__`
  and `ClientWire._shake_hands`, which a worker or a library's thread calls. They look at the websocket's
  state, and have the loop do the rest. There is no lock.
"""
