"""How large things are, in bytes."""

__all__ = ["KIB", "MIB"]

KIB = 1024
MIB = 1024 * KIB
