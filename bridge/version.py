"""The version of this package and its name, for those who may not import the whole of it."""

__all__ = ["DISTRIBUTION", "__version__"]

__version__ = "0.1.0"

DISTRIBUTION = "wsgi-bridge"
"""What the package is called where packages are installed from; also the second name of the command."""
