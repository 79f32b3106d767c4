"""The command `bridge`: the server's commands, and those of `check`, which are imported when wanted."""

from bridge.server.cli import bridge

__all__ = ["bridge"]

bridge.later = dict.fromkeys(("check", "routes", "trace"), "bridge.check.command")
