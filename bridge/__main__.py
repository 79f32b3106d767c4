"""`python -m bridge`, and the command `bridge`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; say what to install if a part of it is missing."""
    try:
        from bridge.command import bridge
    except ModuleNotFoundError as error:
        if error.name not in ("click", "uvicorn"):
            raise
        sys.exit(
            f"bridge: the command needs {error.name}, which is not installed: pip install 'bridge[serve]'"
        )
    bridge(prog_name="bridge")


if __name__ == "__main__":
    main()
