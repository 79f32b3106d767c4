"""The version of this package, for those who may not import the whole of it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
