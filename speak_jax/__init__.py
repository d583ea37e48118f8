"""The method: networks, losses, stages, the loop and its commands."""

__version__ = "0.1.0"
