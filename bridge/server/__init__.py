"""`bridge serve`: a WSGI or ASGI app on uvicorn, from the command line."""
