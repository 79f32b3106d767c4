"""Apps that are served by a command of its own, in the folder that it is run in."""
