"""All demos in one server."""
