"""HTTP/1.1, our own end of it: for now the response on the wire.

- `http1` is pure: heads and bytes in, bytes out.
"""
