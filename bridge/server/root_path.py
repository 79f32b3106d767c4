"""`--root-path`, for proxies that take the prefix off a path and for those that leave it there."""

__all__ = ["check_root_path"]


def check_root_path(root_path: str) -> str:
    """A root path as ASGI has it: it begins with a slash and does not end with one, or it is empty.

    Raises:
        ValueError: it cannot be the beginning of a path.
    """
    if not root_path.isascii() or not root_path.isprintable():
        raise ValueError(f"{root_path!r} is not printable ASCII")  # uvicorn would fail at every request
    if set(root_path) & set("?#%"):
        raise ValueError(f"{root_path!r} is not a decoded path: it has one of ? # %")
    inner = root_path.strip("/")
    return f"/{inner}" if inner else ""
