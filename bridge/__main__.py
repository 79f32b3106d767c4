"""`python -m bridge`, and the commands `bridge` and `wsgi-bridge`, which are one."""

import sys

__all__ = ["main"]

_NEEDED = ("click", "uvicorn", "websockets", "wsproto")


def main() -> None:
    """Run the command line; say what to install if a part of it is missing."""
    try:
        from bridge.command import bridge
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(
            f"bridge: the command needs {error.name}, which is not installed: pip install {' '.join(_NEEDED)}"
        )
    bridge(complete_var="_BRIDGE_COMPLETE")  # the same for both names


if __name__ == "__main__":
    main()
